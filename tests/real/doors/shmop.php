<?php
$segment = shmop_open((int) $argv[1], 'c', 0600, 4096) or exit(1);
shmop_write($segment, "by php-shmop\0", 0);
// An id is nothing that shmop tells.
preg_match("/^ *$argv[1] +(\d+)/m", file_get_contents('/proc/sysvipc/shm'), $row) or exit(2);
print $row[1];
