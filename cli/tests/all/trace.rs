//! `shmshim trace`.

use crate::common::{Namespace, await_readable, client_path, compile, ends};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

/// A segment's life, a fork, a call that fails.
const LIFE: [&str; 11] = [
    "make", "0x162e", "5000", "600", "attach", "fork", "attach", "detach", "remove", "exit", "7",
];

fn words<'a>(options: &[&'a str], operations: &[&'a str]) -> Vec<&'a str> {
    let client = client_path();
    [&["trace"], options, &["--", client], operations].concat()
}

#[test]
fn prints_each_call_and_exits_as_the_program_does() {
    let here = Namespace::new();
    let (_, text) = here.texts(words(&[], &LIFE), 7);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains(" --- shmshim "), "{text}");
    assert!(lines[0].contains(" serves client in "), "{text}");
    assert!(
        lines[0].ends_with(", because SHMSHIM_DIR says so ---"),
        "{text}"
    );
    let made = lines
        .iter()
        .find(|line| line.contains(" shmget(0x162e, 5000, IPC_CREAT|0600) = "))
        .expect("shmget");
    // Pid, time, call, duration.
    let mut words = made.split_whitespace();
    assert!(words.next().unwrap().parse::<u32>().is_ok(), "{made}");
    assert!(words.next().unwrap().parse::<f64>().is_ok(), "{made}");
    let duration = made.rsplit_once(" <").unwrap().1.strip_suffix('>').unwrap();
    assert!(duration.parse::<f64>().is_ok(), "{made}");
    for part in [
        " --- has made the namespace ---",
        " --- forks with 1 attached ---",
        " --- is a child of ",
        " shmctl(",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn prints_to_a_file() {
    let here = Namespace::new();
    let file = here.base().join("calls.txt");
    let path = file.to_str().unwrap().to_owned();
    std::fs::write(&file, "what was there before\n").unwrap();
    let (_, printed) = here.texts(words(&["-o", &path], &["open", "0x99", "0"]), 9);
    assert!(!printed.contains("shmget("), "{printed}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("what was there before"), "{text}");
    assert!(
        text.contains(" = -1 ENOENT (key 0x00000099 has no segment and IPC_CREAT was not asked) <"),
        "{text}"
    );
}

#[test]
fn counts_calls_and_errors() {
    let here = Namespace::new();
    let (_, text) = here.texts(
        words(
            &["--summary"],
            &[
                "make", "0", "4096", "600", "attach", "detach", "attach", "detach", "remove",
                "open", "0x99", "0",
            ],
        ),
        9,
    );
    let table: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("% time"))
        .collect();
    assert_eq!(
        table[0],
        "% time     seconds  usecs/call     calls    errors call"
    );
    let rows: BTreeMap<&str, Vec<&str>> = table
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            (*words.last().unwrap(), words)
        })
        .collect();
    // Share, seconds, each, calls, perhaps errors, name.
    assert_eq!(rows["shmget"][3..], ["2", "1", "shmget"]);
    assert_eq!(rows["shmat"][3..], ["2", "shmat"]);
    assert_eq!(rows["shmdt"][3..], ["2", "shmdt"]);
    assert_eq!(rows["shmctl(IPC_RMID)"][3..], ["1", "shmctl(IPC_RMID)"]);
    assert_eq!(rows["total"][2..], ["7", "1", "total"]);
    assert!(rows["total"][0].starts_with("100") || rows["total"][0].starts_with("0"));
}

#[test]
fn draws_attaches_and_calls() {
    let here = Namespace::new();
    let file = here.base().join("timeline.json");
    let path = file.to_str().unwrap().to_owned();
    here.shmshim(words(&["--chrome", &path], &LIFE))
        .assert()
        .code(7);
    let timeline: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let events = timeline["traceEvents"].as_array().unwrap();
    let of = |phase: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["ph"] == phase).collect()
    };
    assert_eq!(of("M")[0]["args"]["name"], "client");
    let calls: Vec<&str> = of("X")
        .iter()
        .map(|call| call["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        calls,
        ["shmget", "shmat", "shmat", "shmdt", "shmctl(IPC_RMID)"]
    );
    // The parent's attach, the child's by its fork, the child's own: each begins and ends once.
    let (begun, ended) = (of("b"), of("e"));
    assert_eq!((begun.len(), ended.len()), (3, 3));
    for bar in &begun {
        let end = ended
            .iter()
            .find(|end| end["id"] == bar["id"])
            .expect("its end");
        assert_eq!(end["pid"], bar["pid"]);
        assert!(end["ts"].as_f64() >= bar["ts"].as_f64());
    }
    let pids: std::collections::BTreeSet<i64> = begun
        .iter()
        .map(|bar| bar["pid"].as_i64().unwrap())
        .collect();
    assert_eq!(pids.len(), 2);
    for event in events {
        assert!(event["pid"].is_i64() && event["name"].is_string());
        assert!(event["ph"] == "M" || event["ts"].as_f64().unwrap() >= 0.0);
    }
}

#[test]
fn a_call_that_sleeps_is_told_at_once_and_drawn() {
    let here = Namespace::new();
    let program = compile("ipc.c", "ipc", &[]);
    let file = here.base().join("timeline.json");
    let (path, program) = (file.to_str().unwrap(), program.to_str().unwrap());
    let operations = ["set", "0x162e", "1", "600", "op", "0", "-1"];
    let options = ["trace", "--summary", "--chrome", path, "--", program];
    let traced = here
        .shmshim_std(options.iter().chain(&operations))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until it sleeps.
    loop {
        let output = here.shmshim_std(["ls", "-s", "--json"]).output().unwrap();
        let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
        if listed[0]["sleepers"] == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    here.out(["set", "-s", "0x162e", "--value", "0=1"], 0);
    let output = traced.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // It is one call.
    let table = String::from_utf8(output.stderr).unwrap();
    let row = table.lines().find(|line| line.ends_with(" semop")).unwrap();
    assert_eq!(row.split_whitespace().nth(3), Some("1"), "{table}");
    let timeline: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let events = timeline["traceEvents"].as_array().unwrap();
    let mark = events.iter().find(|event| event["name"] == "semop sleeps");
    let mark = mark.expect("a mark for the sleep");
    let why = mark["args"]["text"].as_str().unwrap();
    let expected = " is 0 and 1 is to be taken; nobody has changed it yet";
    assert!(why.ends_with(expected), "{why}");
    let call = events
        .iter()
        .find(|event| event["name"] == "semop")
        .unwrap();
    assert!(call["args"]["slept"].as_f64().unwrap() > 0.0, "{call}");
    assert!(call["ts"].as_f64() <= mark["ts"].as_f64(), "{call} {mark}");
}

/// A fifo in the namespace's base.
fn fifo(here: &Namespace) -> PathBuf {
    let path = here.base().join("fifo");
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    path
}

#[test]
fn a_fifo_gets_all_of_it() {
    let here = Namespace::new();
    let fifo = fifo(&here);
    let path = fifo.to_str().unwrap();
    for (options, expected) in [
        (&["--chrome", path][..], "\"traceEvents\""),
        (&["--summary", "-o", path], "shmctl(IPC_RMID)"),
    ] {
        let mut traced = here.shmshim_std(words(options, &LIFE)).spawn().unwrap();
        // To its first end.
        let text = std::fs::read_to_string(&fifo).unwrap();
        assert_eq!(ends(&mut traced).code(), Some(7));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_signal_ends_it_when_nobody_reads() {
    let here = Namespace::new();
    let path = fifo(&here);
    let mut options = File::options();
    // Without a wait for a writer.
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let reader = options.open(&path).unwrap();
    fcntl(&reader, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // More of a timeline than the fifo holds.
    let many = ["make", "0", "1", "600"].repeat(100);
    let options = ["--chrome", path.to_str().unwrap()];
    let mut traced = here
        .shmshim_std(words(&options, &many))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    await_readable(&reader);
    kill(Pid::from_raw(traced.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(ends(&mut traced).signal(), Some(15));
}

#[test]
fn leaves_nothing_behind_a_program_that_was_killed() {
    let here = Namespace::new();
    let aside = tempfile::tempdir().unwrap();
    for number in ["9", "15", "11", "35", "64"] {
        for options in [&["--summary"][..], &["--chrome", "/dev/null"]] {
            let output = here
                .shmshim_std(words(options, &["make", "0", "1", "600", "kill", number]))
                .env("TMPDIR", aside.path())
                .output()
                .unwrap();
            assert_eq!(output.status.signal().unwrap().to_string(), number);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(
                said.contains(" shmget\n"),
                options == ["--summary"],
                "{said}"
            );
            assert_eq!(std::fs::read_dir(aside.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn no_line_of_many_writers_is_torn() {
    let here = Namespace::new();
    let id = here.make("0x162e", "4096");
    let file = here.base().join("calls");
    let words = ["open", "0x162e", "0", "attach", "detach"];
    let many: Vec<&str> = words
        .iter()
        .copied()
        .cycle()
        .take(words.len() * 40)
        .collect();
    let mut writers: Vec<_> = (0..32)
        .map(|_| {
            here.client(&many)
                .env("SHMSHIM_TRACE", &file)
                .env("SHMSHIM_TRACE_FORMAT", "json")
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for writer in &mut writers {
        assert!(writer.wait().unwrap().success());
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let mut calls: BTreeMap<i64, u32> = BTreeMap::new();
    for line in text.lines() {
        let object: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if object["type"] == "call" {
            *calls.entry(object["pid"].as_i64().unwrap()).or_default() += 1;
            assert!(object["shmid"].is_null() || object["shmid"] == id);
        }
    }
    assert_eq!(calls.len(), 32);
    assert!(calls.values().all(|count| *count == 120), "{calls:?}");
}

#[test]
fn says_what_cannot_be_written() {
    let here = Namespace::new();
    let bad = words(&["-o", "/no/such/directory/calls"], &["exit", "0"]);
    here.shmshim(bad)
        .assert()
        .code(125)
        .stderr("shmshim: /no/such/directory/calls cannot be written: No such file or directory\n");
    here.shmshim(["trace", "/no/such/program"])
        .assert()
        .code(127);
}
