//! What the command knows of semaphore sets and message queues.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::{Holder, Namespace, compile};
use serde_json::{Value, json};

/// tests/programs/ipc.c, compiled; its head comment lists the operations.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| compile("ipc.c", "ipc", &[]))
}

fn ipc(here: &Namespace, operations: &[&str]) -> Command {
    let mut command = here.program(program());
    command.args(operations);
    command
}

/// Runs it to its end; it must succeed. The lines that it printed.
pub fn run(here: &Namespace, operations: &[&str]) -> Vec<String> {
    let output = ipc(here, operations).output().unwrap();
    assert!(output.status.success(), "ipc {operations:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

pub fn hold(here: &Namespace, operations: &[&str]) -> Holder {
    Holder::new(ipc(here, operations))
}

/// The command's output with this status.
pub fn said(here: &Namespace, arguments: &[&str], status: i32) -> (String, String) {
    let Output {
        status: ended,
        stdout,
        stderr,
    } = here.shmshim_std(arguments).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    assert_eq!(
        ended.code(),
        Some(status),
        "{arguments:?}: {stdout}{stderr}"
    );
    (stdout, stderr)
}

/// Waits until `is_so` of what is printed: until threads sleep.
fn until(here: &Namespace, arguments: &[&str], is_so: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let shown = here.json(arguments);
        if is_so(&shown) {
            return shown;
        }
        // A bound for what hangs, not a measurement.
        assert!(begun.elapsed() < Duration::from_secs(60), "{shown}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn seconds_now() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

#[test]
fn all_three_kinds_are_listed() {
    let here = Namespace::new();
    here.make("0x1", "100");
    let ids = run(&here, &["set", "0x2", "3", "640", "op", "1", "5"]);
    let queues = run(&here, &["queue", "0x3", "600", "send", "7", "hello"]);
    let listed = here.json(&["ls"]);
    let kinds: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["kind"])
        .collect();
    assert_eq!(kinds, ["segment", "semaphores", "queue"]);
    let (set, queue) = (&listed[1], &listed[2]);
    assert_eq!(set["id"].to_string(), ids[0]);
    assert_eq!(
        (&set["key"], &set["mode"]),
        (&json!("0x00000002"), &json!("0640"))
    );
    assert_eq!(
        (&set["semaphores"], &set["sleepers"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(set["debtors"], 0);
    assert!(set["operated"].as_i64().unwrap() >= set["changed"].as_i64().unwrap());
    assert_eq!(queue["id"].to_string(), queues[0]);
    assert_eq!(
        (&queue["messages"], &queue["bytes"]),
        (&json!(1), &json!(5))
    );
    assert_eq!(queue["capacity"], 16384);
    assert_eq!(queue["received"], Value::Null);
    assert!(queue["last_sender"].as_i64().unwrap() > 0);
    // Headings only where there is more than one table.
    let (text, _) = said(&here, &["ls"], 0);
    for heading in ["segments:\n", "\nsemaphore sets:\n", "\nmessage queues:\n"] {
        assert!(text.contains(heading), "{text}");
    }
    let lines = here.words(&["ls", "-s"]);
    assert_eq!(
        lines[0][..5],
        ["ID", "KEY", "SEMAPHORES", "SLEEPERS", "DEBTORS"]
    );
    assert_eq!(
        lines[1][..5],
        [ids[0].as_str(), "0x00000002", "3", "0", "0"]
    );
    assert_eq!(lines.len(), 2);
    let lines = here.words(&["ls", "-q"]);
    assert_eq!(
        lines[1][..5],
        [queues[0].as_str(), "0x00000003", "1", "5", "0"]
    );
    assert_eq!(here.json(&["ls", "-m"]).as_array().unwrap().len(), 1);
    assert_eq!(here.json(&["ls", "-s", "-q"]).as_array().unwrap().len(), 2);
}

#[test]
fn looking_makes_nothing() {
    let here = Namespace::new();
    here.make("0x1", "100");
    for arguments in [
        &["ls"][..],
        &["ls", "-s"],
        &["who", "-q"],
        &["limits"],
        &["check"],
    ] {
        said(&here, arguments, 0);
    }
    said(&here, &["show", "-s", "0x1"], 3);
    said(&here, &["rm", "-q", "0x1"], 3);
    assert!(!here.runtime().join("ipc").exists());
}

#[test]
fn who_sleeps_and_who_owes_is_told() {
    let here = Namespace::new();
    let begun = seconds_now() - 0.2;
    let mut holder = hold(
        &here,
        &[
            "set", "0x2", "2", "600", "value", "0", "3", "undo", "0", "-2", "undo", "1", "4",
            "fork-op", "0", "-9", "hold",
        ],
    );
    let shown = until(&here, &["show", "-s", "0x2"], |shown| {
        shown["sleepers"] == 1
    });
    assert_eq!(shown["debtors"], 1);
    let (first, second) = (&shown["values"][0], &shown["values"][1]);
    assert_eq!((&first["value"], &first["owed"]), (&json!(1), &json!(2)));
    assert_eq!((&second["value"], &second["owed"]), (&json!(4), &json!(-4)));
    assert_eq!(first["waiting_for_growth"], 1);
    assert_eq!(second["waiting_for_growth"], 0);
    assert_eq!(first["last_pid"], holder.pid());
    let uses = here.json(&["who", "-s"]);
    assert_eq!(uses, shown["users"]);
    assert_eq!(
        (&uses[0]["does"], &uses[0]["adjust"]),
        (&json!("owes"), &json!(2))
    );
    assert_eq!(uses[0]["pid"], holder.pid());
    assert_eq!(uses[0]["alive"], true);
    assert_eq!(uses[2]["does"], "operates");
    assert_eq!(
        uses[2]["operations"],
        json!([{"semaphore": 0, "change": -9, "undo": false}])
    );
    let (text, _) = said(&here, &["who", "-s", "0x2"], 0);
    assert!(text.contains("owes +2 to semaphore 0"), "{text}");
    assert!(text.contains("owes -4 to semaphore 1"), "{text}");
    assert!(text.contains("sleeps for 0-9"), "{text}");
    let since = uses[2]["asleep_since"].as_f64().unwrap();
    assert!(begun <= since && since <= seconds_now(), "{since}");
    assert!(uses[0]["asleep_since"].is_null());
    let sleeper = text.lines().find(|line| line.contains("sleeps")).unwrap();
    assert!(sleeper.contains(" s  sleeps for 0-9"), "{text}");
    let (text, _) = said(&here, &["watch", "--once"], 0);
    assert!(text.contains("set: 1 4, 1 asleep for "), "{text}");
    // Killed, it still owes what it owed until the next call about the set; looking pays nothing.
    holder.kill();
    let uses = until(&here, &["who", "-s"], |uses| {
        uses.as_array()
            .unwrap()
            .iter()
            .all(|one| one["alive"] == false)
    });
    assert_eq!(uses[0]["does"], "owes");
    let file = here.runtime().join("ipc");
    let before = fs::read(&file).unwrap();
    let (text, _) = said(&here, &["who", "-s"], 0);
    assert!(text.contains("(dead)"), "{text}");
    assert!(
        fs::read(&file).unwrap() == before,
        "looking has changed the file"
    );
    said(&here, &["check"], 0);
    assert_eq!(
        run(&here, &["set", "0x2", "2", "600", "print-value", "0"])[1],
        "3"
    );
    assert_eq!(here.json(&["who", "-s"]), json!([]));
}

#[test]
fn a_queue_is_shown_with_its_messages_and_sleepers() {
    let here = Namespace::new();
    let _holder = hold(
        &here,
        &[
            "queue",
            "0x3",
            "600",
            "send",
            "7",
            "hello",
            "send",
            "9",
            "",
            "fork-receive",
            "-3",
            "hold",
        ],
    );
    let shown = until(&here, &["show", "-q", "0x3"], |shown| {
        shown["sleepers"] == 1
    });
    assert_eq!(
        shown["list"],
        json!([{"type": 7, "bytes": 5}, {"type": 9, "bytes": 0}])
    );
    assert_eq!(shown["users"][0]["does"], "receives");
    assert_eq!(
        (&shown["users"][0]["type"], &shown["users"][0]["alive"]),
        (&json!(-3), &json!(true))
    );
    let (text, _) = said(&here, &["show", "-q", "0x3"], 0);
    assert!(text.contains("bytes         5 of 16384"), "{text}");
    assert!(
        text.contains("sleeps for a message of type 3 or lower"),
        "{text}"
    );
    assert_eq!(here.json(&["who", "-q"]), shown["users"]);
    let since = shown["users"][0]["asleep_since"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&(seconds_now() - since)), "{since}");
}

#[test]
fn objects_are_made_changed_and_removed() {
    let here = Namespace::new();
    let (set, _) = said(&here, &["create", "-s", "2", "--key", "0x2"], 0);
    assert_eq!(here.json(&["ls", "-s"])[0]["id"].to_string(), set.trim());
    let (queue, _) = said(&here, &["create", "-q", "--key", "0x3", "--mode", "640"], 0);
    said(&here, &["create", "-s", "2", "--key", "0x2", "--excl"], 4);
    said(&here, &["create", "-s", "2"], 2);
    said(&here, &["create", "--key", "0x4"], 2);
    said(&here, &["create", "-q", "--size", "1", "--key", "0x4"], 2);
    said(
        &here,
        &["set", "-s", "0x2", "--value", "1=7", "--mode", "660"],
        0,
    );
    said(&here, &["set", "-q", "17", "--bytes", "1"], 3);
    said(&here, &["set", "-q", queue.trim(), "--bytes", "100"], 0);
    said(&here, &["set", "-s", "0x2", "--bytes", "100"], 2);
    said(&here, &["set", "-s", "0x2", "--value", "2=1"], 4);
    let shown = here.json(&["show", "-s", "0x2"]);
    assert_eq!(
        (&shown["mode"], &shown["values"][1]["value"]),
        (&json!("0660"), &json!(7))
    );
    let shown = here.json(&["show", "-q", "0x3"]);
    assert_eq!(
        (&shown["mode"], &shown["capacity"]),
        (&json!("0640"), &json!(100))
    );
    here.make("0x1", "4096");
    let (_, error) = said(&here, &["rm", "-s", "0x9"], 3);
    assert!(
        error.contains("no semaphore set with id or key 0x9"),
        "{error}"
    );
    said(&here, &["rm", "-s", "--namespace"], 2);
    let (text, _) = said(&here, &["rm", "--all", "-q", "--dry-run"], 0);
    let line = format!(
        "message queue {}, key 0x00000003, 0 messages\n",
        queue.trim()
    );
    assert_eq!(text, format!("would remove {line}"));
    let (text, _) = said(&here, &["rm", "-q", queue.trim()], 0);
    assert_eq!(text, format!("removed {line}"));
    let (text, _) = said(&here, &["rm", "--all", "--json"], 0);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["removed"][0]["kind"], "segment");
    assert_eq!(report["removed"][1]["kind"], "semaphores");
    assert_eq!(report["removed"][1]["semaphores"], 2);
    assert_eq!(here.json(&["ls"]), json!([]));
    said(&here, &["check"], 0);
}

#[test]
fn limits_of_all_kinds_are_set_and_shown() {
    let here = Namespace::new();
    let limits = here.json(&["limits"]);
    assert_eq!(
        (&limits["semmsl"], &limits["msgmnb"]),
        (&json!(32000), &json!(16384))
    );
    said(&here, &["limits", "semmni=1", "msgmax=10", "sem=5 6"], 0);
    let limits = here.json(&["limits"]);
    for (name, value) in [
        ("semmsl", 5),
        ("semmns", 6),
        ("semopm", 500),
        ("semmni", 1),
        ("msgmax", 10),
        ("msgmni", 32000),
    ] {
        assert_eq!(limits[name], value, "{name}");
    }
    let seen = here
        .program("cat")
        .args(["/proc/sys/kernel/sem", "/proc/sys/kernel/msgmax"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(seen.stdout).unwrap(),
        "5\t6\t500\t1\n10\n"
    );
    run(&here, &["set", "1", "5", "600"]);
    let refused = ipc(&here, &["set", "2", "1", "600"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(9));
    // All or none.
    said(&here, &["limits", "msgmni=7", "semmni=40000"], 2);
    said(&here, &["limits", "msgmni=7", "semmsl=1 2"], 2);
    assert_eq!(here.json(&["limits"])["msgmni"], 32000);
}

#[test]
fn a_private_run_reports_what_was_left() {
    let here = Namespace::new();
    let dir = here.base().to_str().unwrap();
    let start = ["--dir", dir, "run", "--private", "--fail-on-leak"];
    let private = |options: &[&str], operations: &[&str]| {
        let program = ["--", program().to_str().unwrap()];
        let words = start
            .iter()
            .chain(options)
            .chain(&program)
            .chain(operations);
        let output = here.shmshim_std(words).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let clean = [
        "set",
        "1",
        "1",
        "600",
        "remove-set",
        "queue",
        "1",
        "600",
        "remove-queue",
    ];
    assert_eq!(private(&[], &clean), (Some(0), String::new()));
    let leaky = [
        "set", "0x10", "2", "600", "queue", "0x20", "600", "send", "1", "abc",
    ];
    let (status, text) = private(&[], &leaky);
    assert_eq!(status, Some(70), "{text}");
    assert!(text.contains("left 1 semaphore set:\n"), "{text}");
    assert!(text.contains("left 1 message queue:\n"), "{text}");
    assert!(text.contains("0x00000020"), "{text}");
    let (_, text) = private(&["--leak-format", "json"], &leaky);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["sets"][0]["semaphores"], 2);
    assert_eq!(report["queues"][0]["bytes"], 3);
    let (status, _) = private(&["--limit", "semmni=0"], &leaky);
    assert_eq!(status, Some(9));
}

#[test]
fn sets_and_queues_are_watched() {
    let here = Namespace::new();
    run(
        &here,
        &[
            "set", "0x2", "2", "600", "op", "0", "4", "queue", "0x3", "600", "send", "7", "hello",
        ],
    );
    let mut command = here.shmshim_std(["watch", "--once"]);
    let output = command.env("COLUMNS", "100").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("0 segments, 0 B resident, 1 set, 1 queue, in "),
        "{text}"
    );
    assert!(text.contains("set: 4 0\n"), "{text}");
    assert!(text.contains("queue: 1 message, 5 B\n"), "{text}");
}

#[test]
fn sets_and_queues_are_saved_and_restored() {
    let here = Namespace::new();
    let set = run(&here, &["set", "0x2", "2", "640", "op", "1", "4"]);
    let queue = run(
        &here,
        &[
            "queue",
            "0x3",
            "600",
            "send",
            "7",
            "hello, message",
            "send",
            "9",
            "",
        ],
    );
    said(&here, &["limits", "semopm=9", "msgmnb=100"], 0);
    let file = here.base().join("saved.shm");
    let file = file.to_str().unwrap();
    said(&here, &["save", file], 0);
    // Where there are some already nothing is restored.
    said(&here, &["rm", "-q", "0x3"], 0);
    said(&here, &["restore", file], 4);
    let there = Namespace::new();
    said(&there, &["restore", file], 0);
    said(&there, &["check"], 0);
    let listed = there.json(&["ls"]);
    assert_eq!(listed[0], here.json(&["ls"])[0]);
    assert_eq!(listed[1]["id"].to_string(), queue[0]);
    assert_eq!(there.json(&["limits"]), here.json(&["limits"]));
    let seen = run(&there, &["set", "0x2", "2", "0", "print-value", "1"]);
    assert_eq!(seen, [set[0].as_str(), "4"]);
    let seen = run(
        &there,
        &["queue", "0x3", "0", "receive", "0", "receive", "9"],
    );
    assert_eq!(seen[1..], ["hello, message", ""]);
    // The next id is the one that the saved namespace would have given.
    let (one, other) = (&["set", "0", "1", "600"], &["set", "0", "1", "600"]);
    assert_eq!(run(&here, one), run(&there, other));
}
