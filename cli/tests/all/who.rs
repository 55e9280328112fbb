//! `shmshim who`.

use std::fs;

use crate::common::Namespace;
use serde_json::{Value, json};

/// Where a process has a segment's file mapped, as the kernel says.
fn mapped(pid: u32, id: i32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let its = maps
        .lines()
        .filter(|line| line.ends_with(&format!(".{id}")));
    its.map(|line| {
        format!(
            "0x{}",
            line.split('-').next().unwrap().trim_start_matches('0')
        )
    })
    .collect()
}

#[test]
fn tells_who_has_what_attached_and_where() {
    let here = Namespace::new();
    let writer = here.hold(&[
        "make", "0x162e", "8192", "640", "attach", "attach", "write", "x", "hold",
    ]);
    let reader = here.hold(&["open", "0x162e", "0", "attach-ro", "hold"]);
    let uses = here.json(&["who", "0x162e"]);
    let of = |pid: u32| {
        let mut uses = uses.as_array().unwrap().iter();
        uses.find(|one| one["pid"] == json!(pid)).unwrap().clone()
    };
    for (holder, attaches, read_only, access) in
        [(&writer, 2, false, "rw"), (&reader, 1, true, "r")]
    {
        let found = of(holder.pid());
        assert_eq!(found["id"], json!(writer.id()));
        assert_eq!(found["attaches"], json!(attaches));
        assert_eq!(found["read_only"], json!(read_only));
        assert_eq!(found["alive"], json!(true));
        assert_eq!(found["uid"], json!(nix::unistd::geteuid().as_raw()));
        assert!(found["command"].as_str().unwrap().contains("0x162e"));
        let started = found["started"].as_i64().unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
        assert!((now - 3600..=now + 1).contains(&started), "{started}");
        let addresses = found["addresses"].as_array().unwrap();
        let starts: Vec<_> = addresses
            .iter()
            .map(|one| one["start"].as_str().unwrap())
            .collect();
        assert_eq!(starts, mapped(holder.pid(), writer.id()));
        for address in addresses {
            assert_eq!(
                (&address["access"], &address["length"]),
                (&json!(access), &json!(8192))
            );
        }
    }
    let lines = here.words(&["who"]);
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0][..4], ["ID", "KEY", "PID", "USER"]);
    let line = lines
        .iter()
        .find(|line| line[2] == reader.pid().to_string())
        .unwrap();
    assert!(
        line.contains(&mapped(reader.pid(), writer.id())[0]),
        "{line:?}"
    );
}

#[test]
fn tells_of_one_segment_alone() {
    let here = Namespace::new();
    let one = here.hold(&["make", "0x1", "100", "600", "attach", "hold"]);
    let other = here.hold(&["make", "0x2", "100", "600", "attach", "hold"]);
    assert_eq!(here.json(&["who"]).as_array().unwrap().len(), 2);
    for arguments in [
        ["who", "0x2"].as_slice(),
        &["who", "--key", "2"],
        &["who", &other.id().to_string()],
    ] {
        let uses = here.json(arguments);
        assert_eq!(uses.as_array().unwrap().len(), 1);
        assert_eq!(uses[0]["pid"], json!(other.pid()));
    }
    drop(one);
    here.shmshim(["who", "0x3"]).assert().code(3);
    here.shmshim(["who", "three"]).assert().code(2);
}

#[test]
fn tells_parent_and_child_apart() {
    let here = Namespace::new();
    let holder = here.hold(&["make", "0x162e", "100", "600", "attach", "fork", "hold"]);
    let uses = here.json(&["who"]);
    let pids: Vec<_> = uses
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["pid"].clone())
        .collect();
    assert_eq!(pids.len(), 2, "{uses}");
    assert!(pids.contains(&json!(holder.pid())));
    assert_eq!(uses[0]["addresses"], uses[1]["addresses"]);
    assert_ne!(pids[0], pids[1]);
}

#[test]
fn shows_the_dead_as_dead() {
    let here = Namespace::new();
    let mut holder = here.hold(&["make", "0x162e", "100", "600", "attach", "hold"]);
    holder.kill();
    let uses = here.json(&["who"]);
    assert_eq!(
        (&uses[0]["pid"], &uses[0]["alive"]),
        (&json!(holder.pid()), &json!(false))
    );
    assert_eq!(
        (&uses[0]["command"], &uses[0]["read_only"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(here.words(&["who"])[1].last().unwrap(), "(dead)");
}

#[test]
fn has_nothing_to_tell_where_there_is_nothing() {
    let here = Namespace::new();
    assert_eq!(here.json(&["who"]), json!([]));
    here.shmshim(["who", "0x162e"]).assert().code(3);
    here.make("0x162e", "100");
    here.shmshim(["who"]).assert().success().stdout("");
}
