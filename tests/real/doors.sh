# How languages and programs get at the four calls: look-ups in libc's own handle (foreign function interfaces), plugins bound
# to libc (PHP), calls by number (perl's syscall, MPI's UCX). scripts/check-doors runs these.
#
# Each makes a segment with a text in it by its own way, prints the id, and leaves it. What any other program sees then is
# in the namespace; run-one sees to it that the kernel's list stays as it was.

doors=$top/tests/real/doors
key=1685024626 # "door"

# door NAME COMMAND...: the command's segment is there under the library, holds "by NAME", and is found by its key.
door() {
    local name=$1 id found
    shift
    id=$(shim "$@" $key 2>"$work/errors") || fail "$name: exit status $?: $(cat "$work/errors")"
    expect_match "$name: its id" '^[0-9]+$' "$id"
    found=$(shim perl -e '
        shmread($ARGV[0], my $text, 0, 64) or die "shmread: $!\n";
        shmget($ARGV[1], 0, 0) == $ARGV[0] or die "the key leads to another segment\n";
        print $text =~ s/\0.*//sr;' "$id" $key)
    expect "$name: what another program reads" "by $name" "$found"
    expect "$name: in the list" "$id" "$(shim cat /proc/sysvipc/shm | awk "\$1 == $key { print \$2 }")"
    shim ipcrm -m "$id"
}

# need PROGRAM PACKAGE: Debian's own, where PATH may lead to another.
need() {
    command -v "$1" >/dev/null || skip "no $1: apt-get install $2"
}

test_doors_python_ctypes() {
    need python3 python3
    door python-ctypes "$(PATH=/usr/bin:$PATH command -v python3)" "$doors/with_ctypes.py"
}

test_doors_python_cffi() {
    local python
    for python in /usr/bin/python3 python3; do
        "$python" -c 'import cffi' 2>/dev/null || continue
        door python-cffi "$python" "$doors/with_cffi.py"
        return
    done
    skip "no python3 with cffi: apt-get install python3-cffi"
}

test_doors_perl_syscall() {
    [ "$(perl -MPOSIX=uname -e 'print((uname)[4])')" = x86_64 ] || skip "the numbers are those of x86-64"
    door perl-syscall perl "$doors/syscall.pl"
}

test_doors_perl_ffi() {
    perl -MFFI::Platypus -e 1 2>/dev/null || skip "no FFI::Platypus: apt-get install libffi-platypus-perl"
    door perl-ffi perl "$doors/platypus.pl"
}

test_doors_php() {
    local extension
    need php php-cli
    for extension in shmop sysvshm FFI; do
        php -m | grep -x "$extension" >/dev/null || skip "PHP without $extension: apt-get install php-cli"
    done
    door php-shmop php "$doors/shmop.php"
    door php-ffi php -d ffi.enable=1 "$doors/ffi.php"
    # sysvshm keeps a structure of its own in the segment.
    shim php -r 'shm_put_var(shm_attach(77, 1000, 0600), 1, "by sysvshm");'
    expect "what sysvshm reads" "by sysvshm" "$(shim php -r 'print shm_get_var(shm_attach(77), 1);')"
    shim php -r 'shm_remove(shm_attach(77));'
}

# PHP's own tests of the four extensions.
test_doors_phpt() {
    local source passed
    need php php-cli
    source=$(find "$top/target/doors" -maxdepth 1 -name "php-*" -type d 2>/dev/null | tail -n 1) || true
    [ -n "$source" ] || skip "no source of PHP in target/doors: scripts/setup doors"
    cp -r "$source" "$work/php"
    cd "$work/php"
    passed=$(NO_INTERACTION=1 TEST_PHP_EXECUTABLE=$(command -v php) \
        shim php run-tests.php -q --offline ext/shmop/tests ext/sysvshm/tests ext/sysvsem/tests ext/sysvmsg/tests) || fail "$passed"
    expect_match "PHP's tests" 'Tests passed +: +21 ' "$passed"
    cd /
    # They leave some.
    shim ipcrm -a
}

test_doors_ruby() {
    need ruby ruby
    door ruby-fiddle ruby "$doors/fiddle.rb"
}

test_doors_luajit() {
    need luajit luajit
    door luajit luajit "$doors/ffi.lua"
}

test_doors_guile() {
    need guile guile-3.0
    door guile guile --no-auto-compile -s "$doors/foreign.scm"
}

test_doors_node() {
    need node nodejs
    [ -d "$top/target/doors/node_modules/koffi" ] || skip "no koffi in target/doors: scripts/setup doors"
    NODE_PATH=$top/target/doors/node_modules door node-koffi node "$doors/koffi.js"
}

test_doors_java() {
    local jna=/usr/share/java/jna.jar
    need javac default-jdk-headless
    [ -f $jna ] || skip "no JNA: apt-get install libjna-java"
    javac -cp $jna -d "$work" "$doors/Door.java"
    door java-jna java -cp "$jna:$work" Door
}

# Both use UCX where the distribution builds them with it, with its hooks on munmap, shmat and shmdt: its defaults.
mpi() {
    local kind=$1 run=$2
    need "mpicc.$kind" "$3"
    "mpicc.$kind" -O1 -o "$work/mpi" "$doors/mpi.c"
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    expect "what the processes say" "attached by 2, then by 0" "$(shim $run -n 2 "$work/mpi" 2>"$work/errors" ||
        cat "$work/errors")"
}

test_doors_mpich() {
    mpi mpich mpiexec.mpich "mpich libmpich-dev"
}

test_doors_openmpi() {
    mpi openmpi "mpiexec.openmpi --oversubscribe" "openmpi-bin libopenmpi-dev"
}
