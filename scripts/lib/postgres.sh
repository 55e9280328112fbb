# PostgreSQL for scripts/check-real and scripts/demo: a cluster whose shared memory is all System V, run
# as an ordinary user. Sourced by bash, after real.sh; needs $work, $base and $lib (make_directories).
#
# pg COMMAND... runs one of its programs, as that user and under the shim; so does as_owner with any
# other program. Both see the cluster that $cluster names (server_new, server_in).

# Sets $pgbin and the user; fails when the machine lacks either.
postgres_prepare() {
    pgbin=$(find_postgres) && choose_user || return 1
    mkdir "$work/pg"
    if [ ${#as_user[@]} -gt 0 ]; then
        chown "$user_name" "$work/pg" "$base"
    fi
    server_in first
}

server_in() {
    cluster=$work/pg/$1
    log=$cluster.log
    local under
    under ${scope:+"$scope"} "PGDATA=$cluster" "PGHOST=$work/pg" PGPORT=5432 PGDATABASE=postgres "PGUSER=$user_name" \
        PGOPTIONS= PSQLRC=/dev/null
    owner=("${as_user[@]}" "${under[@]}")
}

as_owner() {
    (cd "$work/pg" && "${owner[@]}" "$@")
}

pg() {
    local program=$1
    shift
    as_owner "$pgbin/$program" "$@"
}

sql() {
    pg psql -XAtq -v ON_ERROR_STOP=1 "$@"
}

server_init() {
    pg initdb --no-sync --auth=trust --encoding=UTF8 --locale=C
    cat >>"$cluster/postgresql.conf" <<CONF
shared_memory_type = sysv
dynamic_shared_memory_type = sysv
listen_addresses = ''
unix_socket_directories = '$work/pg'
shared_buffers = 16MB
max_connections = 20
max_worker_processes = 8
max_parallel_workers = 8
autovacuum = off
fsync = off
log_min_messages = log
CONF
}

server_start() {
    pg pg_ctl start -w -t 300 -s -l "$log"
}

server_stop() {
    pg pg_ctl stop -w -t 300 -s -m fast "$@"
}

postmaster() {
    head -n 1 "$cluster/postmaster.pid"
}

# The pids of a process's children. Processes that end meanwhile are none.
children_of() {
    perl -e 'for (glob "/proc/[0-9]*/stat") {
        open my $file, "<", $_ or next;
        print "$1\n" if (<$file> // "") =~ /^(\d+) \(.*\) [^Z] $ARGV[0] /s;
    }' "$1"
}

# For parallel plans whatever the table's size: settings for one psql session.
parallel_settings="
    set max_parallel_workers_per_gather = 4;
    set parallel_setup_cost = 0;
    set parallel_tuple_cost = 0;
    set min_parallel_table_scan_size = 0;"
