# ctypes looks up in libc's own handle.
import ctypes, sys
libc = ctypes.CDLL("libc.so.6", use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmdt.argtypes = [ctypes.c_void_p]
id = libc.shmget(int(sys.argv[1]), ctypes.c_size_t(4096), 0o1600)
assert id >= 0, ctypes.get_errno()
assert ctypes.CDLL(None).shmget(int(sys.argv[1]), ctypes.c_size_t(0), 0) == id
at = libc.shmat(id, None, 0)
ctypes.memmove(at, b"by python-ctypes\0", 17)
assert libc.shmdt(at) == 0
print(id)
