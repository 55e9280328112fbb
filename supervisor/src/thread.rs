//! A client's thread that is in a notified call: system calls are made in it, and its call is answered.
//!
//! At first the thread sleeps in its call, and takes an answer or a descriptor. To make a system call in it, it is traced and
//! stopped on its way out of the call, and sent back to its system call instruction with other registers. What it has in its
//! registers, and its signal mask, is put back at the end. While it is stopped, all its signals are blocked.

use crate::sys::{self, Notification, Registers};
use libc::c_int;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

/// The length of the system call instruction.
const INSTRUCTION_BYTES: u64 = 2;
/// `linux/ptrace.h`.
const EVENT_STOP: c_int = 128;
/// In the signal of a stop at a system call.
const SYSCALL_STOP: c_int = libc::SIGTRAP | 0x80;
/// A thread that has been killed sends no notification: how often to see whether it is there, in milliseconds.
const SEE_MILLIS: u8 = 50;

/// Where the notified calls come from.
pub struct Listener {
    fd: OwnedFd,
    /// What has come while one thread's was awaited.
    early: VecDeque<Notification>,
}

impl Listener {
    /// By this descriptor.
    pub fn new(fd: OwnedFd) -> Listener {
        Listener {
            fd,
            early: VecDeque::new(),
        }
    }

    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// The next call that was brought while another was awaited.
    pub fn take_early(&mut self) -> Option<Notification> {
        self.early.pop_front()
    }

    /// The next call, if there is one: what was seen of it earlier may be gone, because it was taken while another one was
    /// awaited, or its caller was killed.
    pub fn take(&self) -> Option<Notification> {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::ZERO) {
            Ok(1) => sys::next_notification(&self.fd).ok(),
            _ => None,
        }
    }

    /// Answers a call, with a negative errno, a value, or not at all: then the kernel serves it.
    pub fn answer(&self, id: u64, answer: Option<i64>) {
        // Refused when its caller has been killed.
        let _ = sys::answer_notification(&self.fd, id, answer);
    }

    /// Whether the caller of an unanswered call is still in it: it has not been killed.
    fn is_waiting(&self, call: &Notification) -> bool {
        sys::is_notification_valid(&self.fd, call.id)
    }

    /// Waits for the next call of one thread, a tracee that runs.
    fn wait_for(&mut self, tid: Pid) -> nix::Result<Notification> {
        loop {
            let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, PollTimeout::from(SEE_MILLIS)) {
                Ok(0) => {
                    if !matches!(sys::wait(tid, libc::WNOHANG | libc::__WALL), Ok(None)) {
                        return Err(Errno::ESRCH);
                    }
                }
                Ok(_) => match self.take() {
                    Some(notification) if notification.pid as i32 == tid.as_raw() => {
                        return Ok(notification);
                    }
                    Some(other) => self.early.push_back(other),
                    None => {}
                },
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// What a stopped thread gets back.
#[derive(Clone, Copy)]
struct Saved {
    registers: Registers,
    mask: u64,
}

#[derive(Clone, Copy)]
#[allow(clippy::large_enum_variant, reason = "one per call")]
enum State {
    /// In its call, which has this id.
    Waiting(u64),
    /// Behind it, and traced.
    Stopped(Saved),
    /// Killed.
    Gone,
}

/// A thread.
pub struct Thread {
    tid: Pid,
    /// The call that it has made, with its arguments.
    pub call: Notification,
    state: State,
    is_traced: bool,
}

impl Thread {
    /// The thread that waits in this call.
    pub fn new(call: Notification) -> Thread {
        Thread {
            tid: Pid::from_raw(call.pid as i32),
            call,
            state: State::Waiting(call.id),
            is_traced: false,
        }
    }

    /// Its id.
    pub fn tid(&self) -> Pid {
        self.tid
    }

    /// Whether it is in its call, or has been stopped behind it.
    pub fn is_there(&self, listener: &Listener) -> bool {
        match self.state {
            State::Waiting(_) => listener.is_waiting(&self.call),
            State::Stopped(_) => true,
            State::Gone => false,
        }
    }

    /// Makes a system call in it, with a copy of `fd` as its fifth argument. Returns what the call returned. An error says that
    /// the thread cannot be traced, or is gone.
    pub fn run(
        &mut self,
        listener: &mut Listener,
        number: u64,
        args: [u64; 6],
        fd: Option<&OwnedFd>,
    ) -> nix::Result<i64> {
        let answer = self.run_traced(listener, number, args, fd);
        self.reap_if_killed(&answer);
        answer
    }

    /// A thread that was killed while it was traced has to be waited for: until then its process can neither end nor execute
    /// another program, and a tracer that wants to trace another thread of it waits for that.
    fn reap_if_killed<T>(&mut self, answer: &nix::Result<T>) {
        let is_killed = matches!(answer, Err(Errno::ESRCH | Errno::EIO));
        if is_killed && std::mem::replace(&mut self.is_traced, false) {
            let _ = sys::wait(self.tid, libc::__WALL);
            self.state = State::Gone;
        }
    }

    fn run_traced(
        &mut self,
        listener: &mut Listener,
        number: u64,
        args: [u64; 6],
        fd: Option<&OwnedFd>,
    ) -> nix::Result<i64> {
        let mut args = args;
        let given = match fd {
            None => None,
            Some(fd) => Some(self.give(listener, fd)?),
        };
        if let (Some(number), [.., fifth, _]) = (given, &mut args) {
            *fifth = number as u64;
        }
        self.stop(listener)?;
        let answer = self.step(number, args);
        if let Some(number) = given {
            let number = number as u64;
            self.step(libc::SYS_close as u64, [number, 0, 0, 0, 0, 0])?;
        }
        answer
    }

    /// Gives it a copy of a descriptor: its number there.
    fn give(&mut self, listener: &mut Listener, fd: &OwnedFd) -> nix::Result<i32> {
        match self.state {
            State::Waiting(id) => {
                // Traced first: one that cannot be keeps no descriptor.
                self.trace(listener)?;
                let given = sys::give_descriptor(listener.fd(), id, fd);
                if given.is_err() {
                    self.stop(listener)?;
                }
                given
            }
            State::Stopped(saved) => {
                // It makes a call that is notified, for the sake of this.
                self.enter(saved, libc::SYS_shmdt as u64, [u64::MAX; 6])?;
                let call = listener.wait_for(self.tid)?;
                let given = sys::give_descriptor(listener.fd(), call.id, fd);
                listener.answer(call.id, Some(0));
                self.leave_call()?;
                given
            }
            State::Gone => Err(Errno::ESRCH),
        }
    }

    /// Begins to trace it, once: a second attempt would wait for ever where another thread of the process executes a program
    /// and waits for the end of this one.
    fn trace(&mut self, listener: &Listener) -> nix::Result<()> {
        if self.is_traced {
            return Ok(());
        }
        let seized = ptrace::seize(self.tid, options());
        self.is_traced = seized.is_ok();
        match seized {
            // It is on its way out.
            Err(Errno::EPERM) if !listener.is_waiting(&self.call) => Err(Errno::ESRCH),
            answer => answer,
        }
    }

    /// Has it leave its call and stop.
    fn stop(&mut self, listener: &Listener) -> nix::Result<()> {
        let id = match self.state {
            State::Waiting(id) => id,
            State::Stopped(_) => return Ok(()),
            State::Gone => return Err(Errno::ESRCH),
        };
        self.trace(listener)?;
        ptrace::interrupt(self.tid)?;
        listener.answer(id, Some(0));
        loop {
            match self.wait()? {
                (_, EVENT_STOP) => break,
                (signal, _) => resume(self.tid, signal)?,
            }
        }
        let mask = sys::signal_mask(self.tid)?;
        self.hold(mask)
    }

    /// Saves what the stopped thread has, and blocks its signals.
    fn hold(&mut self, mask: u64) -> nix::Result<()> {
        let registers = ptrace::getregs(self.tid)?;
        sys::set_signal_mask(self.tid, u64::MAX)?;
        self.state = State::Stopped(Saved { registers, mask });
        Ok(())
    }

    /// Waits until the tracee stops: the signal and the event.
    fn wait(&mut self) -> nix::Result<(c_int, c_int)> {
        wait_for_stop(self.tid).inspect_err(|_| {
            self.state = State::Gone;
            self.is_traced = false;
        })
    }

    /// Sends the stopped thread into a system call: it stops at the call's beginning, and goes on.
    fn enter(&mut self, saved: Saved, number: u64, args: [u64; 6]) -> nix::Result<()> {
        let [rdi, rsi, rdx, r10, r8, r9] = args;
        let registers = Registers {
            rip: saved.registers.rip.wrapping_sub(INSTRUCTION_BYTES),
            rax: number,
            orig_rax: u64::MAX,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..saved.registers
        };
        ptrace::setregs(self.tid, registers)?;
        resume(self.tid, 0)?;
        self.wait_for_syscall_stop()?;
        resume(self.tid, 0)
    }

    fn wait_for_syscall_stop(&mut self) -> nix::Result<()> {
        loop {
            match self.wait()? {
                (SYSCALL_STOP, 0) => return Ok(()),
                // A stop of the whole process, or the signal for one: both last when the thread is let go.
                (_, EVENT_STOP) => resume(self.tid, 0)?,
                (signal, _) => resume(self.tid, signal)?,
            }
        }
    }

    /// Waits until it has left that call: what the call returned.
    fn leave_call(&mut self) -> nix::Result<i64> {
        self.wait_for_syscall_stop()?;
        Ok(ptrace::getregs(self.tid)?.rax as i64)
    }

    fn step(&mut self, number: u64, args: [u64; 6]) -> nix::Result<i64> {
        let State::Stopped(saved) = self.state else {
            return Err(Errno::ESRCH);
        };
        self.enter(saved, number, args)?;
        self.leave_call()
    }

    /// Has it make its call, which makes a child. Returns the child, stopped before its first instruction, unless there is none,
    /// and what the call returned.
    pub fn fork(&mut self, listener: &mut Listener) -> nix::Result<(Option<Thread>, i64)> {
        let made = self.fork_traced(listener);
        self.reap_if_killed(&made);
        made
    }

    fn fork_traced(&mut self, listener: &mut Listener) -> nix::Result<(Option<Thread>, i64)> {
        self.stop(listener)?;
        let State::Stopped(saved) = self.state else {
            return Err(Errno::ESRCH);
        };
        let number = self.call.data.nr as u64;
        let mut args = self.call.data.args;
        if let ([flags, ..], libc::SYS_clone) = (&mut args, number as i64) {
            // The parent would wait for its child, which waits for us. A child that shares no memory can do without.
            *flags &= !(libc::CLONE_VFORK as u64);
        }
        let forks = Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE;
        ptrace::setoptions(self.tid, options() | forks)?;
        self.enter(saved, number, args)?;
        let again = listener.wait_for(self.tid)?;
        listener.answer(again.id, None);
        let mut child = None;
        let answer = loop {
            match self.wait()? {
                (SYSCALL_STOP, 0) => break ptrace::getregs(self.tid)?.rax as i64,
                (
                    _,
                    libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE,
                ) => {
                    child = ptrace::getevent(self.tid).ok();
                    resume(self.tid, 0)?;
                }
                (_, EVENT_STOP) => resume(self.tid, 0)?,
                (signal, _) => resume(self.tid, signal)?,
            }
        };
        let child = child.and_then(|tid| {
            let mut child = Thread {
                tid: Pid::from_raw(tid as i32),
                call: self.call,
                state: State::Gone,
                is_traced: true,
            };
            child.wait().ok()?;
            child.hold(saved.mask).ok()?;
            Some(child)
        });
        Ok((child, answer))
    }

    /// Answers its call, as [`Listener::answer`] does, and lets it run.
    pub fn answer(mut self, listener: &Listener, answer: Option<i64>) {
        match self.state {
            State::Waiting(id) => listener.answer(id, answer),
            State::Stopped(saved) => {
                let is_free = self.let_go(saved, answer);
                self.reap_if_killed(&is_free);
            }
            State::Gone => {}
        }
    }

    /// Has it make its call again. The call, if it has not left it yet: then that is to be served.
    pub fn again(self, listener: &Listener) -> Option<Notification> {
        match self.state {
            State::Waiting(_) => Some(self.call),
            State::Stopped(_) => {
                self.answer(listener, None);
                None
            }
            State::Gone => None,
        }
    }

    fn let_go(&self, saved: Saved, answer: Option<i64>) -> nix::Result<()> {
        let mut registers = saved.registers;
        match answer {
            Some(value) => registers.rax = value as u64,
            // It makes the call again.
            None => {
                registers.rax = self.call.data.nr as u64;
                registers.rip = registers.rip.wrapping_sub(INSTRUCTION_BYTES);
            }
        }
        // Nothing is to be restarted.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.tid, registers)?;
        sys::set_signal_mask(self.tid, saved.mask)?;
        ptrace::detach(self.tid, None)
    }
}

fn options() -> Options {
    // Should this process be killed meanwhile, what the thread has in its registers is not its own.
    Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL
}

/// Has a stopped tracee go on to the next system call, with a signal that it is to get.
fn resume(tid: Pid, signal: c_int) -> nix::Result<()> {
    let signal = nix::sys::signal::Signal::try_from(signal).ok();
    ptrace::syscall(tid, signal)
}

fn wait_for_stop(tid: Pid) -> nix::Result<(c_int, c_int)> {
    loop {
        match sys::wait(tid, libc::__WALL) {
            Ok(Some((_, status))) if libc::WIFSTOPPED(status) => {
                return Ok((libc::WSTOPSIG(status), status >> 16));
            }
            Err(Errno::EINTR) => {}
            _ => return Err(Errno::ESRCH),
        }
    }
}
