# Perl's own shmget, shmread, shmwrite and shmctl: built into the interpreter, no module.

test_perl_processes() {
    local id
    id=$(shim perl -e '
        my $id = shmget(0x7065726c, 5000, 01000 | 02000 | 0600) // die "shmget: $!";
        shmwrite($id, "from one process", 4000, 20) or die "shmwrite: $!";
        print $id;')
    shim perl -e '
        use Errno qw(EEXIST ENOENT EINVAL EFAULT);
        my $id = shmget(0x7065726c, 0, 0) // die "shmget of the existing key: $!";
        $id == $ARGV[0] or die "id $id, made as $ARGV[0]";
        my $text;
        shmread($id, $text, 4000, 20) or die "shmread: $!";
        $text eq "from one process\0\0\0\0" or die "read <$text>";
        !defined shmget(0x7065726c, 5000, 03600) && $! == EEXIST or die "exclusive creation: $!";
        !defined shmget(0x7065726c, 5001, 0600) && $! == EINVAL or die "larger size: $!";
        !shmread($id, $text, 4990, 20) && $! == EFAULT or die "reading over the end: $!";
        shmctl($id, 2, my $state = "") or die "IPC_STAT: $!";
        length $state > 80 or die "IPC_STAT gave ", length $state, " bytes";
        shmwrite($id, "back", 0, 4) or die "shmwrite: $!";' "$id"
    shim perl -e '
        use Errno qw(ENOENT EINVAL);
        my ($id) = @ARGV;
        shmread($id, my $text, 0, 4) or die "shmread: $!";
        $text eq "back" or die "read <$text>";
        shmctl($id, 0, 0) or die "IPC_RMID: $!";
        !defined shmget(0x7065726c, 0, 0) && $! == ENOENT or die "removed key: $!";
        !shmread($id, $text, 0, 4) && $! == EINVAL or die "removed id: $!";
        !shmctl($id, 0, 0) && $! == EINVAL or die "second IPC_RMID: $!";' "$id"
}

test_perl_private_and_fork() {
    shim perl -e '
        my $id = shmget(0, 300000, 0600) // die "shmget: $!";       # IPC_PRIVATE needs no IPC_CREAT
        for my $number (0 .. 9) {
            my $child = fork() // die "fork: $!";
            if (!$child) {
                shmwrite($id, chr(65 + $number) x 30000, $number * 30000, 30000) or die "shmwrite: $!";
                exec "true";
            }
            waitpid $child, 0;
            $? == 0 or die "child: $?";
        }
        shmread($id, my $all, 0, 300000) or die "shmread: $!";
        $all eq join("", map { chr(65 + $_) x 30000 } 0 .. 9) or die "contents differ";
        shmctl($id, 0, 0) or die "IPC_RMID: $!";'
}
