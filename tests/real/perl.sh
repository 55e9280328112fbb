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

# Perl's own semget, semop, msgget, msgsnd and so on, as its modules use them.
test_perl_semaphores_and_queues() {
    shim perl -e '
        use IPC::SysV qw(IPC_CREAT IPC_EXCL IPC_NOWAIT SEM_UNDO MSG_NOERROR);
        use IPC::Semaphore;
        use IPC::Msg;
        my $set = IPC::Semaphore->new(0x7065726c, 3, IPC_CREAT | IPC_EXCL | 0600) or die "semget: $!";
        $set->setall(1, 2, 3) or die "SETALL: $!";
        $set->op(0, -1, IPC_NOWAIT, 1, 5, SEM_UNDO) or die "semop: $!";
        "@{[$set->getall]}" eq "0 7 3" or die "values: @{[$set->getall]}";
        !$set->op(0, -1, IPC_NOWAIT) && $!{EAGAIN} or die "semop of what is taken: $!";
        $set->getpid(1) == $$ or die "GETPID";
        $set->stat->nsems == 3 or die "IPC_STAT";
        my $queue = IPC::Msg->new(0x7065726c, IPC_CREAT | 0600) or die "msgget: $!";
        $queue->snd($_, "text $_") or die "msgsnd: $!" for 5, 7;
        $queue->stat->qnum == 2 or die "IPC_STAT";
        my $child = fork() // die "fork: $!";
        if (!$child) {
            $set->op(0, -1, SEM_UNDO) or die "semop: $!";
            my $text;
            $queue->rcv($text, 100, 7) == 7 && $text eq "text 7" or die "msgrcv: $!";
            exit 0;
        }
        until ($set->getncnt(0)) { waitpid($child, 1) and die "the child is gone"; select undef, undef, undef, 0.01 }
        $set->op(0, 1, 0) or die "semop: $!";
        waitpid $child, 0;
        $? == 0 or die "child: $?";
        $set->getval(0) == 1 or die "what the child took is back: ", $set->getval(0);'
    shim perl -e '
        use IPC::SysV qw(IPC_NOWAIT);
        use IPC::Semaphore;
        use IPC::Msg;
        my $set = IPC::Semaphore->new(0x7065726c, 3, 0) or die "semget: $!";
        "@{[$set->getall]}" eq "1 2 3" or die "values: @{[$set->getall]}";
        my $queue = IPC::Msg->new(0x7065726c, 0) or die "msgget: $!";
        my $text;
        $queue->rcv($text, 100, 0, IPC_NOWAIT) == 5 && $text eq "text 5" or die "msgrcv: $!";
        !defined $queue->rcv($text, 100, 0, IPC_NOWAIT) && $!{ENOMSG} or die "msgrcv of nothing: $!";
        $set->remove && $queue->remove or die "IPC_RMID: $!";'
}

# Four processes count to fifty each in a variable that they share, under its lock.
test_perl_shareable() {
    perl -MIPC::Shareable -e 1 2>/dev/null || skip "no IPC::Shareable: apt-get install libipc-shareable-perl"
    expect "increments" 200 "$(shim perl -e '
        use IPC::Shareable;
        use POSIX ();
        tie my $count, "IPC::Shareable", { key => "test", create => 1, destroy => 1 } or die "tie: $!";
        my $knot = tied $count;
        $count = 0;
        for (1 .. 4) {
            fork and next;
            for (1 .. 50) { $knot->lock; $count = $count + 1; $knot->unlock }
            POSIX::_exit(0);
        }
        1 while wait > 0;
        print $count')"
}

test_perl_sharelite() {
    perl -MIPC::ShareLite -e 1 2>/dev/null || skip "no IPC::ShareLite: apt-get install libipc-sharelite-perl"
    expect "increments" 200 "$(shim perl -e '
        use IPC::ShareLite ":lock";
        use POSIX ();
        my $count = IPC::ShareLite->new(-key => 1971, -create => 1, -destroy => 1) or die "new: $!";
        $count->store(0);
        for (1 .. 4) {
            fork and next;
            for (1 .. 50) { $count->lock(LOCK_EX); $count->store($count->fetch + 1); $count->unlock }
            POSIX::_exit(0);
        }
        1 while wait > 0;
        print $count->fetch')"
}
