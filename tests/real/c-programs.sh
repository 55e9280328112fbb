# A producer and a consumer in C, started separately (tests/c/producer.c, tests/c/consumer.c). The
# producer goes in unusual ways; what it wrote stays, and the books about it are right.

compile_both() {
    command -v gcc >/dev/null || skip "no gcc: apt-get install gcc libc6-dev"
    compile producer.c "$work/producer"
    compile consumer.c "$work/consumer"
}

test_c_unusual_exits() {
    compile_both
    local end wanted status made id pid
    while read -r end wanted; do
        status=0
        made=$(shim "$work/producer" 0x162e 10000 "$end" 2>&1) || status=$?
        expect "$end: the producer's exit status" "$wanted" "$status"
        read -r id pid <<<"$made"
        expect "$end: what the consumer saw" \
            "$id nattch 0 cpid $pid lpid $pid mode 600
attached $id nattch 1 cpid $pid lpid -1 mode 600" "$(shim "$work/consumer" 0x162e 10000)"
        shim ipcrm -M 0x162e
    done <<'ENDS'
return 0
detach 0
_exit 0
abort 134
segv 139
kill 137
exec 0
closed 0
thread 0
children 0
ENDS
}

# The producer stays, attached; consumers come and go, and the mapping says whose it is.
test_c_both_alive() {
    compile_both
    local id pid ready under
    under
    coproc HELD { exec "${under[@]}" "$work/producer" 0x8000000f 100000 wait; }
    read -r id pid <&"${HELD[0]}"
    read -r ready <&"${HELD[0]}"
    expect "while the producer lives" "$id nattch 1 cpid $pid lpid $pid mode 600
attached $id nattch 2 cpid $pid lpid -1 mode 600" "$(shim "$work/consumer" 0x8000000f 100000)"
    expect_match "the producer's mappings" 'rw-s .*/SYSV8000000f' "$(cat "/proc/$pid/maps")"
    "$top/scripts/lib/gone" --kill "KILL:$pid" "$pid"
    expect "when it has been killed" "$id nattch 0 cpid $pid lpid $pid mode 600
attached $id nattch 1 cpid $pid lpid -1 mode 600" "$(shim "$work/consumer" 0x8000000f 100000)"
    shim ipcrm -m "$id"
}

# Removed while attached: the key is free at once, the id works for anyone until the producer leaves.
test_c_marked_for_destruction() {
    compile_both
    local id pid ready under
    under
    coproc HELD { exec "${under[@]}" "$work/producer" 0x99 20000 marked; }
    read -r id pid <&"${HELD[0]}"
    read -r ready <&"${HELD[0]}"
    expect_failure "the key of a removed segment" 1 shim "$work/consumer" 0x99 20000
    expect_match "the key of a removed segment" "shmget: No such file or directory" "$said"
    expect "by id" "$id nattch 1 cpid $pid lpid $pid mode 1600
attached $id nattch 2 cpid $pid lpid -1 mode 1600" "$(shim "$work/consumer" 0x99 20000 "$id")"
    local second
    second=$(shim "$work/producer" 0x99 4096 return)
    [ "${second% *}" != "$id" ] || fail "the new segment has the id of the one still attached"
    shim ipcrm -M 0x99
    eval "exec ${HELD[1]}>&-"
    "$top/scripts/lib/gone" "$pid"
    expect_failure "the id after the last detach" 1 shim "$work/consumer" 0x99 20000 "$id"
    expect_match "the id after the last detach" "IPC_STAT: Invalid argument" "$said"
}
