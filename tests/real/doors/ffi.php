<?php
$libc = FFI::cdef(
    'int shmget(int, size_t, int); void *shmat(int, const void *, int); int shmdt(const void *);', 'libc.so.6');
$id = $libc->shmget((int) $argv[1], 4096, 01600);
$id >= 0 or exit(1);
$at = $libc->shmat($id, null, 0);
FFI::memcpy($at, "by php-ffi\0", 11);
$libc->shmdt($at) === 0 or exit(2);
print $id;
