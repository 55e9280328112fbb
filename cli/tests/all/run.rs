//! `shmshim run`: how it starts a program.

use std::path::Path;

use crate::common::{self, Namespace, client_path, copy, library};

#[test]
fn serves_a_program() {
    let here = Namespace::new();
    here.shmshim([
        "run",
        "--",
        client_path(),
        "make",
        "0x162e",
        "4096",
        "600",
        "attach",
        "write",
        "by one",
    ])
    .assert()
    .success();
    let printed = here.run(&["open", "0x162e", "0", "attach", "read"]);
    assert_eq!(printed.lines().last(), Some("by one"));
}

#[test]
fn uses_the_namespace_of_its_options() {
    let (here, there) = (Namespace::new(), Namespace::new());
    let dir = there.base().to_str().unwrap();
    here.shmshim(["--dir", dir, "run", client_path(), "make", "7", "1", "600"])
        .assert()
        .success();
    there.run(&["open", "7", "0"]);
    assert_eq!(std::fs::read_dir(here.base()).unwrap().count(), 0);
}

#[test]
fn exits_as_the_program_does() {
    let here = Namespace::new();
    here.shmshim(["run", client_path(), "exit", "42"])
        .assert()
        .code(42);
    here.shmshim(["run", "--private", client_path(), "exit", "42"])
        .assert()
        .code(42);
}

#[test]
fn ends_by_the_signal_that_the_program_ends_by() {
    use std::os::unix::process::ExitStatusExt;
    let here = Namespace::new();
    for options in [&["run"][..], &["run", "--private"]] {
        for signal in ["15", "9", "11"] {
            let operations = [client_path(), "kill", signal];
            let words = options.iter().chain(&operations);
            let status = here.shmshim_std(words).status().unwrap();
            assert_eq!(status.signal().unwrap().to_string(), signal, "{options:?}");
        }
    }
}

#[test]
fn joins_an_existing_preload() {
    let here = Namespace::new();
    let output = here
        .shmshim(["run", "sh", "-c", "echo $LD_PRELOAD"])
        .env("LD_PRELOAD", "libc.so.6:libm.so.6")
        .output()
        .unwrap();
    let expected = format!("libc.so.6 libm.so.6 {}\n", library().display());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn follows_scripts_to_their_interpreter() {
    let here = Namespace::new();
    let body = format!("exec {} make 9 1 600\n", client_path());
    for line in [
        "#!/bin/sh\n",
        "#! /usr/bin/env sh\n",
        "#!/usr/bin/env -S sh -e\n",
        "",
    ] {
        let path = here.script("script", &format!("{line}{body}"));
        here.shmshim(["run".as_ref(), path.as_os_str()])
            .assert()
            .success();
        here.run(&["open", "9", "0", "remove"]);
    }
}

#[test]
fn finds_the_library_of_an_installation() {
    let here = Namespace::new();
    for lib in ["lib", "lib64", "lib/x86_64-linux-gnu"] {
        let prefix = here.base().join(lib.replace('/', "-"));
        std::fs::create_dir_all(prefix.join("bin")).unwrap();
        std::fs::create_dir_all(prefix.join(lib)).unwrap();
        copy(env!("CARGO_BIN_EXE_shmshim"), prefix.join("bin/shmshim"));
        let installed = prefix.join(lib).join("libshmshim.so");
        copy(library(), &installed);
        let output = here
            .shmshim_at(
                &prefix.join("bin/shmshim"),
                ["run", "sh", "-c", "echo $LD_PRELOAD"],
            )
            .env_remove("SHMSHIM_LIB")
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            printed.trim_end(),
            installed.to_str().unwrap(),
            "{:?}",
            String::from_utf8(output.stderr)
        );
    }
}

#[test]
fn puts_a_sanitizers_runtime_first() {
    let here = Namespace::new();
    let program = common::compile("client.c", "client-asan", &["-fsanitize=address"]);
    let output = here
        .shmshim_std([
            "run".as_ref(),
            program.as_os_str(),
            "make".as_ref(),
            "12".as_ref(),
            "1".as_ref(),
            "600".as_ref(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    here.run(&["open", "12", "0"]);
}

#[test]
fn traces() {
    let here = Namespace::new();
    let file = here.base().join("calls");
    let option = format!("--trace={}", file.display());
    here.shmshim(["run", &option, client_path(), "make", "5", "1", "600"])
        .assert()
        .success();
    let calls = std::fs::read_to_string(&file).unwrap();
    assert!(
        calls.contains("shmget(0x5, 1, IPC_CREAT|0600) = "),
        "{calls}"
    );
    let output = here
        .shmshim_std(["run", "--trace", client_path(), "open", "5", "0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("shmget(0x5, 0, 000) = "), "{said}");
}

#[test]
fn sets_limits_first() {
    let here = Namespace::new();
    let output = here
        .shmshim_std([
            "run",
            "--limit",
            "shmmni=1",
            "--limit",
            "shmmax=4096",
            client_path(),
            "make",
            "0",
            "4096",
            "600",
            "make",
            "0",
            "1",
            "600",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("No space left on device"), "{said}");
    here.shmshim([
        "run",
        "--limit",
        "shmmax=4096",
        client_path(),
        "make",
        "0",
        "4097",
        "600",
    ])
    .assert()
    .code(9)
    .stderr("client: shmget: Invalid argument\n");
    for (limit, said) in [
        ("shmmax", "NAME=VALUE"),
        (
            "semmin=1",
            "the names are shmmax, shmall, shmmni, shm_rmid_forced, semmsl",
        ),
    ] {
        let (_, text) = here.texts(["run", "--limit", limit, "true"], 125);
        assert!(text.contains(said), "{text}");
    }
    let (_, text) = here.texts(["run", "--limit", "shmmni=-1", "true"], 125);
    assert!(
        text.starts_with("shmshim: shmmni cannot be set to -1: "),
        "{text}"
    );
}

#[test]
fn works_behind_other_commands() {
    let here = Namespace::new();
    let client = client_path();
    let run = ["run", client, "make", "13", "1", "600"];
    let mut wrappers: Vec<&[&str]> = vec![
        &["timeout", "100"],
        &["nohup"],
        &["nice"],
        &["env", "-i"],
        &["setsid", "-w"],
    ];
    if common::is_root() && Path::new("/usr/bin/sudo").exists() {
        wrappers.push(&["sudo", "--preserve-env"]);
    }
    for wrapper in wrappers {
        here.shmshim_behind(wrapper, &run);
        here.run(&["open", "13", "0", "remove"]);
    }
    let output = here
        .behind(&["xargs", "-n", "1"], &["run", client, "say"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            use std::io::Write;
            child.stdin.take().unwrap().write_all(b"one two\n")?;
            child.wait_with_output()
        })
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "one\ntwo\n");
    // A timeout ends the program.
    let status = here
        .behind(&["timeout", "1"], &["run", client, "pause"])
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(124));
}

#[test]
fn has_the_library_look_for_bugs() {
    let here = Namespace::new();
    let output = here
        .shmshim_std([
            "run",
            "--fail",
            "shmget:ENOSPC:2",
            client_path(),
            "make",
            "5",
            "1",
            "600",
            "make",
            "6",
            "1",
            "600",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), &*said),
        (Some(9), "client: shmget: No space left on device\n")
    );
    let file = here.base().join("report");
    let option = format!("--report={}", file.display());
    here.shmshim([
        "run",
        &option,
        client_path(),
        "make",
        "7",
        "1",
        "600",
        "attach",
    ])
    .assert()
    .success();
    let report = std::fs::read_to_string(&file).unwrap();
    assert!(report.contains("0x00000007"), "{report}");
    // One page is attached, and the page behind it is not there.
    let output = here
        .shmshim_std([
            "run",
            "--guard",
            client_path(),
            "make",
            "8",
            "4096",
            "600",
            "attach",
            "overrun",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("0x00000008"), "{said}");
}

/// A shell's command line, with the command and the client as `$SHMSHIM` and `$CLIENT`. Its standard output and exit status.
fn shell(here: &Namespace, line: &str) -> (String, i32) {
    let mut command = std::process::Command::new("sh");
    here.surround(&mut command);
    let output = command
        .args(["-c", line])
        .env("SHMSHIM", env!("CARGO_BIN_EXE_shmshim"))
        .env("CLIENT", client_path())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (text, output.status.code().unwrap())
}

#[test]
fn closed_descriptors_stay_closed() {
    let here = Namespace::new();
    for run in [
        "run",
        "run --private",
        "trace --summary",
        "trace -o /dev/null",
    ] {
        for (closed, fd) in [("<&-", 0), (">&-", 1), ("2>&-", 2)] {
            let other = if fd == 1 { 2 } else { 1 };
            let inner = format!("[ -e /proc/self/fd/{fd} ] || echo it is closed >&{other}");
            // What `trace` says itself goes elsewhere.
            let whole = format!("exec 3>&1; $SHMSHIM {run} sh -c '{inner}' {other}>&3 {closed}");
            let (text, status) = shell(&here, &whole);
            assert!(text.contains("it is closed\n"), "{whole}: {text}");
            assert_eq!(status, 0, "{whole}");
            let open = format!("$SHMSHIM {run} sh -c '{inner}' </dev/null 2>&1");
            assert!(!shell(&here, &open).0.contains("it is closed"), "{open}");
        }
    }
    assert_eq!(shell(&here, "$SHMSHIM run /bin/echo x >&-").1, 1);
}

#[test]
fn a_closed_standard_output_is_an_error() {
    let here = Namespace::new();
    here.run(&["make", "7", "4096", "600"]);
    for line in [
        "dump 0x7",
        "dump --raw 0x7",
        "ls",
        "ls --json",
        "show 0x7",
        "save -",
    ] {
        let (said, status) = shell(&here, &format!("$SHMSHIM {line} 2>&1 >&-"));
        assert_eq!(
            said, "shmshim: standard output cannot be written: it is closed\n",
            "{line}"
        );
        assert_eq!(status, 4, "{line}");
    }
    let (said, status) = shell(&here, "$SHMSHIM save - 3>&1 2>&3 >&-");
    assert_eq!(
        (said.as_str(), status),
        (
            "shmshim: standard output cannot be written: it is closed\n",
            4
        )
    );
    // What prints nothing needs none.
    assert_eq!(shell(&here, "$SHMSHIM set 0x7 --mode 640 >&-").1, 0);
    assert_eq!(shell(&here, "$SHMSHIM load 0x7 - <&- 2>/dev/null").1, 4);
}

#[test]
fn a_static_program_is_started_with_the_same() {
    let here = Namespace::new();
    let program = common::compile("started.c", "started-static", &["-static"]);
    let ran = |run: &str| shell(&here, &format!("$SHMSHIM {run} {}", program.display()));
    let (_, status) = ran("run --");
    // A sandbox may let nobody supervise.
    if status == 125 || status == 126 {
        println!("skipped: static programs cannot be served here");
        return;
    }
    assert_eq!(status, 0);
    for (closed, expected) in [("<&-", 1), (">&-", 2), ("2>&-", 4), (">&- 2>&-", 6)] {
        let line = format!("$SHMSHIM run -- {} {closed}", program.display());
        assert_eq!(shell(&here, &line).1, expected, "{closed}");
    }
}
