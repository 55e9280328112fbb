//! `shmshim run`: what cannot be run or not be served, and what is said then.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

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
        .arg(common::client_source())
        .status();
    assert!(built.unwrap().success());
    let program = here.base().join("static");
    let words = ["make", "11", "1", "600"].map(std::ffi::OsStr::new);
    let run = ["run".as_ref(), program.as_os_str()];
    here.shmshim(run.iter().chain(&words)).assert().success();
    here.run(&["open", "11", "0"]);
    let behind = ["run", "nohup", "timeout", "60"].map(std::ffi::OsStr::new);
    let words = behind.iter().copied().chain([program.as_os_str()]);
    let words = words.chain(["make", "12", "1", "600"].map(std::ffi::OsStr::new));
    here.shmshim(words).assert().success();
    here.run(&["open", "12", "0"]);

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

/// The client for another kind of programs, where there is a compiler for it.
fn client_by(here: &Namespace, compiler: &str, flags: &[&str]) -> Option<PathBuf> {
    let targets = std::env::var_os("SHMSHIM_TARGETS").map(PathBuf::from);
    let targets = targets.unwrap_or_else(|| "/opt/shmshim-targets".into());
    let program = here.base().join(compiler).with_extension(flags.join(""));
    let built = std::process::Command::new(targets.join("bin").join(compiler))
        .args(["-w", "-o"])
        .args([&program, &common::client_source()])
        .args(flags)
        .output();
    if built.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    eprintln!("skipped: no {compiler}; scripts/setup-target installs it");
    None
}

/// What a command prints that is installed with the libraries of both word sizes. It must succeed.
fn installed(here: &Namespace, other: &Path, words: &[&str]) -> String {
    let prefix = here.base().join("installed");
    for (from, to) in [
        (env!("CARGO_BIN_EXE_shmshim").as_ref(), "bin/shmshim"),
        (library().as_path(), "lib/x86_64-linux-gnu/libshmshim.so"),
        (other, "lib/i386-linux-gnu/libshmshim.so"),
    ] {
        let to = prefix.join(to);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        copy(from, to);
    }
    let mut command = here.shmshim_at(&prefix.join("bin/shmshim"), words);
    let output = command.env_remove("SHMSHIM_LIB").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn takes_the_library_of_the_programs_kind_or_refuses_it() {
    let here = Namespace::new();
    for (compiler, target, kind) in [
        ("i686-gcc", "i686-unknown-linux-gnu", "32-bit x86 glibc"),
        ("musl-cc", "x86_64-unknown-linux-musl", "x86-64 musl"),
    ] {
        let Some(program) = client_by(&here, compiler, &[]) else {
            continue;
        };
        let program = program.to_str().unwrap();
        let words = ["run", program, "make", "12", "1", "600"];
        let built = common::workspace()
            .join("target")
            .join(target)
            .join("release/libshmshim.so");
        if built.exists() {
            let id = here.out(words, 0);
            assert_eq!(here.run(&["open", "12", "0"]), id);
            let behind = ["run", "nice", "-n", "1"];
            let behind = [&behind[..], &words[1..]].concat();
            if kind.ends_with("musl") {
                let said = here.error(behind, 126);
                assert!(said.contains("has another C library than"), "{said}");
            } else {
                assert_eq!(here.out(behind, 0), id);
                assert_eq!(installed(&here, &built, &words), id);
            }
        } else {
            let said = here.error(words, 126);
            let expected = format!("is a {kind} program, and the library is there for");
            assert!(said.contains(&expected), "{said}");
        }
    }
    if let Some(program) = client_by(&here, "i686-gcc", &["-static"]) {
        let said = here.error(["run".as_ref(), program.as_os_str()], 126);
        assert!(
            said.contains("shmshim-static serves x86-64 programs alone"),
            "{said}"
        );
    }
}

#[test]
fn refuses_when_the_chosen_library_cannot_be_loaded() {
    let here = Namespace::new();
    let refusal = |path: &Path| {
        let mut command = here.shmshim(["run", "true"]);
        let refused = command.env("SHMSHIM_LIB", path).assert().code(126);
        String::from_utf8(refused.get_output().stderr.clone()).unwrap()
    };
    let lost = here.base().join("lost.so");
    assert!(refusal(&lost).starts_with(&format!(
        "shmshim: there is no library {}: correct SHMSHIM_LIB, or unset it",
        lost.display()
    )));
    let text = here.base().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    assert!(refusal(&text).contains("text.so is no library: correct SHMSHIM_LIB"));
}

#[test]
fn says_whom_the_library_is_closed_to() {
    if !common::is_root() {
        return eprintln!("skipped: takes root, for a second user");
    }
    let here = common::shared();
    let bin = here.base().join("bin");
    std::fs::create_dir(&bin).unwrap();
    copy(env!("CARGO_BIN_EXE_shmshim"), bin.join("shmshim"));
    let closed = bin.join("libshmshim.so");
    copy(library(), &closed);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let run = |library: &str| {
        let mut command = here.shmshim_at(&bin.join("shmshim"), ["run", "true"]);
        command.uid(54001).gid(54001).env("SHMSHIM_LIB", library);
        let output = command.output().unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (status, said) = run(closed.to_str().unwrap());
    assert_eq!(status, 126);
    assert!(
        said.contains("libshmshim.so cannot be read by this user: chmod a+r it"),
        "{said}"
    );
    // Not named, but beside the command: a machine on which the library is installed serves all the same.
    let (status, said) = run("");
    assert!(
        status == 0 || said.contains("libshmshim.so cannot be read by this user: chmod a+r it"),
        "{said}"
    );
}

#[test]
fn refuses_file_capabilities_that_the_user_would_get() {
    if !common::is_root() {
        return eprintln!("skipped: takes root, for a second user");
    }
    let here = common::shared();
    let program = here.base().join("program");
    copy("/bin/true", &program);
    for (capabilities, status) in [
        ("cap_net_raw+ep", 126),
        ("cap_net_raw+p", 126),
        // What the process may not inherit, it does not get.
        ("cap_net_raw+i", 0),
    ] {
        let given = std::process::Command::new("setcap")
            .arg(capabilities)
            .arg(&program)
            .output();
        if !given.is_ok_and(|output| output.status.success()) {
            return eprintln!("skipped: setcap gives no capabilities here");
        }
        let mut command = here.shmshim_std(["run".as_ref(), program.as_os_str()]);
        let output = command.uid(54001).gid(54001).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{capabilities}: {said}");
        assert_eq!(
            said.contains("has file capabilities"),
            status == 126,
            "{said}"
        );
        here.shmshim(["run".as_ref(), program.as_os_str()])
            .assert()
            .success();
    }
}

#[test]
fn refuses_commands_that_start_others_in_an_environment_of_their_own() {
    let here = Namespace::new();
    for (name, options, status) in [
        ("sudo", &["true"][..], 126),
        ("doas", &["true"], 126),
        ("su", &["-", "nobody"], 126),
        ("runuser", &["-u", "nobody", "true"], 0),
    ] {
        let program = here.script(name, "#!/bin/sh\n");
        copy("/bin/true", &program);
        let words = [program.to_str().unwrap()];
        let words = ["run"].iter().chain(&words).chain(options);
        let (_, said) = here.texts(words, status);
        let is_refused = status == 126;
        assert_eq!(
            said.contains("put `shmshim run` behind it"),
            is_refused,
            "{said}"
        );
        // And behind what runs them in its place.
        let wrapped = ["run", "timeout", "-s", "INT", "60", "nice", "-n", "1"];
        let words = [&wrapped[..], &[program.to_str().unwrap()], options].concat();
        here.texts(words, status);
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
