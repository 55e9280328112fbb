//! `shmshim rm`.

use std::os::unix::fs::symlink;

use crate::common::Namespace;
use crate::ipc;
use serde_json::Value;

fn ids(namespace: &Namespace) -> Vec<i64> {
    let (text, _) = namespace.texts(["ls", "--json"], 0);
    let mut found = Vec::new();
    collect_ids(&serde_json::from_str(&text).unwrap(), &mut found);
    found
}

fn collect_ids(value: &Value, found: &mut Vec<i64>) {
    match value {
        Value::Array(all) => all.iter().for_each(|one| collect_ids(one, found)),
        Value::Object(map) => match map.get("id") {
            Some(id) => found.push(id.as_i64().unwrap()),
            None => map.values().for_each(|one| collect_ids(one, found)),
        },
        _ => {}
    }
}

#[test]
fn those_that_are_named_go() {
    let namespace = Namespace::new();
    let made: Vec<i32> = ["1", "2", "3", "0"]
        .iter()
        .map(|key| namespace.make(key, "4096"))
        .collect();
    let (text, _) = namespace.texts(["rm", &made[0].to_string(), "0x2"], 0);
    assert_eq!(
        text,
        format!(
            "removed segment {}, key 0x00000001, 4 KiB\nremoved segment {}, key 0x00000002, 4 KiB\n",
            made[0], made[1]
        )
    );
    let (text, _) = namespace.texts(["rm", "--key", "3", "--json"], 0);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report["removed"][0]["id"], made[2]);
    assert_eq!(report["removed"][0]["key"], "0x00000003");
    assert_eq!(report["dry_run"], false);
    assert_eq!(ids(&namespace), [i64::from(made[3])]);
}

#[test]
fn nothing_is_removed_if_one_is_not_there() {
    let namespace = Namespace::new();
    let id = namespace.make("1", "4096");
    let (_, error) = namespace.texts(["rm", &id.to_string(), "17"], 3);
    assert!(error.contains("17"), "{error}");
    namespace.texts(["rm", "--key", "0x11"], 3);
    namespace.texts(["rm"], 2);
    namespace.texts(["rm", "--all", "--orphaned"], 2);
    namespace.texts(["rm", "--all", "--older-than", "1h"], 2);
    namespace.texts(["rm", "--all", "--force"], 2);
    assert_eq!(ids(&namespace), [i64::from(id)]);
}

#[test]
fn a_dry_run_removes_nothing() {
    let namespace = Namespace::new();
    let id = namespace.make("1", "4096");
    let (text, _) = namespace.texts(["rm", "--all", "--dry-run"], 0);
    assert_eq!(
        text,
        format!("would remove segment {id}, key 0x00000001, 4 KiB\n")
    );
    assert_eq!(ids(&namespace), [i64::from(id)]);
    let (text, _) = namespace.texts(["rm", "--namespace", "--dry-run"], 0);
    assert!(text.starts_with("would remove namespace /"), "{text}");
    assert_eq!(ids(&namespace), [i64::from(id)]);
    namespace.texts(["rm", "--all"], 0);
    assert_eq!(ids(&namespace), Vec::<i64>::new());
}

#[test]
fn an_attached_segment_goes_with_its_last_attach() {
    let namespace = Namespace::new();
    let mut holder = namespace.hold(&["make", "1", "4096", "600", "attach", "hold"]);
    let id = holder.id();
    let (text, _) = namespace.texts(["rm", &id.to_string()], 0);
    assert_eq!(
        text,
        format!("marked segment {id}, key 0x00000001, 4 KiB: it goes with its last attach\n")
    );
    assert_eq!(ids(&namespace), [i64::from(id)]);
    holder.release();
    let (text, _) = namespace.texts(["rm", "--all"], 0);
    assert_eq!(text, "");
}

#[test]
fn orphans_are_those_without_attach_and_creator() {
    let namespace = Namespace::new();
    let orphan = namespace.make("1", "4096");
    let attached = namespace.hold(&["make", "2", "4096", "600", "attach", "hold"]);
    let unattached = namespace.hold(&["make", "3", "4096", "600", "hold"]);
    let (text, _) = namespace.texts(["rm", "--orphaned", "--older-than", "1h"], 0);
    assert_eq!(text, "");
    let (text, _) = namespace.texts(["rm", "--orphaned"], 0);
    assert_eq!(
        text,
        format!("removed segment {orphan}, key 0x00000001, 4 KiB\n")
    );
    assert_eq!(
        ids(&namespace),
        [i64::from(attached.id()), i64::from(unattached.id())]
    );
}

#[test]
fn a_namespace_in_use_is_removed_by_force_alone() {
    let namespace = Namespace::new();
    let mut holder = namespace.hold(&["make", "1", "4096", "600", "attach", "hold"]);
    let (_, error) = namespace.texts(["rm", "--namespace"], 4);
    assert!(error.contains(&holder.pid().to_string()), "{error}");
    assert!(
        error.ends_with("after which new segments and attaches are refused to them\n"),
        "{error}"
    );
    // What is said of those that live in it: a set serves them on, and there is no new segment.
    let set = [
        "set", "3", "1", "600", "op", "0", "3", "hold", "op", "0", "-3",
    ];
    let mut user = ipc::hold(&namespace, &set);
    let mut maker = namespace.hold(&["make", "2", "4096", "600", "hold", "make", "3", "1", "600"]);
    namespace.texts(["rm", "--namespace", "--force"], 0);
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
    assert!(user.release().success());
    assert_eq!(maker.release().code(), Some(9));
    holder.release();
    namespace.texts(["rm", "--namespace"], 3);
    // One that is started later has a namespace of its own.
    namespace.make("1", "4096");
}

#[test]
fn a_killed_process_does_not_keep_a_namespace() {
    let namespace = Namespace::new();
    namespace
        .hold(&["make", "1", "4096", "600", "attach", "hold"])
        .kill();
    let (text, _) = namespace.texts(["rm", "--namespace", "--json"], 0);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert!(report["namespace"].as_str().unwrap().contains(".shmshim"));
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
}

#[test]
fn only_what_is_a_namespace_is_removed() {
    let namespace = Namespace::new();
    namespace.make("1", "4096");
    let runtime = namespace.runtime();
    // Something of the user's own lies in it.
    std::fs::write(runtime.join("letter"), "dear").unwrap();
    let (_, error) = namespace.texts(["rm", "--namespace"], 4);
    assert!(error.contains("letter"), "{error}");
    std::fs::remove_file(runtime.join("letter")).unwrap();
    std::fs::create_dir(runtime.join("segments/deeper")).unwrap();
    namespace.texts(["rm", "--namespace"], 4);
    std::fs::remove_dir(runtime.join("segments/deeper")).unwrap();
    // A link in its place, or in the place of a part, is not followed.
    let elsewhere = namespace.base().join("elsewhere");
    std::fs::rename(&runtime, &elsewhere).unwrap();
    symlink(&elsewhere, &runtime).unwrap();
    namespace.texts(["rm", "--namespace"], 4);
    std::fs::remove_file(&runtime).unwrap();
    std::fs::rename(&elsewhere, &runtime).unwrap();
    let segments = namespace.base().join("segments");
    std::fs::rename(runtime.join("segments"), &segments).unwrap();
    symlink(&segments, runtime.join("segments")).unwrap();
    namespace.texts(["rm", "--namespace"], 0);
    assert_eq!(std::fs::read_dir(&segments).unwrap().count(), 1);
}

#[test]
fn a_table_beyond_use_does_not_keep_a_namespace() {
    let namespace = Namespace::new();
    namespace.make("1", "4096");
    std::fs::write(namespace.runtime().join("registry"), "nonsense").unwrap();
    namespace.texts(["rm", "--all"], 4);
    namespace.texts(["rm", "--namespace"], 0);
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
}
