//! `shmshim create`, `set` and `load`.

use std::os::unix::process::CommandExt;

use crate::common::{self, Namespace};
use serde_json::Value;

/// What `ls --json` says of a segment.
fn facts(namespace: &Namespace, id: &str) -> Value {
    let listed: Value = serde_json::from_str(&namespace.out(["show", id, "--json"], 0)).unwrap();
    listed
}

#[test]
fn a_key_gets_its_segment_once() {
    let namespace = Namespace::new();
    let create = ["create", "--key", "0x162e", "--size", "64K"];
    let id = namespace.out(create, 0);
    assert_eq!(namespace.out(create, 0), id);
    let refused = namespace.error([&create[..], &["--excl"]].concat(), 4);
    assert!(refused.contains("0x0000162e"), "{refused}");
    // A program finds it, of that size and mode.
    assert_eq!(namespace.run(&["open", "0x162e", "65536"]), id);
    let too_large = namespace.error(["create", "--key", "0x162e", "--size", "1M"], 4);
    assert!(too_large.contains("65536"), "{too_large}");
}

#[test]
fn private_segments_have_no_key_and_their_own_mode() {
    let namespace = Namespace::new();
    let create = [
        "create",
        "--private",
        "--size",
        "100",
        "--mode",
        "644",
        "--json",
    ];
    let one: Value = serde_json::from_str(&namespace.out(create, 0)).unwrap();
    let other: Value = serde_json::from_str(&namespace.out(create, 0)).unwrap();
    assert_ne!(one["id"], other["id"]);
    let listed = facts(&namespace, &one["id"].to_string());
    assert!(listed.to_string().contains("644"), "{listed}");
}

#[test]
fn what_cannot_be_created_is_said_and_leaves_nothing() {
    let namespace = Namespace::new();
    for wrong in [
        &["create", "--key", "0", "--size", "1"][..],
        &["create", "--key", "x", "--size", "1"],
        &["create", "--key", "1", "--size", "1X"],
        &["create", "--key", "1", "--size", "1", "--mode", "888"],
        &["create", "--size", "1"],
        &["create", "--key", "1"],
    ] {
        namespace.error(wrong, 2);
    }
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
    namespace.error(["create", "--key", "1", "--size", "0"], 4);
}

#[test]
fn a_segment_is_set_by_those_who_may() {
    let namespace = Namespace::new();
    let id = namespace.make("0x162e", "4096").to_string();
    namespace.out(["set", &id, "--mode", "640"], 0);
    namespace.out(["set", "--key", "0x162e", "--group", "54001"], 0);
    let listed = facts(&namespace, &id).to_string();
    assert!(
        listed.contains("640") && listed.contains("54001"),
        "{listed}"
    );
    namespace.error(["set", &id], 2);
    namespace.error(["set", &id, "--owner", "nobody-has-this-name"], 2);
    let absent = namespace.error(["set", "17", "--mode", "600"], 3);
    assert!(absent.contains("17"), "{absent}");
}

#[test]
fn a_set_is_changed_wholly_or_not_at_all() {
    let here = Namespace::new();
    let id = here.out(["create", "-s", "2", "--key", "6"], 0);
    let id = id.trim();
    let before = here.json(&["show", "-s", id]);
    for (wrong, why) in [
        (
            &["--value", "9=9"][..],
            format!("there is no semaphore 9, semaphore set {id} has 2"),
        ),
        (
            &["--value=-1=9"],
            format!("there is no semaphore -1, semaphore set {id} has 2"),
        ),
        (
            &["--value", "1=32768"],
            format!("semaphore set {id}: 32768 asked, a value is 0 to 32767"),
        ),
        (
            &["--owner", "4294967295"],
            format!(
                "semaphore set {id}: uid -1 and gid {} asked, nobody has the id -1",
                before["gid"]
            ),
        ),
        (
            &["--group", "4294967295"],
            format!(
                "semaphore set {id}: uid {} and gid -1 asked, nobody has the id -1",
                before["uid"]
            ),
        ),
    ] {
        let start = ["set", "-s", id, "--value", "0=3"];
        let said = here.error(start.iter().chain(wrong), 4);
        assert_eq!(said, format!("shmshim: {why}\n"));
        assert_eq!(here.json(&["show", "-s", id]), before);
    }
}

#[test]
fn without_a_namespace_nothing_is_set_loaded_or_made() {
    let namespace = Namespace::new();
    namespace.error(["set", "17", "--mode", "600"], 3);
    namespace.error(["load", "17", "/dev/null"], 3);
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
}

#[test]
fn a_file_is_written_where_it_is_to_be() {
    let namespace = Namespace::new();
    let id = namespace.make("0x162e", "8192").to_string();
    let file = namespace.base().join("bytes");
    std::fs::write(&file, "hello").unwrap();
    let file = file.to_str().unwrap();
    namespace.out(["load", &id, file], 0);
    assert_eq!(
        namespace
            .run(&["open", "0x162e", "0", "attach", "read"])
            .lines()
            .last(),
        Some("hello")
    );
    namespace.out(["load", "0x162e", file, "--offset", "0x1ffb"], 0);
    let input = namespace
        .shmshim(["load", &id, "-", "--offset", "1"])
        .write_stdin("EL")
        .assert();
    input.success().stdout("");
    let dump = namespace.shmshim(["dump", &id, "--raw"]).assert().success();
    let bytes = &dump.get_output().stdout;
    assert_eq!(
        (&bytes[..6], &bytes[8187..]),
        (&b"hELlo\0"[..], &b"hello"[..])
    );
    // The segment says that it was attached and detached.
    assert!(!facts(&namespace, &id).to_string().contains("\"nattch\":1"));
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let namespace = Namespace::new();
    let id = namespace.make("0x162e", "4096").to_string();
    let file = namespace.base().join("bytes");
    std::fs::write(&file, vec![b'x'; 4097]).unwrap();
    let file = file.to_str().unwrap();
    let refused = namespace.error(["load", &id, file], 4);
    assert!(refused.contains("4096"), "{refused}");
    namespace.error(["load", &id, file, "--offset", "4097"], 4);
    namespace.error(["load", &id, "/nowhere/at/all"], 3);
    let dump = namespace.shmshim(["dump", &id, "--raw"]).assert().success();
    assert!(dump.get_output().stdout.iter().all(|byte| *byte == 0));
    // Of standard input it is only known when it comes.
    let input = namespace
        .shmshim(["load", &id, "-"])
        .write_stdin(vec![b'y'; 5000])
        .assert();
    input.code(4);
}

#[test]
fn another_user_may_not_set_or_load() {
    if !common::is_root() {
        return eprintln!("skipped: takes root, for a second user");
    }
    let namespace = common::shared();
    let system = ["--scope", "system"];
    let create = [&system[..], &["create", "--key", "9", "--size", "100"]].concat();
    let id = namespace.out(&create, 0).trim().to_owned();
    let as_other = |arguments: &[&str]| {
        let mut command = namespace.shmshim_std([&system[..], arguments].concat());
        command.uid(54001).gid(54001);
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (status, text) = as_other(&["set", &id, "--mode", "666"]);
    assert_eq!(status, 4, "{text}");
    let (status, text) = as_other(&["load", &id, "/etc/hostname"]);
    assert_eq!(status, 4, "{text}");
    let (status, text) = as_other(&["rm", &id]);
    assert_eq!(status, 4, "{text}");
    namespace.out(["--scope", "system", "set", &id, "--owner", "54001"], 0);
    let (status, text) = as_other(&["set", &id, "--mode", "666"]);
    assert_eq!(status, 0, "{text}");
}
