# PostgreSQL, all of whose shared memory is System V here: the main segment, whose nattch tells a new
# postmaster whether an old one's processes still run, and those through which parallel workers exchange
# their rows.
. "$top/scripts/lib/postgres.sh"

# A cluster of its own, with a table of 100000 rows, started.
start_new() {
    postgres_prepare || skip "no PostgreSQL server (apt-get install postgresql-15), or no user but root"
    viewer=as_owner
    server_init >"$work/initdb.log" || fail "initdb: $(cat "$work/initdb.log")"
    start
    sql -c "create table numbers as select i as id, i % 97 as kind, 'row ' || i as name from generate_series(1, 100000) i"
}

start() {
    server_start || fail "the server does not start: $(cat "$log")"
    expect "shared_memory_type" sysv "$(sql -c 'show shared_memory_type')"
    expect "dynamic_shared_memory_type" sysv "$(sql -c 'show dynamic_shared_memory_type')"
}

check_numbers() {
    expect "what the table holds" "100000|5000050000|1|100000" \
        "$(sql -c 'select count(*), sum(id::bigint), min(id), max(id) from numbers')"
}

# Looks at the segments as the server's user: "key shmid perms size cpid lpid nattch ..." per segment.
segments() {
    as_owner cat /proc/sysvipc/shm | tail -n +2
}

# A client is gone before its server process is, and the server process drops its segments last: wait for the segments to be
# those in $1, a minute at most.
expect_segments_again() {
    local tries
    for ((tries = 0; tries < 1200; tries++)); do
        [ "$(segments | cut -c 1-35)" = "$1" ] && break
        sleep 0.05
    done
    expect "segments when no parallel query runs" "$1" "$(segments | cut -c 1-35)"
}

# The main segment is the one that postmaster.pid names: "key shmid" on the seventh line.
main_segment() {
    sed -n '7s/^ *[0-9]* *//p' "$cluster/postmaster.pid"
}

# How often each segment is mapped by the processes that the kernel knows, by the creation keys in their maps.
mappings_of_key() {
    local hex pid
    hex=$(printf %08x "$1")
    for pid in $(postmaster) $(children_of "$(postmaster)"); do
        grep -l "/SYSV$hex" "/proc/$pid/maps" || true
    done | wc -l
}

# stopped cleanly, nothing may remain
stop_and_look() {
    server_stop
    expect "segments after the stop" "" "$(segments)"
}

test_postgres_segments() {
    start_new
    local id key count
    id=$(main_segment)
    key=$(segments | awk -v id="$id" '$2 == id { print $1 }')
    [ -n "$key" ] || fail "postmaster.pid names segment $id, /proc/sysvipc/shm has: $(segments)"
    count=$(segments | awk -v id="$id" '$2 == id { print $7 }')
    expect "nattch of the main segment, and the processes that map it" "$(mappings_of_key $((key & 0xffffffff)))" "$count"
    [ "$count" -ge 5 ] || fail "only $count processes of the server have the main segment"
    expect_match "ipcs" "^0x[0-9a-f]{8} $id +$user_name +600 +[0-9]+ +$count" "$(as_owner ipcs -m)"
    [ "$(segments | wc -l)" -ge 2 ] || fail "no segment for dynamic shared memory: $(segments)"
    if [ -n "$lib" ]; then
        expect "segments of the kernel" "$kernel_list" "$(kernel_objects)"
    fi
    # A connection is a process more; when it has gone, one less.
    local session
    coproc PSQL { sql 2>&1; }
    session=$PSQL_PID
    echo "select pg_backend_pid();" >&"${PSQL[1]}"
    local backend
    read -r backend <&"${PSQL[0]}"
    expect "nattch with a connection" $((count + 1)) "$(segments | awk -v id="$id" '$2 == id { print $7 }')"
    eval "exec ${PSQL[1]}>&-"
    wait "$session" || true
    "$top/scripts/lib/gone" "$backend"
    expect "nattch without the connection" "$count" "$(segments | awk -v id="$id" '$2 == id { print $7 }')"
    stop_and_look
}

test_postgres_pgbench() {
    start_new
    pg pgbench -i -q -s 1 >"$work/pgbench.log" 2>&1 || fail "pgbench -i: $(cat "$work/pgbench.log")"
    pg pgbench -n -c 6 -j 2 -t 150 >"$work/pgbench.log" 2>&1 || fail "pgbench: $(cat "$work/pgbench.log")"
    expect_match "pgbench" "transactions actually processed: 900/900" "$(cat "$work/pgbench.log")"
    expect "rows of history" 900 "$(sql -c 'select count(*) from pgbench_history')"
    expect "the sums of accounts, tellers and branches are that of history" "t|t|t" "$(sql -c '
        with history as (select sum(delta) as sum from pgbench_history)
        select (select sum(abalance) from pgbench_accounts) = sum, (select sum(tbalance) from pgbench_tellers) = sum,
               (select sum(bbalance) from pgbench_branches) = sum from history')"
    check_numbers
    stop_and_look
}

test_postgres_parallel_query() {
    start_new
    local plan before leader
    before=$(segments | cut -c 1-35)
    sql -c "alter table numbers set (parallel_workers = 4)"
    for leader in on off; do
        plan=$(sql -c "$parallel_settings set parallel_leader_participation = $leader;
            explain (analyze, costs off, timing off) select sum(id::bigint) from numbers where kind <> 3")
        expect_match "the plan" "Workers Launched: 4" "$plan"
        expect "the sum over five processes" 4948543302 "$(sql -c "$parallel_settings set parallel_leader_participation = $leader;
            select sum(id::bigint) from numbers where kind <> 3")"
    done
    expect_segments_again "$before"

    # Both sides of a hash join in one hash table that all workers fill.
    sql -c "create table kinds as select k, 'kind ' || k as title from generate_series(0, 96) k; analyze"
    plan=$(sql -c "$parallel_settings set enable_mergejoin = off; set enable_nestloop = off;
        explain (analyze, costs off, timing off) select count(*) from numbers a join numbers b using (id)")
    expect_match "the plan" "Workers Launched: 4" "$plan"
    expect_match "the plan" "Parallel Hash Join" "$plan"
    expect_match "the plan" "-> +Parallel Hash \(actual" "$plan"
    expect "the join" "100000|10000100000" "$(sql -c "$parallel_settings set enable_mergejoin = off; set enable_nestloop = off;
        select count(*), sum(a.id::bigint + b.id) from numbers a join numbers b using (id)")"
    # More than fits into work_mem: the batches go through files, the hash table grows.
    expect "the join with little memory" "100000|10000100000" "$(sql -c "$parallel_settings set enable_mergejoin = off;
        set enable_nestloop = off; set work_mem = '64kB';
        select count(*), sum(a.id::bigint + b.id) from numbers a join numbers b using (id)")"
    # Workers that sort, and several sessions that do all this at once.
    sql -c "set max_parallel_maintenance_workers = 4; set maintenance_work_mem = '64MB'; create index on numbers (name)"
    local sessions=() n
    for n in 1 2 3; do
        sql -c "$parallel_settings select count(*), sum(length(title)) from numbers join kinds on k = kind" >"$work/session.$n" &
        sessions+=($!)
    done
    for n in "${sessions[@]}"; do
        wait "$n"
    done
    for n in 1 2 3; do
        expect "session $n" "100000|689691" "$(cat "$work/session.$n")"
    done
    expect_segments_again "$before"
    stop_and_look
}

test_postgres_second_postmaster() {
    start_new
    local before
    before=$(segments | cut -c 1-35)
    expect_failure "a second postmaster" 1 pg postgres -D "$cluster" -p 5433
    expect_match "a second postmaster" 'FATAL: +lock file "postmaster.pid" already exists' "$said"
    # Without the lock file only the segment's nattch can tell.
    mv "$cluster/postmaster.pid" "$work/postmaster.pid"
    expect_failure "a second postmaster, the lock file being lost" 1 pg postgres -D "$cluster" -p 5433
    expect_match "a second postmaster, the lock file being lost" \
        'FATAL: +pre-existing shared memory block \(key [0-9]+, ID [0-9]+\) is still in use' "$said"
    mv "$work/postmaster.pid" "$cluster/postmaster.pid"
    expect "the first one's segments" "$before" "$(segments | cut -c 1-35)"
    check_numbers
    # Another cluster of the same user is no obstacle.
    server_in second
    server_init >"$work/initdb.log" || fail "initdb: $(cat "$work/initdb.log")"
    echo "port = 5433" >>"$cluster/postgresql.conf"
    server_start || fail "the second cluster does not start: $(cat "$log")"
    [ "$(segments | wc -l)" -gt "$(wc -l <<<"$before")" ] || fail "the second cluster has no segments"
    server_stop
    server_in first
    expect "the first one's segments" "$before" "$(segments | cut -c 1-35)"
    check_numbers
    stop_and_look
}

# The postmaster is killed and all its processes notice: the next start recovers and tidies up.
test_postgres_killed_postmaster() {
    start_new
    local processes before old
    before=$(segments | wc -l)
    sql -c "insert into numbers values (100001, 0, 'committed')"
    processes=$(children_of "$(postmaster)")
    old=$(main_segment)
    "$top/scripts/lib/gone" --kill "KILL:$(postmaster)" "$(postmaster)" $processes
    expect "nattch of what is left" 0 "$(segments | awk -v id="$old" '$2 == id { print $7 }')"
    start
    expect_match "the log" "automatic recovery in progress" "$(cat "$log")"
    expect "the committed row" committed "$(sql -c "select name from numbers where id = 100001")"
    sql -c "delete from numbers where id = 100001"
    check_numbers
    expect "number of segments, as after the first start" "$before" "$(segments | wc -l)"
    expect "the old main segment" "" "$(segments | awk -v id="$old" '$2 == id')"
    stop_and_look
}

# A backend outlives its postmaster: nobody else may start on this data while it does.
test_postgres_surviving_backend() {
    start_new
    local backend others master before
    before=$(segments | wc -l)
    coproc PSQL { sql 2>&1; }
    local session=$PSQL_PID
    echo "begin; insert into numbers values (100001, 0, 'not committed'); select pg_backend_pid();" >&"${PSQL[1]}"
    read -r backend <&"${PSQL[0]}"
    master=$(postmaster)
    others=$(children_of "$master" | grep -vx "$backend")
    kill -STOP "$backend"
    "$top/scripts/lib/gone" --kill "KILL:$master" "$master" $others
    expect "nattch: the backend is left" 1 "$(segments | awk -v id="$(main_segment)" '$2 == id { print $7 }')"

    expect_failure "a start while a backend lives" 1 pg postgres -D "$cluster"
    expect_match "a start while a backend lives" \
        "FATAL: +pre-existing shared memory block \(key [0-9]+, ID $(main_segment)\) is still in use" "$said"
    expect_match "a start while a backend lives" "HINT: +Terminate any old server processes" "$said"
    mv "$cluster/postmaster.pid" "$work/postmaster.pid"
    expect_failure "the same without the lock file" 1 pg postgres -D "$cluster"
    expect_match "the same without the lock file" 'FATAL: +pre-existing shared memory block \(key [0-9]+, ID [0-9]+\) is still in use' "$said"
    mv "$work/postmaster.pid" "$cluster/postmaster.pid"

    "$top/scripts/lib/gone" --kill "KILL:$backend" "$backend"
    eval "exec ${PSQL[1]}>&-"
    wait "$session" || true
    start
    expect_match "the log" "automatic recovery in progress" "$(cat "$log")"
    check_numbers
    expect "number of segments, as after the first start" "$before" "$(segments | wc -l)"
    stop_and_look
}

# A killed backend makes the postmaster start over, with new shared memory; so does an immediate stop
# for the next start; and when everything is killed at once nothing but the segments is left.
test_postgres_killed_backend() {
    start_new
    local backend before master
    before=$(segments | wc -l)
    coproc PSQL { sql 2>&1; }
    local session=$PSQL_PID
    echo "select pg_backend_pid();" >&"${PSQL[1]}"
    read -r backend <&"${PSQL[0]}"
    local processes
    processes=$(children_of "$(postmaster)")
    "$top/scripts/lib/gone" --kill "KILL:$backend" $processes
    eval "exec ${PSQL[1]}>&-"
    wait "$session" || true
    pg pg_ctl status >/dev/null
    until pg pg_isready -q -t 30; do :; done
    check_numbers
    expect_match "the log" "all server processes terminated; reinitializing" "$(cat "$log")"
    expect "number of segments, as after the first start" "$before" "$(segments | wc -l)"

    master=$(postmaster)
    processes=$(children_of "$master")
    "$top/scripts/lib/gone" $(printf -- '--kill KILL:%s ' "$master" $processes) "$master" $processes
    expect "segments, all left behind" "$before" "$(segments | awk '$7 == 0' | wc -l)"
    start
    check_numbers
    expect "number of segments, as after the first start" "$before" "$(segments | wc -l)"
    server_stop -m immediate
    start
    check_numbers
    stop_and_look
}

# One login session's namespace. Every process of the server makes itself a session of its own; they
# stay in the namespace in which the server started, because they inherited it.
test_postgres_session_scope() {
    [ -n "$lib" ] || skip "the kernel has no such thing"
    scope=SHMSHIM_SCOPE=user,session
    start_new
    expect "segments in the caller's session" "" "$(segments)"
    expect_match "the plan" "Workers Launched: 4" "$(sql -c "alter table numbers set (parallel_workers = 4)" \
        -c "$parallel_settings explain (analyze, costs off, timing off) select sum(id::bigint) from numbers")"
    expect "the sum over five processes" 5000050000 "$(sql -c "$parallel_settings select sum(id::bigint) from numbers")"
    # initdb ran in the caller's session.
    expect "sessions that have a namespace" "$(printf '%s\n' "$(sed 's/.*) //' /proc/$$/stat | cut -d ' ' -f 4)" "$(postmaster)" | sort)" \
        "$(find "$base" -name '.shmshim-uid*-session*' -type d | sed 's/.*-session//' | sort)"
    stop_and_look
}
