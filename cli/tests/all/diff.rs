//! `shmshim diff`.

use std::fs;

use crate::common::Namespace;
use serde_json::{Value, json};

/// Two segments, and a copy of the first one's bytes.
fn two(here: &Namespace) -> String {
    here.run(&[
        "make",
        "0x1",
        "4096",
        "600",
        "attach",
        "write",
        "hello, world",
    ]);
    here.run(&[
        "make",
        "0x2",
        "4096",
        "600",
        "attach",
        "write",
        "hello, there",
    ]);
    let copy = here.base().join("copy");
    let dumped = here.shmshim_std(["dump", "0x1", "--raw"]).output().unwrap();
    fs::write(&copy, dumped.stdout).unwrap();
    copy.to_str().unwrap().to_owned()
}

#[test]
fn says_nothing_of_what_is_alike() {
    let here = Namespace::new();
    let copy = two(&here);
    here.shmshim(["diff", "0x1", &copy])
        .assert()
        .success()
        .stdout("");
    here.shmshim(["diff", "0x1", "0x1"])
        .assert()
        .success()
        .stdout("");
    here.shmshim(["diff", "0x1", "0x2", "--range", "..7"])
        .assert()
        .success();
}

#[test]
fn shows_the_lines_that_differ() {
    let here = Namespace::new();
    two(&here);
    here.shmshim(["diff", "0x1", "0x2"])
        .assert()
        .code(1)
        .stdout(
            "-00000000  68 65 6c 6c 6f 2c 20 77  6f 72 6c 64 00 00 00 00  |hello, world....|\n\
         +00000000  68 65 6c 6c 6f 2c 20 74  68 65 72 65 00 00 00 00  |hello, there....|\n",
        );
}

fn json_of(here: &Namespace, arguments: &[&str], status: i32) -> Value {
    let mut command = here.shmshim(arguments);
    let output = command
        .arg("--json")
        .assert()
        .code(status)
        .get_output()
        .clone();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn tells_the_differences_as_json() {
    let here = Namespace::new();
    let copy = two(&here);
    let found = json_of(&here, &["diff", "0x1", "0x2"], 1);
    assert_eq!(
        found,
        // w-t, o-h, r-e, l-r, d-e
        json!({"equal": false, "sizes": [4096, 4096], "different_bytes": 5,
               "differences": [{"offset": 7, "length": 5}]})
    );
    let found = json_of(&here, &["diff", "0x1", &copy], 0);
    assert_eq!(
        (&found["equal"], &found["differences"]),
        (&json!(true), &json!([]))
    );
}

#[test]
fn counts_a_length_as_a_difference() {
    let here = Namespace::new();
    let copy = two(&here);
    fs::OpenOptions::new()
        .write(true)
        .open(&copy)
        .unwrap()
        .set_len(5000)
        .unwrap();
    let said = "the first has 4096 bytes, the other 5000\n";
    here.shmshim(["diff", "0x1", &copy])
        .assert()
        .code(1)
        .stdout(said);
    here.shmshim(["diff", "0x1", &copy, "--range", "0..4096"])
        .assert()
        .success();
}

#[test]
fn shows_the_first_of_many() {
    let here = Namespace::new();
    let copy = two(&here);
    let mut bytes = fs::read(&copy).unwrap();
    for at in (0..4096).step_by(32) {
        bytes[at] ^= 0xff;
    }
    fs::write(&copy, bytes).unwrap();
    let (stdout, _) = here.texts(["diff", "0x1", &copy, "--limit", "2"], 1);
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{stdout}");
    assert!(lines[2].starts_with("-00000020  00"), "{stdout}");
    assert!(lines[3].starts_with("+00000020  ff"), "{stdout}");
    assert_eq!(lines[4], "126 more lines differ (--limit shows more)");
    let found = json_of(&here, &["diff", "0x1", &copy], 1);
    assert_eq!(found["different_bytes"], json!(128));
    assert_eq!(found["differences"].as_array().unwrap().len(), 20);
}

#[test]
fn says_what_it_cannot_compare() {
    let here = Namespace::new();
    here.shmshim(["diff", "0x1", "0x2"]).assert().code(3);
    two(&here);
    here.shmshim(["diff", "0x1", "0x3"]).assert().code(3);
    here.shmshim(["diff", "0x1", "/no/such/file"])
        .assert()
        .code(3);
    here.shmshim(["diff", "0x1", "/dev/null"]).assert().code(4);
    here.shmshim(["diff", "0x1"]).assert().code(2);
}
