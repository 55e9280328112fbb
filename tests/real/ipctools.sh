# util-linux's ipcmk, ipcs, ipcrm, lsipc and what they read in /proc: the same commands on the kernel, in
# a fresh IPC namespace, and under the shim, in a fresh directory. The outputs must be the same bytes once
# process ids have become the names of the commands they belong to and times have become "now".

need_namespace() {
    [ -n "$own_namespace" ] || skip "no IPC namespace to run the kernel's side in"
    namespace=($(namespace_command))
}

# compare NAME: the scenario of that name on both sides.
compare() {
    local scenario=$top/tests/real/ipctools-scenario under
    compile producer.c "$work/producer"
    "${namespace[@]}" bash "$scenario" "$1" "$work/producer" "$work/kernel.pids" >"$work/kernel" 2>&1
    under
    bash "$scenario" "$1" "$work/producer" "$work/shim.pids" "${under[@]}" >"$work/shim" 2>&1
    "$top/tests/real/normalise" "$work/kernel.pids" <"$work/kernel" >"$work/kernel.txt"
    "$top/tests/real/normalise" "$work/shim.pids" <"$work/shim" >"$work/shim.txt"
    expect_match "the transcript's end" '^end of scenario$' "$(tail -n 1 "$work/kernel.txt")"
    if ! diff -u --label kernel --label shim "$work/kernel.txt" "$work/shim.txt"; then
        fail "the shim's output differs from the kernel's"
    fi
}

test_ipctools_make_show_remove() {
    need_namespace
    compare life
}

test_ipctools_attached() {
    need_namespace
    compare attached
}

test_ipctools_sets_and_queues() {
    need_namespace
    compare others
}

test_ipctools_limits() {
    need_namespace
    [ "$(id -u)" = 0 ] || skip "changing the kernel's limits needs root"
    compare limits
}
