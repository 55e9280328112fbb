//! `shmshim dump`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use crate::common::Namespace;

/// Fills a segment's file. Returns its path.
fn fill(here: &Namespace, pieces: &[(u64, &[u8])]) -> String {
    let listed = here.json(&["ls"]);
    let path = listed[0]["file"].as_str().unwrap().to_owned();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    for (offset, bytes) in pieces {
        file.write_all_at(bytes, *offset).unwrap();
    }
    path
}

fn stdout(here: &Namespace, arguments: &[&str]) -> Vec<u8> {
    let output = here.shmshim_std(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

#[test]
fn writes_what_hexdump_writes_of_the_file() {
    let here = Namespace::new();
    here.make("0x162e", "1000003");
    let all: Vec<u8> = (0..=255).collect();
    let path = fill(
        &here,
        &[(0, b"hello, world"), (300_000, &all), (1_000_000, b"end")],
    );
    // Where the file system is no tmpfs, the file is page-rounded.
    let hexdump = Command::new("hexdump")
        .args(["-C", "-n", "1000003", &path])
        .output()
        .unwrap();
    assert!(hexdump.status.success());
    let dumped = stdout(&here, &["dump", "0x162e"]);
    assert_eq!(String::from_utf8(dumped), String::from_utf8(hexdump.stdout));
    assert_eq!(
        stdout(&here, &["dump", "0x162e", "--raw"]),
        fs::read(&path).unwrap()[..1_000_003]
    );
}

#[test]
fn writes_a_part() {
    let here = Namespace::new();
    here.make("0x162e", "8192");
    let path = fill(&here, &[(4090, b"0123456789abcdefghij")]);
    let dumped = stdout(
        &here,
        &["dump", "0x162e", "--raw", "--range", "4090..0x1000"],
    );
    assert_eq!(dumped, b"012345");
    let dumped = stdout(&here, &["dump", "0x162e", "--range", "4090..4094"]);
    let line = "00000ffa  30 31 32 33                                       |0123|\n00000ffe\n";
    assert_eq!(String::from_utf8(dumped).unwrap(), line);
    assert_eq!(
        stdout(&here, &["dump", "0x162e", "--raw", "--range", "8000.."]),
        vec![0; 192]
    );
    assert_eq!(
        stdout(&here, &["dump", "0x162e", "--raw", "--range", "9000.."]),
        b""
    );
    for wrong in ["4", "8..4", "x..y"] {
        here.shmshim(["dump", "0x162e", "--range", wrong])
            .assert()
            .code(2);
    }
    // One that is cut from under it.
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(100)
        .unwrap();
    let (_, stderr) = here.texts(["dump", "0x162e"], 4);
    assert!(stderr.contains("is 100 bytes long"), "{stderr}");
}

#[test]
fn shows_what_a_program_has_written() {
    let here = Namespace::new();
    let holder = here.hold(&[
        "make",
        "0",
        "4096",
        "600",
        "attach",
        "write",
        "by the program",
        "remove",
        "hold",
    ]);
    let dumped = stdout(&here, &["dump", &holder.id().to_string()]);
    assert!(
        String::from_utf8(dumped)
            .unwrap()
            .contains("|by the program..|")
    );
}

#[test]
fn ends_with_its_reader() {
    let here = Namespace::new();
    here.make("0x162e", "50000000");
    fill(&here, &[(0, b"first")]);
    for arguments in [&["dump", "0x162e", "--raw"][..], &["dump", "0x162e"]] {
        let mut child = here
            .shmshim_std(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn says_what_it_cannot_find() {
    let here = Namespace::new();
    here.shmshim(["dump", "0x162e"]).assert().code(3);
    here.make("0x162e", "100");
    here.shmshim(["dump", "77"]).assert().code(3);
    here.shmshim(["dump", "0x162e", "--raw", "--hex"])
        .assert()
        .code(2);
}
