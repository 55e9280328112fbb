# Perl's syscall is libc's; the numbers are those of x86-64: shmget 29, shmat 30, shmdt 67.
use strict;
use warnings;
my $id = syscall(29, 0 + $ARGV[0], 4096, 01600);
$id >= 0 or die "shmget: $!";
my $at = syscall(30, $id, 0, 0);
$at != -1 or die "shmat: $!";
my $text = "by perl-syscall\0";
open my $memory, '+<', '/proc/self/mem' or die "mem: $!";
sysseek $memory, $at, 0;
syswrite $memory, $text or die "write: $!";
syscall(67, $at) == 0 or die "shmdt: $!";
print $id;
