# Python's sysv_ipc module, and what plain open() shows.

need_python() {
    python=$(find_python) || skip "no python3 with sysv_ipc: apt-get install python3-sysv-ipc"
}

test_python_processes() {
    need_python
    local maker
    maker=$(shim "$python" - <<'PY'
import os, sysv_ipc
memory = sysv_ipc.SharedMemory(0x5359, sysv_ipc.IPC_CREX, size=10000, mode=0o640, init_character=b'\0')
assert memory.size == 10000, memory.size
assert memory.number_attached == 1, memory.number_attached
memory.write(b'written by the first', 9000)
print(os.getpid(), flush=True)
os._exit(0)                              # attached, nothing tidied up
PY
    )
    shim "$python" - "$maker" <<'PY'
import sys, sysv_ipc, time
memory = sysv_ipc.SharedMemory(0x5359)
assert memory.read(20, 9000) == b'written by the first', memory.read(20, 9000)
assert memory.read(9000) == bytes(9000)
assert memory.creator_pid == int(sys.argv[1]), memory.creator_pid
assert memory.number_attached == 1, memory.number_attached
assert memory.mode == 0o640, oct(memory.mode)
assert memory.key == 0x5359 and memory.cuid == memory.uid
memory.mode = 0o600
memory.write(b'answered by the second', 0)
memory.detach()
assert memory.number_attached == 0
assert memory.last_detach_time >= memory.last_attach_time > time.time() - 600
try:
    sysv_ipc.SharedMemory(0x5359, sysv_ipc.IPC_CREX)
    raise SystemExit('made a second segment with the same key')
except sysv_ipc.ExistentialError:
    pass
PY
    shim "$python" - <<'PY'
import sysv_ipc
memory = sysv_ipc.attach(sysv_ipc.SharedMemory(0x5359).id, flags=sysv_ipc.SHM_RDONLY)
assert memory.read(22) == b'answered by the second', memory.read(22)
assert memory.mode == 0o600, oct(memory.mode)
memory.remove()
assert memory.read(22) == b'answered by the second'     # lives as long as it is attached
memory.detach()
try:
    sysv_ipc.SharedMemory(0x5359)
    raise SystemExit('the removed segment was found')
except sysv_ipc.ExistentialError:
    pass
PY
}

test_python_fork() {
    need_python
    shim "$python" - <<'PY'
import os, signal, sysv_ipc
memory = sysv_ipc.SharedMemory(None, sysv_ipc.IPC_CREX, size=1 << 20)
children = []
for number in range(8):
    go, tell = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        memory.write(bytes([65 + number]) * 100, number * 100)
        os.write(tell[1], b'x')
        os.read(go[0], 1)
        os._exit(0)
    os.close(go[0])
    os.read(tell[0], 1)
    children.append((child, go[1]))
    assert memory.number_attached == 2 + number, memory.number_attached
for number, (child, go) in enumerate(children):
    if number % 2:
        os.write(go, b'x')
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert memory.number_attached == 8 - number, memory.number_attached
    assert memory.last_pid == child, (memory.last_pid, child)
assert memory.read(800) == b''.join(bytes([65 + n]) * 100 for n in range(8))
memory.remove()
PY
}

test_python_reads_proc() {
    need_python
    shim "$python" - <<'PY'
import os, sysv_ipc
memory = sysv_ipc.SharedMemory(0x7fffffff, sysv_ipc.IPC_CREX, size=4097, mode=0o604)
other = sysv_ipc.SharedMemory(-2, sysv_ipc.IPC_CREX, size=1, mode=0o600)
other.remove()
for how in (lambda: open('/proc/sysvipc/shm').read().splitlines(),
            lambda: os.read(os.open('/proc/sysvipc/shm', os.O_RDONLY), 65536).decode().splitlines(),
            lambda: [line.rstrip('\n') for line in open('/proc/sysvipc/shm', 'rb', buffering=0).read().decode().splitlines()]):
    lines = how()
    assert len(lines) == 3, lines
    assert lines[0].split() == 'key shmid perms size cpid lpid nattch uid gid cuid cgid atime dtime ctime rss swap'.split(), lines[0]
    first, second = (dict(zip(lines[0].split(), line.split())) for line in lines[1:])
    me, uid, gid = str(os.getpid()), str(os.geteuid()), str(os.getegid())
    assert first['key'] == '2147483647' and first['shmid'] == str(memory.id), first
    assert first['perms'] == '604' and first['size'] == '4097' and first['nattch'] == '1', first
    assert first['cpid'] == first['lpid'] == me and first['rss'] == '8192' and first['swap'] == '0', first
    assert first['uid'] == first['cuid'] == uid and first['gid'] == first['cgid'] == gid, first
    assert second['key'] == '0' and second['perms'] == '1600' and second['nattch'] == '1', second
assert open('/proc/sys/kernel/shmmni').read() == '4096\n'
assert open('/proc/sys/kernel/shmmax').read() == '18446744073692774399\n'
assert open('/proc/self/status').read().startswith('Name:')        # other files are left alone
memory.remove()
PY
}

test_python_semaphores_and_queues() {
    need_python
    shim "$python" - <<'PY'
import os, signal, sysv_ipc
taken = sysv_ipc.Semaphore(0x5359, sysv_ipc.IPC_CREX, initial_value=1)
queue = sysv_ipc.MessageQueue(0x5359, sysv_ipc.IPC_CREX, max_message_size=8192)
taken.undo = True
child = os.fork()
if child == 0:
    taken.acquire()
    queue.send(b'x' * 8192, type=3)
    queue.receive(type=9)                # never comes
    os._exit(0)
text, kind = queue.receive(type=-5)
assert (text, kind) == (b'x' * 8192, 3), (len(text), kind)
assert taken.value == 0 and queue.last_send_pid == child
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
assert taken.value == 1, taken.value     # what the killed one held is back
assert taken.waiting_for_nonzero == 0
try:
    queue.receive(block=False)
    raise SystemExit('a message out of nothing')
except sysv_ipc.BusyError:
    pass
taken.block = False
taken.acquire()
try:
    taken.acquire()
    raise SystemExit('taken twice')
except sysv_ipc.BusyError:
    pass
PY
    shim "$python" - <<'PY'
import sysv_ipc
taken, queue = sysv_ipc.Semaphore(0x5359), sysv_ipc.MessageQueue(0x5359)
assert taken.value == 1 and queue.current_messages == 0
taken.remove()
queue.remove()
PY
}
