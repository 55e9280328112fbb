# An X server without a screen and a client that hands it pictures through MIT-SHM: the client makes a
# segment, the server attaches it by id, the client removes it while both have it. By name only
# (scripts/check-real x11; scripts/setup x11 installs what it needs).

need_x11() {
    command -v Xvfb >/dev/null && command -v x11perf >/dev/null || skip "no Xvfb and x11perf: scripts/setup x11"
}

# start_server OPTION...: sets $server and DISPLAY; the server's output is in $work/server.
start_server() {
    mkfifo "$work/display"
    "${under[@]}" Xvfb -displayfd 3 -screen 0 1280x1024x24 -nolisten tcp -ac "$@" 3>"$work/display" >"$work/server" 2>&1 &
    server=$!
    local number
    read -r -t 60 number <"$work/display" || fail "Xvfb does not start: $(cat "$work/server")"
    export DISPLAY=:$number
}

stop_server() {
    kill -TERM "$server"
    wait "$server" || true
}

# The ids go up with every segment made: 0 for the first one.
next_id() {
    local id
    id=$("${under[@]}" ipcmk -M 1 | tr -dc 0-9)
    "${under[@]}" ipcrm -m "$id"
    echo "$id"
}

test_x11_pictures() {
    need_x11
    local under
    under
    start_server
    expect "the next id before the client" 0 "$(next_id)"
    "${under[@]}" x11perf -repeat 1 -time 1 -shmput10 -shmput500 -shmget100 >"$work/client" 2>&1 || fail "x11perf: $(cat "$work/client")"
    expect "results" 3 "$(grep -cE 'reps @ .*(ShmPutImage|ShmGetImage|MIT-SHM|Shm)' "$work/client")"
    [ "$(next_id)" -gt 3 ] || fail "the client made no segment: $(cat "$work/client")"
    expect "segments when the client has ended" "" "$("${under[@]}" cat /proc/sysvipc/shm | tail -n +2)"
    stop_server
}

# The server's own frame buffer, attached by id from an unrelated process.
test_x11_frame_buffer() {
    need_x11
    local under id
    under
    start_server -shmem
    id=$(sed -n 's/^screen 0 shmid \([0-9]*\).*/\1/p' "$work/server")
    [ -n "$id" ] || fail "Xvfb tells no shmid: $(cat "$work/server")"
    # An XWD file begins with the header's length and the version, most significant byte first.
    "${under[@]}" perl -e '
        shmread($ARGV[0], my $header, 0, 24) or die "shmread: $!";
        my ($length, $version, $format, $depth, $width, $height) = unpack "N6", $header;
        "$version $format $depth $width $height" eq "7 2 24 1280 1024" or die "header: $length $version $format $depth $width $height"' "$id"
    stop_server
    # Xvfb detaches it and leaves it.
    expect "the frame buffer afterwards" "$id 0" "$("${under[@]}" cat /proc/sysvipc/shm | awk 'NR > 1 { print $2, $7 }')"
    "${under[@]}" ipcrm -m "$id"
}

# The server is root, the client is not: they share the system's segments, by the rights of each.
test_x11_other_user() {
    need_x11
    [ "$(id -u)" = 0 ] || skip "a client of another user needs root"
    choose_user || skip "no user but root"
    local under
    chmod 1777 "$base"
    under SHMSHIM_SCOPE=system
    # Made by root, before any user comes.
    "${under[@]}" ipcs -m >/dev/null
    start_server
    "${as_user[@]}" "${under[@]}" x11perf -repeat 1 -time 1 -shmput10 >"$work/client" 2>&1 || fail "x11perf: $(cat "$work/client")"
    expect "results" 1 "$(grep -c 'reps @ ' "$work/client")"
    [ "$(next_id)" -ge 1 ] || fail "the client made no segment: $(cat "$work/client")"
    stop_server
}
