//! `shmshim doctor`.

use std::ffi::OsStr;

use crate::common::{self, Namespace, client_path, copy, library, write_script};

/// Runs doctor and returns its exit status and the findings.
fn findings(here: &Namespace, arguments: &[&str]) -> (i32, Vec<serde_json::Value>) {
    let words = ["doctor", "--json"].iter().chain(arguments);
    let output = here.shmshim_std(words).output().unwrap();
    let findings = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), findings)
}

/// The levels and texts of a topic.
fn of<'f>(findings: &'f [serde_json::Value], topic: &str) -> Vec<(&'f str, &'f str)> {
    findings
        .iter()
        .filter(|finding| finding["topic"] == topic)
        .map(|finding| {
            (
                finding["level"].as_str().unwrap(),
                finding["text"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn finds_no_problem_where_there_is_none() {
    let here = Namespace::new();
    let (status, found) = findings(&here, &[]);
    assert_eq!(status, 0, "{found:?}");
    let named = of(&found, "library");
    let expected = format!("{} for ", library().display());
    assert!(named[0].1.starts_with(&expected), "{named:?}");
    let (level, text) = of(&found, "namespace")[0];
    assert_eq!(level, "ok");
    assert!(text.starts_with(here.base().to_str().unwrap()), "{text}");
    assert!(text.ends_with("SHMSHIM_DIR says so"), "{text}");
    assert_eq!(
        of(&found, "segments"),
        [("ok", "the namespace will be made by the first call")]
    );
    for topic in [
        "version",
        "static",
        "file system",
        "logout",
        "huge pages",
        "kernel",
        "seccomp",
    ] {
        assert!(!of(&found, topic).is_empty(), "{topic}");
    }
    // In text there are the same findings.
    let output = here.shmshim_std(["doctor"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), found.len());
    assert!(
        text.lines()
            .all(|line| line.starts_with("ok  ") || line.starts_with("note  "))
    );
}

#[test]
fn counts_what_is_there() {
    let here = Namespace::new();
    here.make("7", "4096");
    let _holder = here.hold(&["make", "8", "8192", "600", "attach", "hold"]);
    let (_, found) = findings(&here, &[]);
    assert_eq!(
        of(&found, "segments"),
        [("ok", "2 of 12 KiB, used by 1 process")]
    );
}

#[test]
fn names_what_is_wrong_with_the_namespace() {
    let here = Namespace::new();
    let (status, found) = findings(&here, &["--dir", "/no/such/directory"]);
    assert_eq!(status, 1);
    let (level, text) = of(&found, "namespace")[0];
    assert_eq!(level, "problem");
    assert!(text.contains("/no"), "{text}");

    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(here.base(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let (status, found) = findings(&here, &[]);
    assert_eq!((status, of(&found, "namespace")[0].0), (1, "problem"));
}

#[test]
fn names_a_library_that_is_not_there() {
    let here = Namespace::new();
    let output = here
        .shmshim_std(["doctor"])
        .env("SHMSHIM_LIB", "/no/such/library.so")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("there is no library /no/such/library.so; correct SHMSHIM_LIB, or unset it")
    );
}

#[test]
fn tells_how_a_program_is_reached() {
    let here = Namespace::new();
    let client = client_path();
    let (status, found) = findings(&here, &[client]);
    let program = of(&found, "program");
    assert_eq!(status, 0, "{program:?}");
    assert_eq!(
        program.last().unwrap(),
        &(
            "ok",
            &*format!("served: {} is loaded into it", library().display())
        )
    );

    let path = here.base().join("script");
    write_script(&path, &format!("#!{client}\n"));
    let script = path.to_str().unwrap();
    let (_, found) = findings(&here, &[script]);
    assert_eq!(
        of(&found, "program")[0],
        ("ok", &*format!("{script} is run by {client}"))
    );
    let (_, found) = findings(&here, &["env", "-i", client]);
    let (level, text) = *of(&found, "program").last().unwrap();
    assert_eq!(level, "problem");
    assert!(text.contains("-i takes LD_PRELOAD out"), "{text}");
    let (status, found) = findings(&here, &["/no/such/program"]);
    assert_eq!(status, 1);
    assert_eq!(
        of(&found, "program"),
        [("problem", "there is no program /no/such/program")]
    );
}

#[test]
fn tells_of_a_program_that_the_loader_does_not_load_into() {
    let here = Namespace::new();
    let bin = here.base().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let alone = bin.join("shmshim");
    copy(env!("CARGO_BIN_EXE_shmshim"), &alone);
    let program = common::compile("client.c", "client-static", &["-static"]);
    let output = here
        .shmshim_at(&alone, ["doctor".as_ref(), program.as_os_str()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.starts_with("problem  program"), "{last}");
    assert!(
        last.contains("is statically linked, so no library can be loaded into it"),
        "{last}"
    );
}

#[test]
fn a_path_cannot_write_elsewhere_on_the_terminal() {
    let here = Namespace::new();
    let base = here.base().join("a\nb\x1b[31mc");
    std::fs::create_dir(&base).unwrap();
    let program = base.join("program");
    write_script(&program, "#!/bin/sh\n");
    let arguments: [&OsStr; 4] = [
        "--dir".as_ref(),
        base.as_ref(),
        "doctor".as_ref(),
        program.as_ref(),
    ];
    let text = here.out(arguments, 0);
    assert!(!text.contains('\x1b'), "{text}");
    let shown = format!("{}/a\\012b\\033[31mc", here.base().display());
    for rest in ["/.shmshim-uid", "/program is run by /bin/sh"] {
        assert!(text.contains(&format!("{shown}{rest}")), "{text}");
    }
    // Nor in the sentences of the other commands.
    here.make("7", "4096");
    let absent = base.join("absent");
    let said = here.error(["load".as_ref(), OsStr::new("0x7"), absent.as_ref()], 3);
    assert_eq!(
        said,
        format!("shmshim: {shown}/absent cannot be opened: No such file or directory\n")
    );
}

#[test]
fn an_option_behind_the_program_is_told_to_be_none() {
    let here = Namespace::new();
    let (text, said) = here.texts(["doctor", client_path(), "--json"], 0);
    assert!(text.starts_with("ok "), "{text}");
    assert_eq!(
        said,
        "shmshim: --json behind the program is an argument of the program; write it before the program if it is for doctor\n"
    );
    let (_, said) = here.texts(["doctor", client_path(), "--dir=/tmp"], 0);
    assert!(said.starts_with("shmshim: --dir behind"), "{said}");
    for fine in [&["--", client_path(), "--json"][..], &[client_path(), "-j"]] {
        let (_, said) = here.texts(["doctor"].iter().chain(fine), 0);
        assert_eq!(said, "");
    }
}
