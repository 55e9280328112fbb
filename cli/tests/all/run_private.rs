//! `shmshim run --private`: the namespace of one run, what is said about it, and the parent that waits for the program.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use crate::common::{Namespace, await_readable, client_path, ends};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use shmshim_core::os::signal;

/// Runs the client in a private namespace; the directory for it is that of `here`.
fn private(here: &Namespace, options: &[&str], operations: &[&str]) -> Output {
    let dir = here.base().to_str().unwrap();
    let start = ["--dir", dir, "run", "--private"];
    let program = ["--", client_path()];
    let words = start
        .iter()
        .chain(options)
        .chain(&program)
        .chain(operations);
    here.shmshim_std(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn entries(here: &Namespace) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(here.base()).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn leaves_nothing_and_says_nothing_where_nothing_is_left() {
    let here = Namespace::new();
    let clean = ["make", "7", "4096", "600", "attach", "detach", "remove"];
    let output = private(&here, &["--fail-on-leak"], &clean);
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(0), String::new())
    );
    assert!(entries(&here).is_empty());
    // Nor does a program that uses no shared memory.
    let output = private(&here, &["--fail-on-leak"], &["exit", "0"]);
    assert_eq!(
        (output.status.code(), said(&output)),
        (Some(0), String::new())
    );
    assert!(entries(&here).is_empty());
}

#[test]
fn keeps_runs_apart() {
    let here = Namespace::new();
    here.run(&["make", "7", "1", "600"]);
    let output = private(&here, &[], &["open", "7", "0"]);
    assert_eq!(output.status.code(), Some(9), "{}", said(&output));
}

#[test]
fn reports_a_leak() {
    let here = Namespace::new();
    let leaky = ["make", "0x162e", "6144", "600", "make", "0", "1", "600"];
    let output = private(&here, &[], &leaky);
    assert_eq!(output.status.code(), Some(0));
    let text = said(&output);
    let lines: Vec<&str> = text.lines().collect();
    let ids: Vec<&str> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .collect();
    assert_eq!(
        lines[0],
        format!("shmshim: {} left 2 segments:", client_path())
    );
    let words =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    assert_eq!(
        words(lines[1]).join(" "),
        "ID KEY SIZE MADE BY NATTCH ATTACHED BY"
    );
    let first = words(lines[2]);
    assert_eq!(&first[..4], [ids[0], "0x0000162e", "6", "KiB"]);
    assert!(text.contains(" (client, ended) "), "{text}");
    assert_eq!(&words(lines[3])[..4], [ids[1], "0x00000000", "1", "B"]);
    assert!(entries(&here).is_empty());
}

#[test]
fn a_leak_becomes_an_exit_status() {
    let here = Namespace::new();
    let leaky = ["make", "7", "1", "600"];
    let output = private(&here, &["--fail-on-leak"], &leaky);
    assert_eq!(output.status.code(), Some(70));
    // What the program itself says counts for more.
    let failing = ["make", "7", "1", "600", "exit", "3"];
    let output = private(&here, &["--fail-on-leak"], &failing);
    assert_eq!(output.status.code(), Some(3));
    assert!(said(&output).contains("left 1 segment:"));
}

#[test]
fn reports_in_json() {
    let here = Namespace::new();
    let leaky = ["make", "0x162e", "4096", "600"];
    let output = private(&here, &["--leak-format", "json"], &leaky);
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    let leak = &report["leaks"][0];
    let id: i32 = std::str::from_utf8(&output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(leak["id"], id);
    assert_eq!(leak["key"], "0x0000162e");
    assert_eq!(leak["bytes"], 4096);
    assert_eq!(leak["nattch"], 0);
    assert!(leak["made_by"]["pid"].as_i64().unwrap() > 0);
    assert_eq!(leak["made_by"]["command"], "client");
    assert_eq!(leak["made_by"]["has_ended"], true);
    assert!(leak["made"].as_i64().unwrap() > 0);
    assert_eq!(report["processes"].as_array().unwrap().len(), 0);
    let output = private(&here, &["--leak-format", "json"], &["exit", "0"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(report["leaks"].as_array().unwrap().len(), 0);
}

#[test]
fn keeps_the_namespace_if_told_to() {
    let here = Namespace::new();
    let output = private(&here, &["--keep"], &["make", "7", "1", "600"]);
    assert_eq!(output.status.code(), Some(0));
    let kept = entries(&here).pop().unwrap();
    assert!(said(&output).contains(&format!("shmshim --dir {} ls", kept.display())));
    let mut again = here.client(&["open", "7", "0"]);
    again.env("SHMSHIM_DIR", &kept);
    assert!(again.output().unwrap().status.success());
}

#[test]
fn names_the_processes_that_stay_and_waits_for_them() {
    let here = Namespace::new();
    // A daemon that lives until somebody writes into a fifo.
    let fifo = here.base().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let program = format!(
        "{0} make 7 1 600 attach say held daemon await {1} & wait",
        client_path(),
        fifo.display()
    );
    let dir = here.base().to_str().unwrap();
    let run = |options: &[&str]| {
        let start = ["--dir", dir, "run", "--private"];
        let program = ["sh", "-c", &program];
        let mut command = here.shmshim_std(start.iter().chain(options).chain(&program));
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        command
    };
    let release = || std::fs::write(&fifo, "go").unwrap();

    let output = run(&[]).stdout(Stdio::null()).output().unwrap();
    assert!(output.status.success());
    let text = said(&output);
    assert!(
        text.contains("left processes that use its namespace: "),
        "{text}"
    );
    assert!(text.contains("client make 7 1 600 attach"), "{text}");
    release();

    let mut waiting = run(&["--wait"]).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.contains("waiting for processes that the program left: "),
        "{first}"
    );
    release();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(rest[0].ends_with("left 1 segment:"), "{rest:?}");
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert!(waiting.wait().unwrap().success());

    // A signal ends the waiting, and the namespace goes.
    let mut waiting = run(&["--wait"]).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    kill(Pid::from_raw(waiting.id() as i32), Signal::SIGTERM).unwrap();
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(
        rest.last().unwrap().contains("client make 7 1 600 attach"),
        "{rest:?}"
    );
    assert_eq!(waiting.wait().unwrap().signal(), Some(15));
    release();
    assert_eq!(entries(&here), std::slice::from_ref(&fifo));
}

#[test]
fn cleans_up_behind_a_program_that_was_killed() {
    let here = Namespace::new();
    for signal in ["2", "15", "9", "35", "64"] {
        let killed = ["make", "7", "1", "600", "attach", "kill", signal];
        let output = private(&here, &[], &killed);
        assert_eq!(output.status.signal().unwrap().to_string(), signal);
        assert!(
            said(&output).contains("left 1 segment:"),
            "{}",
            said(&output)
        );
        assert!(entries(&here).is_empty());
    }
}

#[test]
fn the_next_run_cleans_up_behind_one_that_was_killed_itself() {
    let here = Namespace::new();
    let dir = here.base().to_str().unwrap();
    let fifo = here.base().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let program = ["make", "7", "1", "600", "attach", "say", "up", "await"];
    let start = ["--dir", dir, "run", "--private", client_path()];
    let mut running = here
        .shmshim_std(start.iter().chain(&program))
        .arg(&fifo)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    while lines.next().unwrap().unwrap() != "up" {}
    running.kill().unwrap();
    running.wait().unwrap();
    // As long as the program lives, its namespace is left alone.
    private(&here, &[], &["exit", "0"]);
    assert_eq!(entries(&here).len(), 2);
    std::fs::write(&fifo, "go").unwrap();
    assert!(lines.next().is_none());
    while entries(&here).len() == 2 {
        private(&here, &[], &["exit", "0"]);
    }
    assert_eq!(entries(&here), [fifo]);
}

#[test]
fn passes_signals_on() {
    let here = Namespace::new();
    let dir = here.base().to_str().unwrap();
    let of_real_time = [libc::SIGRTMIN(), libc::SIGRTMIN() + 1, libc::SIGRTMAX()];
    let others = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGIO,
        libc::SIGPIPE,
        libc::SIGPROF,
        libc::SIGVTALRM,
        libc::SIGPWR,
    ];
    for number in others.into_iter().chain(of_real_time) {
        let mut running = here
            .shmshim_std(["--dir", dir, "run", "--private", client_path(), "pause"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        signal::send(running.id() as i32, number).unwrap();
        assert_eq!(running.wait().unwrap().signal(), Some(number));
        assert!(entries(&here).is_empty());
    }
}

#[test]
fn a_signal_ends_it_when_nobody_reads_its_report() {
    let here = Namespace::new();
    let dir = here.base().to_str().unwrap();
    let (read, write) = nix::unistd::pipe().unwrap();
    fcntl(&read, FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
    // More lines than the pipe holds.
    let leaky = ["make", "0", "1", "600"].repeat(100);
    let mut running = here
        .shmshim_std(["--dir", dir, "run", "--private", client_path()])
        .args(leaky)
        .stdout(Stdio::null())
        .stderr(write)
        .spawn()
        .unwrap();
    await_readable(&read);
    kill(Pid::from_raw(running.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(ends(&mut running).signal(), Some(15));
    assert!(entries(&here).is_empty());
}

#[test]
fn finds_its_place_in_the_environment_as_well() {
    let here = Namespace::new();
    for (scope, mode) in [
        ("user", "700"),
        ("user,session", "700"),
        ("system", "755"),
        ("system,session", "755"),
    ] {
        let told = "echo \"$SHMSHIM_DIR\"; stat -c %a \"$SHMSHIM_DIR\"";
        let output = here
            .shmshim_std(["run", "--private", "sh", "-c", told])
            .env("SHMSHIM_SCOPE", scope)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (directory, rest) = text.split_once('\n').unwrap();
        assert!(PathBuf::from(directory).starts_with(here.base()), "{text}");
        assert_eq!(rest.trim(), mode, "{scope}");
    }
    here.shmshim(["run", "--private", "true"])
        .env("SHMSHIM_DIR", "/no/such/directory")
        .assert()
        .code(125);
}

#[test]
fn leaves_ignored_signals_ignored() {
    let here = Namespace::new();
    let dir = here.base().to_str().unwrap();
    let shell = "trap '' HUP INT; exec \"$@\"";
    let mut command = std::process::Command::new("sh");
    let ran = here.shmshim_std(["--dir", dir, "run", "--private", client_path()]);
    command
        .args(["-c", shell, "sh"])
        .arg(ran.get_program())
        .args(ran.get_args());
    here.surround(&mut command);
    let status = command
        .args(["kill", "1", "kill", "2", "exit", "5"])
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(5));
}
