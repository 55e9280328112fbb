//! `shmshim show`.

use crate::common::Namespace;
use serde_json::json;

#[test]
fn shows_everything_of_a_segment() {
    let here = Namespace::new();
    let holder = here.hold(&[
        "make", "0x162e", "10000", "640", "attach", "write", "x", "hold",
    ]);
    let lines = here.words(&["show", "0x162e"]);
    let value = |name: &[&str]| {
        let line = lines.iter().find(|line| {
            line.starts_with(&name.iter().map(|&word| word.to_owned()).collect::<Vec<_>>())
        });
        line.unwrap_or_else(|| panic!("{name:?} in {lines:?}"))[name.len()..].join(" ")
    };
    assert_eq!(
        value(&["id"]),
        format!("{} ({:#x})", holder.id(), holder.id())
    );
    assert_eq!(value(&["key"]), "0x0000162e");
    assert_eq!(value(&["size"]), "10000 bytes (9.8 KiB)");
    assert_eq!(value(&["resident"]), "4096 bytes (4 KiB)");
    assert_eq!(value(&["attaches"]), "1");
    assert_eq!(value(&["mode"]), "0640 rw-r-----");
    assert_eq!(value(&["flags"]), "-");
    assert_eq!(value(&["detached"]), "-");
    assert_eq!(value(&["last", "used", "by"]), holder.pid().to_string());
    assert!(value(&["made", "by"]).starts_with(&format!("{} ", holder.pid())));
    assert!(value(&["file"]).ends_with(&format!("segments/SYSV0000162e.{}", holder.id())));
    // And who has it.
    let who = lines.last().unwrap();
    assert_eq!(who[2], holder.pid().to_string());
}

#[test]
fn shows_the_same_as_json() {
    let here = Namespace::new();
    let holder = here.hold(&["make", "0x162e", "10000", "640", "attach", "hold"]);
    let shown = here.json(&["show", &holder.id().to_string()]);
    let listed = here.json(&["ls"]);
    for (name, value) in listed[0].as_object().unwrap() {
        assert_eq!(shown[name], *value, "{name}");
    }
    assert_eq!(shown["users"], here.json(&["who"]));
    assert_eq!(shown["users"][0]["pid"], json!(holder.pid()));
}

#[test]
fn finds_a_segment_by_id_and_by_key() {
    let here = Namespace::new();
    let id = here.make("0x162e", "100");
    let private = here.make("0", "100");
    let found = |arguments: &[&str]| here.json(&[&["show"], arguments].concat())["id"].clone();
    let hexadecimal = format!("{id:#x}");
    let decimal = id.to_string();
    for names in [
        &["0x162e"][..],
        &[&decimal],
        &[&hexadecimal],
        &["--key", "0x162e"],
        &["--key", "5678"],
    ] {
        assert_eq!(found(names), json!(id), "{names:?}");
    }
    assert_eq!(found(&[&private.to_string()]), json!(private));
    let refused = |arguments: &[&str], status: i32, sentence: &str| {
        let output = here
            .shmshim([&["show"], arguments].concat())
            .assert()
            .code(status);
        let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(sentence), "{stderr}");
    };
    refused(&["5678"], 3, "has no segment with id 5678");
    refused(&["0x163e"], 3, "has no segment with id or key 0x163e");
    refused(
        &["--key", "0x163e"],
        3,
        "has no segment with key 0x0000163e",
    );
    refused(&["--key", "0"], 3, "IPC_PRIVATE");
    refused(&["segment"], 2, "is neither an id nor a key");
    refused(&[], 2, "required");
}

#[test]
fn asks_back_where_a_number_is_id_and_key() {
    let here = Namespace::new();
    let id = here.make("0", "100");
    let other = here.make(&id.to_string(), "100");
    let hexadecimal = format!("{id:#x}");
    let (_, stderr) = here.texts(["show", &hexadecimal], 2);
    assert!(stderr.contains(&format!("--key {hexadecimal}")), "{stderr}");
    assert_eq!(here.json(&["show", &id.to_string()])["id"], json!(id));
    assert_eq!(
        here.json(&["show", "--key", &hexadecimal])["id"],
        json!(other)
    );
}
