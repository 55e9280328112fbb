//! `shmshim import`: in an IPC namespace of the kernel's of its own, against ipcs.

use std::process::{Command, Output};

use crate::common::{self, Namespace};
use serde_json::Value;

/// Runs a script in an IPC namespace in which there is nothing: `$S` is the command, `$C` the client, not under the library,
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
