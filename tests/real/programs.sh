# Programs of the distribution that keep their semaphores and message queues in System V: fakeroot, Qt, Apache, squid, uWSGI, JACK,
# stress-ng. Those that are large for what they add are there when scripts/setup programs has been run.

need() {
    command -v "$1" >/dev/null || skip "no $1: apt-get install $2"
}

# need_user: an ordinary user, whose namespace it is, too: some servers give root up before their first call.
need_user() {
    choose_user || skip "no user but root"
    chmod 1777 "$base"
}

# at_last COMMAND...: waits until it succeeds, a minute at most.
at_last() {
    local tries
    for ((tries = 0; tries < 600; tries++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "for a minute in vain: $*"
}

# port: a number of one that nobody listens on.
port() {
    perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'
}

# many PORT PATH: requests from eight clients at once, all answered. Without a program for it.
many() {
    perl -MIO::Socket::INET -e '
        my ($port, $path, $answered) = (@ARGV, 0);
        my @clients;
        for (1 .. 8) {
            pipe my $from, my $to or die "pipe: $!";
            if (my $pid = fork) { push @clients, $from; next }
            my $good = 0;
            for (1 .. 100) {
                my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 60) or next;
                print $server "GET $path HTTP/1.0\r\n\r\n";
                $good++ if join("", <$server>) =~ /^HTTP\S+ 200 .*served\n\z/s;
            }
            print $to "$good\n";
            exit 0;
        }
        $answered += <$_> for @clients;
        print $answered;' "$@"
}

# The queue pair through which fakeroot's library and faked talk, and the set that is their lock.
test_fakeroot() {
    need fakeroot-sysv fakeroot
    need dpkg-deb dpkg
    need_user
    local under said
    under
    mkdir -p "$work/build/tree/DEBIAN" "$work/build/tree/usr/share/thing"
    cd "$work/build"
    printf '%s\n' 'Package: thing' 'Version: 1' 'Architecture: all' 'Maintainer: a <a@b>' 'Description: thing' >tree/DEBIAN/control
    for name in $(seq 50); do echo "$name" >"tree/usr/share/thing/$name"; done
    [ ${#as_user[@]} -eq 0 ] || chown -R "$user_name" .
    said=$("${as_user[@]}" "${under[@]}" fakeroot-sysv sh -c '
        set -e
        chown -R 7:8 tree/usr
        chown 0:0 tree/usr/share/thing/1
        mknod tree/usr/share/thing/device c 1 3
        stat -c "%u:%g" tree/usr/share/thing/1 tree/usr/share/thing/2
        dpkg-deb -b tree thing.deb >/dev/null
        mkdir out
        dpkg-deb -x thing.deb out
        stat -c "%u:%g %F" out/usr/share/thing/2 out/usr/share/thing/device' 2>&1) || fail "fakeroot: $said"
    expect "what fakeroot feigns" "0:0
7:8
7:8 regular file
0:0 character special file" "$said"
    expect "what the package says" 52 "$(dpkg-deb --fsys-tarfile thing.deb | tar -tv --numeric-owner | grep -c ' 7/8 ')"
    cd /
    viewer=as_user_shim
    # fakeroot tells its daemon to end, and does not wait for it.
    at_last is_empty
}

is_empty() {
    [ -z "$(as_user_shim tail -q -n +2 /proc/sysvipc/sem /proc/sysvipc/msg)" ]
}

# The namespace as the test's ordinary user sees it.
as_user_shim() {
    local under
    under
    "${as_user[@]}" "${under[@]}" "$@"
}

test_qt() {
    need g++ g++
    pkg-config --exists Qt5Core 2>/dev/null || skip "no Qt: apt-get install qtbase5-dev pkg-config"
    g++ -O1 -fPIC -o "$work/qt" "$top/tests/real/qt.cpp" $(pkg-config --cflags --libs Qt5Core)
    expect "what the processes say" 200 "$(shim "$work/qt" 2>&1)"
}

# Six processes take turns at two sockets by a set of one semaphore, with SEM_UNDO. One of them is killed meanwhile.
test_apache() {
    need apache2 apache2-bin
    local modules=/usr/lib/apache2/modules port under server children
    under
    port=$(port)
    mkdir "$work/apache" "$work/apache/docs"
    echo served >"$work/apache/docs/file"
    cat >"$work/apache/conf" <<CONF
ServerRoot $work/apache
PidFile $work/apache/pid
ErrorLog $work/apache/errors
DefaultRuntimeDir $work/apache
ServerName localhost
Listen 127.0.0.1:$port
Listen 127.0.0.1:$(port)
Mutex sysvsem default
LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
LoadModule authz_core_module $modules/mod_authz_core.so
DocumentRoot $work/apache/docs
StartServers 6
MinSpareServers 6
MaxRequestWorkers 6
CONF
    choose_user && [ ${#as_user[@]} -eq 0 ] || printf 'User %s\nGroup #%s\n' "$user_name" "$(id -g "$user_name")" >>"$work/apache/conf"
    # It ends its whole process group.
    setsid "${under[@]}" apache2 -f "$work/apache/conf" -DFOREGROUND 2>"$work/apache/said" &
    server=$!
    at_last many_are_there
    expect "sets" 1 "$(shim tail -n +2 /proc/sysvipc/sem | wc -l)"
    expect "requests served" 800 "$(many "$port" /file)"
    # One that waits for its turn, or has it.
    children=($(pgrep -P "$server"))
    kill -KILL "${children[@]:0:3}"
    expect "requests served after three were killed" 800 "$(many "$port" /file)"
    kill -TERM "$server"
    wait "$server" || true
}

many_are_there() {
    [ "$(pgrep -P "$server" | wc -l)" -ge 6 ]
}

# Squid and its diskd: two queues for what is asked and answered, a segment for the contents.
test_squid() {
    need squid squid
    need curl curl
    need_user
    local under port web server path
    under
    port=$(port)
    mkdir -p "$work/squid/cache" "$work/docs"
    cat >"$work/squid/conf" <<CONF
http_port 127.0.0.1:$port
pid_filename $work/squid/pid
cache_dir diskd $work/squid/cache 100 4 4 Q1=64 Q2=72
cache_log $work/squid/log
access_log none
cache_store_log none
coredump_dir $work/squid
http_access allow all
maximum_object_size_in_memory 0 KB
cache_mem 0 MB
pinger_enable off
netdb_filename none
shutdown_lifetime 1 seconds
visible_hostname localhost
CONF
    if [ ${#as_user[@]} -gt 0 ]; then
        printf 'cache_effective_user %s\ncache_effective_group %s\n' "$user_name" "$(id -gn "$user_name")" >>"$work/squid/conf"
        chown -R "$user_name" "$work/squid"
    fi
    for name in $(seq 20); do head -c 20000 /dev/urandom >"$work/docs/$name"; done
    web=$(port)
    python3 -m http.server --bind 127.0.0.1 --directory "$work/docs" "$web" >/dev/null 2>&1 &
    local web_server=$!
    "${under[@]}" squid -N -z -f "$work/squid/conf" >"$work/squid/said" 2>&1 || fail "squid -z: $(cat "$work/squid/said")"
    "${under[@]}" squid -N -f "$work/squid/conf" >"$work/squid/said" 2>&1 &
    server=$!
    at_last curl -sf -o /dev/null "http://127.0.0.1:$web/"
    at_last curl -sf -o /dev/null -x "127.0.0.1:$port" "http://127.0.0.1:$web/"
    viewer=as_user_shim
    expect "queues" 2 "$(as_user_shim tail -n +2 /proc/sysvipc/msg | wc -l)"
    expect_match "who serves them" diskd "$(pgrep -l -P "$server")"
    for path in $(seq 20) $(seq 20); do
        curl -sf -x "127.0.0.1:$port" -D "$work/headers" "http://127.0.0.1:$web/$path" | cmp - "$work/docs/$path" ||
            fail "$path differs"
    done
    expect_match "where the last one came from" 'X-Cache: HIT' "$(cat "$work/headers")"
    kill "$web_server"
    kill -TERM "$server"
    wait "$server" || fail "squid: $(cat "$work/squid/log")"
    # Diskd sees by an alarm each second that nobody asks it any more.
    at_last nobody_has_a_queue
}

nobody_has_a_queue() {
    [ -z "$(as_user_shim tail -n +2 /proc/sysvipc/msg)" ]
}

# Each of its locks is a set of one semaphore.
test_uwsgi() {
    need uwsgi uwsgi-core
    need_user
    local under port server
    under
    port=$(port)
    mkdir "$work/uwsgi"
    printf '#!/bin/sh\necho "Content-type: text/plain\n\nserved"\n' >"$work/file"
    chmod 755 "$work/file"
    [ ${#as_user[@]} -eq 0 ] || chown "$user_name" "$work/uwsgi"
    "${as_user[@]}" "${under[@]}" uwsgi --http-socket "127.0.0.1:$port" --master --processes 4 --thunder-lock \
        --lock-engine ipcsem --locks 2 --sharedarea 1 --plugin cgi --http-socket-modifier1 9 --cgi "/file=$work/file" \
        --safe-pidfile "$work/uwsgi/pid" \
        >"$work/uwsgi.log" 2>&1 &
    server=$!
    viewer=as_user_shim
    at_last grep -q 'spawned uWSGI worker 4' "$work/uwsgi.log"
    expect_match "its locks" 'lock engine: ipcsem' "$(cat "$work/uwsgi.log")"
    [ "$(as_user_shim tail -n +2 /proc/sysvipc/sem | wc -l)" -gt 3 ] || fail "no sets: $(cat "$work/uwsgi.log")"
    expect "requests served" 800 "$(many "$port" /file)"
    kill -INT "$(cat "$work/uwsgi/pid")"
    wait "$server" || true
}

# A registry of servers in a segment, under a set; it stays when the server ends.
test_jackd() {
    need jackd jackd1
    local under server
    under
    "${under[@]}" jackd -r -d dummy >"$work/jackd.log" 2>&1 &
    server=$!
    at_last jackd_is_there
    expect "what waits for the registry's lock" "1 0 0" "$(shim perl -MIPC::SysV -MIPC::Semaphore -e '
        my $set = IPC::Semaphore->new(0x282929, 1, 0) or die "semget: $!";
        print join " ", $set->getval(0), $set->getncnt(0), $set->getzcnt(0)')"
    kill -TERM "$server"
    wait "$server" || true
    shim ipcrm -M 0x282929 -S 0x282929
}

jackd_is_there() {
    [ "$(shim tail -q -n +2 /proc/sysvipc/shm | wc -l)" -ge 3 ] && [ "$(shim tail -n +2 /proc/sysvipc/sem | wc -l)" = 1 ]
}

test_stress_ng() {
    need stress-ng stress-ng
    local said
    said=$(cd "$work" && shim stress-ng --sem-sysv 2 --msg 2 --shm-sysv 1 --shm-sysv-bytes 1m --verify -t 3 2>&1) ||
        fail "stress-ng: $said"
    expect_match "its end" 'successful run completed' "$said"
}
