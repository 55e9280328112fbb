//! `shmshim import`: in an IPC namespace of the kernel's of its own, against ipcs.

use std::process::{Command, Output};

use crate::common::{self, Namespace};
use serde_json::Value;

/// Runs a script in an IPC namespace in which there is nothing: `$S` is the command, `$C` and `$I` the clients, not under the library,
/// `$L` the library. `None`: this machine or this user has no such namespace.
fn in_kernel(namespace: &Namespace, script: &str) -> Option<Output> {
    let has_any = Command::new("unshare")
        .args(["-i", "cat", "/proc/sysvipc/shm"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_any {
        eprintln!("skipped: takes root, and a kernel with System V shared memory");
        return None;
    }
    let output = Command::new("unshare")
        .args(["-i", "sh", "-ec", script])
        .env("S", env!("CARGO_BIN_EXE_shmshim"))
        .env("C", common::client())
        .env("I", common::compile("ipc.c", "ipc", &[]))
        .env("L", common::library())
        .env("SHMSHIM_DIR", namespace.base())
        .env_remove("SHMSHIM_SCOPE")
        .env_remove("LD_PRELOAD")
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    Some(output)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_kernels_segments_come_with_ids_keys_modes_and_contents() {
    let namespace = Namespace::new();
    let script = "
        $C make 0x162e 5000 640 attach write hello >/dev/null
        $C make 0 100 600 attach write private >/dev/null
        $C make 0x162f 1048576 604 >/dev/null
        ipcs -m | awk '$1 ~ /^0x/ {print $1, $2, $4, $5}'
        echo --
        $S import --all
        echo --
        LD_PRELOAD=$L ipcs -m | awk '$1 ~ /^0x/ {print $1, $2, $4, $5}'
        echo --
        LD_PRELOAD=$L $C open 0x162e 0 attach read
        ipcs -m | grep -c ^0x";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let text = text(&output);
    let parts: Vec<&str> = text.split("--\n").collect();
    assert_eq!(parts[0].lines().count(), 3, "{text}");
    assert_eq!(parts[0], parts[2], "{text}");
    assert_eq!(parts[1].matches("imported segment").count(), 3);
    assert!(parts[3].contains("hello"), "{text}");
    // The kernel keeps what it had.
    assert_eq!(parts[3].lines().last(), Some("3"));
    let checked = namespace.shmshim(["check"]).assert();
    checked.success();
    let log = namespace.out(["log"], 0);
    let imported = " (key 0x0000162e) of 5000 bytes was imported from the kernel by pid ";
    assert!(log.contains(imported), "{log}");
    let events = namespace.json(&["log", "0x162e"]);
    assert_eq!(events[0]["event"], "imported");
}

#[test]
fn the_kernels_segments_are_saved_and_restored_in_a_namespace() {
    let namespace = Namespace::new();
    let script = "
        $C make 0x162e 5000 640 attach write hello >/dev/null
        $C make 0x162f 1048576 604 >/dev/null
        ipcs -m | awk '$1 ~ /^0x/ {print $1, $2, $4, $5}'
        echo --
        $S save --kernel $SHMSHIM_DIR/saved
        $S restore $SHMSHIM_DIR/saved
        LD_PRELOAD=$L ipcs -m | awk '$1 ~ /^0x/ {print $1, $2, $4, $5}'
        echo --
        LD_PRELOAD=$L $C open 0x162e 0 attach read
        tar xOf $SHMSHIM_DIR/saved namespace.json | grep -c '\"key\"'
        ipcs -m | grep -c ^0x";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let text = text(&output);
    let parts: Vec<&str> = text.split("--\n").collect();
    assert_eq!(parts[0].lines().count(), 2, "{text}");
    assert!(parts[1].ends_with(parts[0]), "{text}");
    assert!(parts[2].contains("hello"), "{text}");
    assert!(parts[2].ends_with("2\n2\n"), "{text}");
    namespace.shmshim(["check"]).assert().success();
}

#[test]
fn an_id_whose_place_is_taken_becomes_another() {
    let namespace = Namespace::new();
    let mine = namespace.make("1", "4096");
    let script = "
        $C make 0x162e 4096 600 attach write hello >/dev/null
        $S import --key 0x162e --json
        LD_PRELOAD=$L $C open 0x162e 0 attach read >&2";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let imported: Value = serde_json::from_str(&text(&output)).unwrap();
    let one = &imported[0];
    assert_eq!(
        one["kernel_id"].as_i64().unwrap() % 32768,
        i64::from(mine) % 32768
    );
    assert_ne!(one["kernel_id"], one["id"]);
    assert_eq!(one["key"], "0x0000162e");
    assert!(String::from_utf8_lossy(&output.stderr).contains("hello"));
    namespace.shmshim(["check"]).assert().success();
}

#[test]
fn a_key_that_is_taken_and_what_is_not_there_are_refused() {
    let namespace = Namespace::new();
    namespace.make("0x162e", "4096");
    let script = "
        $C make 0x162e 4096 600 >/dev/null
        $S import --all 2>&1 && exit 9 || echo status $?
        $S import 77 2>&1 && exit 9 || echo status $?
        $S import --key 0x77 2>&1 && exit 9 || echo status $?
        $S import 2>/dev/null && exit 9 || echo status $?";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let text = text(&output);
    let statuses: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("status"))
        .collect();
    assert_eq!(
        statuses,
        ["status 4", "status 3", "status 3", "status 2"],
        "{text}"
    );
    assert!(text.contains("rm --key 0x162e"), "{text}");
}

#[test]
fn pages_of_zeros_take_no_memory() {
    use std::os::unix::fs::MetadataExt;
    let namespace = Namespace::new();
    let script = "
        $C make 0x162e 67108864 600 attach write hello >/dev/null
        $S import --all";
    if in_kernel(&namespace, script)
        .map(|output| text(&output))
        .is_none()
    {
        return;
    }
    let mut files = std::fs::read_dir(namespace.runtime().join("segments")).unwrap();
    let file = files.next().unwrap().unwrap().metadata().unwrap();
    assert_eq!(file.len(), 67_108_864);
    assert!(file.blocks() * 512 <= 65536, "{} blocks", file.blocks());
}

/// Of the kernel's, or under the library: what ipcs tells of sets and queues, and all values and messages. Taking them empties a queue,
/// of which the kernel's is left as it is.
const SETS_AND_QUEUES: &str = "
        $I set 0x2 3 640 op 0 4 op 2 7 queue 0x3 600 send 7 hello send 9 '' send 7 again >/dev/null
        $I set 0 1 600 op 0 1 queue 0x4 644 >/dev/null
        ipcs -s -q | awk '$1 ~ /^0x/ {print $1, $2, $4, $5, $6}'
        (ipcs -q -p; ipcs -s -q -t) | grep '^[0-9]'
        echo --
";

fn sets_and_queues_are_there(namespace: &Namespace, text: &str) {
    let parts: Vec<&str> = text.split("--\n").collect();
    assert_eq!(parts[0].lines().count(), 10, "{text}");
    assert_eq!(parts[0], parts[2], "{text}");
    let taken: Vec<&str> = parts[3]
        .lines()
        .filter(|line| !line.contains("--"))
        .collect();
    // Ids, then values and messages, and what the kernel has left.
    assert_eq!(
        [&taken[1..4], &taken[5..8]],
        [["4", "0", "7"], ["hello", "", "again"]],
        "{text}"
    );
    assert_eq!(taken.last(), Some(&"4"), "{text}");
    namespace.shmshim(["check"]).assert().success();
}

const TAKE: &str = "
        LD_PRELOAD=$L ipcs -s -q | awk '$1 ~ /^0x/ {print $1, $2, $4, $5, $6}'
        (LD_PRELOAD=$L ipcs -q -p; LD_PRELOAD=$L ipcs -s -q -t) | grep '^[0-9]'
        echo --
        LD_PRELOAD=$L $I set 0x2 3 640 print-value 0 print-value 1 print-value 2 \\
            queue 0x3 600 receive 0 receive 9 receive 0
        ipcs -s -q | grep -c ^0x";

#[test]
fn the_kernels_sets_and_queues_come_with_ids_keys_modes_values_and_messages() {
    let namespace = Namespace::new();
    let script = format!("{SETS_AND_QUEUES} $S import --all; echo -- {TAKE}");
    let Some(output) = in_kernel(&namespace, &script) else {
        return;
    };
    let text = text(&output);
    assert!(text.contains("imported semaphore set "), "{text}");
    let queue = ", key 0x00000003, 3 messages, 10 B\n";
    assert!(text.contains(queue), "{text}");
    sets_and_queues_are_there(&namespace, &text);
}

#[test]
fn the_kernels_sets_and_queues_are_saved_and_restored() {
    let namespace = Namespace::new();
    let script = format!(
        "{SETS_AND_QUEUES} $S save --kernel $SHMSHIM_DIR/saved; $S restore $SHMSHIM_DIR/saved; echo -- {TAKE}"
    );
    let Some(output) = in_kernel(&namespace, &script) else {
        return;
    };
    sets_and_queues_are_there(&namespace, &text(&output));
}

#[test]
fn a_set_or_queue_whose_key_or_id_is_taken_is_told() {
    let namespace = Namespace::new();
    let mut program = namespace.program(common::compile("ipc.c", "ipc", &[]));
    let made = program.args(["set", "0x2", "1", "600", "queue", "0x3", "600"]);
    assert!(made.output().unwrap().status.success());
    let script = "
        $I set 0x5 1 600 op 0 3 set 0x2 1 600 queue 0x6 600 send 1 x queue 0x3 600 >/dev/null
        $S import --all --json -s -q && exit 9 || echo status $?
        $S import 5 -s -q 2>&1 && exit 9 || echo status $?
        $S import -q 77 2>&1 && exit 9 || echo status $?
        LD_PRELOAD=$L $I set 0x5 1 600 print-value 0 queue 0x6 600 receive 0";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let refused = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(refused.contains("rm -s --key 0x2"), "{refused}");
    assert!(refused.contains("rm -q --key 0x3"), "{refused}");
    let text = text(&output);
    let (json, rest) = text.split_once("status 4").expect("status 4");
    let imported: Value = serde_json::from_str(json).unwrap();
    // The first of each was to have an index that another object has.
    assert_eq!(imported.as_array().unwrap().len(), 2, "{json}");
    for (one, kind, key) in [
        (&imported[0], "semaphores", "0x00000005"),
        (&imported[1], "queue", "0x00000006"),
    ] {
        assert_eq!((&one["kind"], &one["key"]), (&kind.into(), &key.into()));
        assert_ne!(one["kernel_id"], one["id"]);
    }
    assert_eq!(
        (&imported[0]["semaphores"], &imported[1]["messages"]),
        (&1.into(), &1.into())
    );
    assert!(
        rest.contains("status 2") && rest.contains("status 3"),
        "{rest}"
    );
    let lines: Vec<&str> = rest.lines().rev().take(3).collect();
    assert_eq!((lines[0], lines[2]), ("x", "3"), "{rest}");
    namespace.shmshim(["check"]).assert().success();
}

#[test]
fn what_may_not_be_read_is_refused_and_stays() {
    let namespace = Namespace::new();
    let script = "
        $I queue 0x3 600 send 1 0123456789 >/dev/null
        echo 4 >/proc/sys/kernel/msgmax
        $S import -q --key 0x3 2>&1 && exit 9 || echo status $?
        ipcs -q | grep -c ' 10  *1'
        $I set 0x2 1 600 >/dev/null
        cp $S /tmp/shmshim.$$
        for kind in -s -q; do
            setpriv --reuid 65534 --regid 65534 --clear-groups /tmp/shmshim.$$ import $kind --all 2>&1 || echo status $?
        done
        rm /tmp/shmshim.$$";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let text = text(&output);
    assert_eq!(
        text.matches(" may not be read by this user; ").count(),
        2,
        "{text}"
    );
    assert!(
        text.contains("raise /proc/sys/kernel/msgmax\nstatus 4\n1\n"),
        "{text}"
    );
}

#[test]
fn a_kernel_that_copies_no_message_loses_none() {
    let namespace = Namespace::new();
    let script = "
        $I queue 0x3 600 send 1 hello queue 0x4 600 >/dev/null
        $I no-copy $S import -q --all 2>&1 && exit 9 || echo status $?
        $I no-copy $S save --kernel $SHMSHIM_DIR/saved 2>&1 && exit 9 || echo status $?
        test ! -e $SHMSHIM_DIR/saved
        $I queue 0x3 600 receive 1";
    let Some(output) = in_kernel(&namespace, script) else {
        return;
    };
    let text = text(&output);
    let reason = "was built without CONFIG_CHECKPOINT_RESTORE";
    assert_eq!(text.matches(reason).count(), 2, "{text}");
    // An empty one needs no copying.
    assert!(
        text.contains(", key 0x00000004, 0 messages, 0 B\nstatus 4\n"),
        "{text}"
    );
    assert!(text.ends_with("hello\n"), "{text}");
}

#[test]
fn the_help_names_all_three_kinds() {
    let text = Namespace::new().out(["import", "--help"], 0);
    let first = text.lines().next().unwrap();
    assert_eq!(
        first,
        "Copy the kernel's segments, semaphore sets and message queues into a namespace"
    );
}
