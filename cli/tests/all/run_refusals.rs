//! `shmshim run`: what cannot be run or not be served, and what is said then.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::common::{self, Namespace, copy, library};

#[test]
fn says_why_a_program_cannot_be_run() {
    let here = Namespace::new();
    let here_path = here.base().to_str().unwrap();
    let closed = here.script("closed", "#!/bin/sh\n");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o644)).unwrap();
    let closed = closed.to_str().unwrap();
    let lost = here.script("lost", "#!/no/such/shell\n");
    let lost = lost.to_str().unwrap();
    for (program, status, said) in [
        (
            "/no/such/program",
            127,
            "there is no program /no/such/program".to_owned(),
        ),
        (
            "no-such-program",
            127,
            "there is no program no-such-program in PATH; give its path if it lies elsewhere"
                .to_owned(),
        ),
        (
            here_path,
            126,
            format!("{here_path} cannot be run: it is a directory"),
        ),
        (
            closed,
            126,
            format!(
                "{closed} cannot be run: its mode, or the file system, does not let this user execute it"
            ),
        ),
        (
            lost,
            127,
            format!("the script {lost} asks for /no/such/shell, which is not there"),
        ),
    ] {
        here.shmshim(["run", program])
            .assert()
            .code(status)
            .stderr(format!("shmshim: {said}\n"));
    }
    here.shmshim(["run"]).assert().code(125);
    here.shmshim(["run", "--no-such-option", "true"])
        .assert()
        .code(125);
}

#[test]
fn refuses_an_environment_that_is_cleaned_on_the_way() {
    let here = Namespace::new();
    for options in [&["-i"][..], &["-u", "LD_PRELOAD"], &["LD_PRELOAD="]] {
        let words = ["run", "env"].iter().chain(options).chain(&["true"]);
        let (_, said) = here.texts(words, 126);
        assert!(
            said.contains("takes LD_PRELOAD out of the environment"),
            "{said}"
        );
    }
    let path = here.script("script", "#!/usr/bin/env -iS sh\n");
    here.shmshim(["run".as_ref(), path.as_os_str()])
        .assert()
        .code(126);
    // Behind it, it is served.
    here.shmshim_behind(&["env", "-i", "PATH=/bin:/usr/bin"], &["run", "true"]);
}

#[test]
fn refuses_what_runs_with_more_rights() {
    if !common::is_root() {
        return;
    }
    let here = Namespace::new();
    std::fs::set_permissions(here.base(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = here.base().join("program");
    for (mode, said) in [(0o4755, "set-user-ID nobody"), (0o2755, "set-group-ID")] {
        let _ = std::fs::remove_file(&program);
        copy("/bin/true", &program);
        let (user, group) = (
            nix::unistd::Uid::from_raw(65534),
            nix::unistd::Gid::from_raw(65534),
        );
        nix::unistd::chown(&program, Some(user), Some(group)).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
        let (_, text) = here.texts(["run".as_ref(), program.as_os_str()], 126);
        assert!(text.contains(said), "{text}");
        // With a warning it goes on.
        let allowed = here
            .shmshim([
                "run".as_ref(),
                "--allow-kernel".as_ref(),
                program.as_os_str(),
            ])
            .assert()
            .success();
        let text = String::from_utf8(allowed.get_output().stderr.clone()).unwrap();
        assert!(text.contains("the kernel serves this program"), "{text}");
    }
}

#[test]
fn serves_a_static_program_by_the_supervisor_or_refuses_it() {
    let here = Namespace::new();
    let built = std::process::Command::new("cc")
        .args(["-static", "-o"])
        .arg(here.base().join("static"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/client.c"))
        .status();
    assert!(built.unwrap().success());
    let program = here.base().join("static");
    let words = ["make", "11", "1", "600"].map(std::ffi::OsStr::new);
    let run = ["run".as_ref(), program.as_os_str()];
    here.shmshim(run.iter().chain(&words)).assert().success();
    here.run(&["open", "11", "0"]);

    // A copy of the command that has no supervisor beside it.
    let alone = here.base().join("bin");
    std::fs::create_dir(&alone).unwrap();
    copy(env!("CARGO_BIN_EXE_shmshim"), alone.join("shmshim"));
    let refused = here
        .shmshim_at(&alone.join("shmshim"), run)
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(126));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("is statically linked"), "{said}");
}

#[test]
fn refuses_when_there_is_no_library() {
    let here = Namespace::new();
    let alone = here.base().join("bin");
    std::fs::create_dir(&alone).unwrap();
    copy(env!("CARGO_BIN_EXE_shmshim"), alone.join("shmshim"));
    let output = here
        .shmshim_at(&alone.join("shmshim"), ["run", "true"])
        .env("SHMSHIM_LIB", "/no/such/library.so")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // A machine on which the library is installed serves all the same.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(126));
        assert!(
            said.contains("there is no library /no/such/library.so"),
            "{said}"
        );
    }
}

#[test]
fn refuses_a_path_that_the_loader_cannot_be_told() {
    let here = Namespace::new();
    let odd = here.base().join("a library.so");
    copy(library(), &odd);
    let output = here
        .shmshim_std(["run", "true"])
        .env("SHMSHIM_LIB", &odd)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(126));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("without spaces and colons"), "{said}");
}
