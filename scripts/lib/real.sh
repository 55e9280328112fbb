# What scripts/check-real, its tests and scripts/demo share: where the library and the programs are,
# how a command is run under the shim, and what may be said about the kernel's own segments meanwhile.
# Sourced by bash.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export LC_ALL=C TZ=UTC
unset LD_PRELOAD SHMSHIM_DIR SHMSHIM_SCOPE SHMSHIM_TRACE

# The library under test; empty: everything runs on the kernel.
: "${SHMSHIM_LIB=$top/target/release/libshmshim.so}"

# The user's own directories are often closed to others, and a container's /dev/shm to programs: the
# library is copied to where every user can load it, segments lie where memory is.
# Sets $work (files of a test), $base (a fresh SHMSHIM_DIR) and $lib (what is preloaded, or empty).
make_directories() {
    work=$(mktemp -d /tmp/shmshim-real.XXXXXX)
    base=$(mktemp -d /dev/shm/shmshim-real.XXXXXX 2>/dev/null || mktemp -d /tmp/shmshim-base.XXXXXX)
    chmod 755 "$work" "$base"
    lib=
    if [ -n "$SHMSHIM_LIB" ]; then
        lib=$work/libshmshim.so
        install -m 755 "$SHMSHIM_LIB" "$lib"
    fi
}

remove_directories() {
    rm -rf "${work:?}" "${base:?}"
}

# The words that go before a command to run it under the shim ("env" alone: on the kernel). With SHMSHIM_NOSYSV, the
# program tests/nosysv, whichever command makes one of the kernel's own calls is killed.
under() {
    if [ -n "$lib" ]; then
        under=(${SHMSHIM_NOSYSV:+"$SHMSHIM_NOSYSV" --hide} env "LD_PRELOAD=$lib" "SHMSHIM_DIR=$base" "$@")
    else
        under=(env "$@")
    fi
}

shim() {
    local under
    under
    "${under[@]}" "$@"
}

# The kernel's own lists as this process sees them, without the shim: "shm key id" per segment, and so on.
kernel_objects() {
    awk 'FNR > 1 { print substr(FILENAME, 15), $1, $2 }' /proc/sysvipc/shm /proc/sysvipc/sem /proc/sysvipc/msg
}

# How this user gets an IPC namespace of its own; prints nothing where the machine has none to give.
namespace_command() {
    if [ "$(id -u)" = 0 ] && unshare --ipc true 2>/dev/null; then
        echo unshare --ipc
    elif unshare --user --map-current-user --ipc true 2>/dev/null; then
        echo unshare --user --map-current-user --ipc
    fi
}

# PostgreSQL's programs: the distribution keeps the server outside PATH, one directory per version.
# Prints the directory of the version nearest to the one the project is tried with.
find_postgres() {
    local dir
    for dir in /usr/lib/postgresql/15/bin $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        /usr/pgsql-*/bin "$(pg_config --bindir 2>/dev/null)" \
        "$(dirname "$(readlink -f "$(command -v postgres 2>/dev/null)")")" /usr/bin; do
        if [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] &&
            [ -x "$dir/psql" ] && [ -x "$dir/pgbench" ]; then
            echo "$dir"
            return
        fi
    done
    return 1
}

# A Python that has the sysv_ipc module: the distribution's, PATH's, or the one scripts/setup made.
find_python() {
    local python
    for python in /usr/bin/python3 "$top/target/venv/bin/python3" "$(command -v python3)"; do
        if [ -x "$python" ] && "$python" -c 'import sysv_ipc' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

# PostgreSQL refuses to be root. Sets as_user (words before a command) and user_name: the caller when
# it is an ordinary user, else one that the machine has anyway.
choose_user() {
    as_user=()
    user_name=$(id -un)
    [ "$(id -u)" = 0 ] || return 0
    for user_name in postgres nobody; do
        if id "$user_name" >/dev/null 2>&1; then
            as_user=(setpriv "--reuid=$user_name" "--regid=$(id -g "$user_name")" --clear-groups
                env "HOME=$work" "USER=$user_name" "LOGNAME=$user_name")
            return 0
        fi
    done
    return 1
}

compile() {
    local source=$1 program=$2
    "${CC:-gcc}" -O1 -Wall -Wextra -Werror -pthread -o "$program" "$top/tests/c/$source"
}
