// client.go: a Go program without cgo makes its system calls itself, from several threads of the system.
package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

func call(number, a, b, c uintptr) uintptr {
	answer, _, errno := syscall.Syscall(number, a, b, c)
	if errno != 0 {
		fmt.Println(number, errno)
		os.Exit(1)
	}
	return answer
}

// operate is semop with one operation of the set's first semaphore, until no signal of the runtime's interrupts it.
func operate(set uintptr, change int16) {
	op := [3]int16{0, change, 010000}
	for {
		_, _, errno := syscall.Syscall(syscall.SYS_SEMOP, set, uintptr(unsafe.Pointer(&op)), 1)
		if errno == 0 {
			return
		}
		if errno != syscall.EINTR {
			fmt.Println("semop", errno)
			os.Exit(1)
		}
	}
}

// takeTurns has goroutines sleep for a semaphore, each in a thread of its own, while others make calls.
func takeTurns() {
	set := call(syscall.SYS_SEMGET, 0, 1, 0600)
	var group sync.WaitGroup
	inside := 0
	for n := 0; n < 8; n++ {
		group.Add(1)
		go func() {
			for turn := 0; turn < 25; turn++ {
				operate(set, -1)
				inside++
				operate(set, 1)
			}
			group.Done()
		}()
	}
	runtime.GC()
	operate(set, 1)
	group.Wait()
	if inside != 200 {
		fmt.Println("turns:", inside)
		os.Exit(1)
	}
	call(syscall.SYS_SEMCTL, set, 0, 0)
}

func main() {
	takeTurns()
	id := call(syscall.SYS_SHMGET, 0, 4096, 0600)
	if id < 32768 {
		fmt.Println("the kernel's id", id)
		os.Exit(1)
	}
	first := call(syscall.SYS_SHMAT, id, 0, 0)
	var group sync.WaitGroup
	for n := 0; n < 4; n++ {
		group.Add(1)
		go func(n int) {
			runtime.LockOSThread()
			at := call(syscall.SYS_SHMAT, id, 0, 0)
			*(*byte)(unsafe.Add(unsafe.Pointer(nil), int(at)+n)) = byte(n + 1)
			call(syscall.SYS_SHMDT, at, 0, 0)
			group.Done()
		}(n)
	}
	group.Wait()
	for n := 0; n < 4; n++ {
		if *(*byte)(unsafe.Add(unsafe.Pointer(nil), int(first)+n)) != byte(n+1) {
			fmt.Println("not written:", n)
			os.Exit(1)
		}
	}
	call(syscall.SYS_SHMDT, first, 0, 0)
	call(syscall.SYS_SHMCTL, id, 0, 0)
	os.Exit(42)
}
