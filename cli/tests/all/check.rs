//! `shmshim check`: of sound namespaces, and of such whose table and files somebody has written nonsense into.

use std::fs::File;
use std::os::unix::fs::{FileExt, PermissionsExt};

use crate::common::Namespace;
use serde_json::Value;

// Where the table of ARCHITECTURE.md has what is damaged here.
const LOCK: u64 = 64;
const CURSOR: u64 = 192;
const TOTALS: u64 = 216;
const FREE_RECORD: u64 = 248;
const JOURNAL: u64 = 424;
const BITMAP: u64 = 4096;
const INDEX: u64 = 8192;
const CELLS: u64 = 264 << 10;
const SLOTS: u64 = 1288 << 10;
const RECORDS: u64 = 5384 << 10;

/// The invariants in this state, by name.
fn in_state(namespace: &Namespace, arguments: &[&str], status: i32, state: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(&namespace.out(arguments, status)).unwrap();
    assert_eq!(report["whole"], status == 0);
    let lines = report["invariants"].as_array().unwrap();
    lines
        .iter()
        .filter(|line| line["state"] == state)
        .map(|line| line["name"].as_str().unwrap().to_owned())
        .collect()
}

fn broken(namespace: &Namespace) -> Vec<String> {
    in_state(namespace, &["check", "--json"], 1, "broken")
}

/// Repairs what must be repairable, and checks it once more.
fn repair(namespace: &Namespace) {
    let mended = in_state(namespace, &["check", "--repair", "--json"], 0, "mended");
    assert!(!mended.is_empty());
    namespace.out(["check"], 0);
}

/// A namespace with two segments, one with "hello" in it.
fn two() -> Namespace {
    let namespace = Namespace::new();
    namespace.run(&["make", "0x162e", "8192", "640", "attach", "write", "hello"]);
    namespace.make("0x162f", "4096");
    namespace
}

/// Writes words into the table.
fn write(namespace: &Namespace, words: &[(u64, u32)]) {
    let table = File::options()
        .write(true)
        .open(namespace.runtime().join("registry"))
        .unwrap();
    for (offset, word) in words {
        table.write_all_at(&word.to_ne_bytes(), *offset).unwrap();
    }
}

/// That the segments of [`two`] are there.
fn assert_both(namespace: &Namespace) {
    let read = namespace.run(&["open", "0x162e", "8192", "attach", "read"]);
    assert_eq!(read.lines().last(), Some("hello"));
    namespace.run(&["open", "0x162f", "4096", "attach"]);
}

#[test]
fn a_namespace_in_use_is_sound() {
    let namespace = two();
    let _holder = namespace.hold(&["make", "3", "4096", "600", "attach", "hold"]);
    let marked = namespace.hold(&["make", "4", "4096", "600", "attach", "remove", "hold"]);
    let text = namespace.out(["check"], 0);
    assert_eq!(text.lines().count(), 18, "{text}");
    assert!(text.lines().all(|line| line.starts_with("ok ")), "{text}");
    // Dead processes that are not reaped yet are no damage.
    let mut killed = namespace.hold(&["open", "3", "0", "attach", "hold"]);
    killed.kill();
    drop(marked);
    namespace.out(["check"], 0);
    let states = in_state(&namespace, &["check", "--json"], 0, "ok");
    assert_eq!(states.len(), 18);
}

#[test]
fn without_a_namespace_there_is_nothing_to_check() {
    let namespace = Namespace::new();
    namespace.out(["check"], 3);
    namespace.out(["check", "--repair"], 3);
    namespace.out(["check", "--from-files"], 2);
    assert_eq!(std::fs::read_dir(namespace.base()).unwrap().count(), 0);
}

#[test]
fn damaged_totals_keys_and_lists_are_rebuilt() {
    for (words, name) in [
        (&[(TOTALS, 99)][..], "totals"),
        (&[(BITMAP + 80, 7)], "totals"),
        (&[(INDEX + 12, 77)], "keys"),
        (&[(FREE_RECORD, 0)], "lists"),
        (&[(240, 1)], "dying"),
        (&[(JOURNAL, 0), (JOURNAL + 4, 99)], "journal"),
        (&[(SLOTS, 7)], "journal"),
        (&[(CURSOR, 99_999)], "bounds"),
        (&[(LOCK, 0x4000_0000 | 1 << 14 | 50)], "lock"),
    ] {
        let namespace = two();
        write(&namespace, words);
        let found = broken(&namespace);
        assert!(found.iter().any(|one| one == name), "{name}: {found:?}");
        // To look changes nothing.
        assert_eq!(broken(&namespace), found);
        repair(&namespace);
        assert_both(&namespace);
    }
}

#[test]
fn a_damaged_slot_is_taken_from_its_file() {
    for (field, word) in [(4, 9), (8, 5), (12, 77), (16, 77), (40, 123_456)] {
        let namespace = two();
        write(&namespace, &[(SLOTS + field, word)]);
        let found = broken(&namespace);
        let primary = ["slots", "files", "strays"];
        assert!(
            found.iter().any(|one| primary.contains(&one.as_str())),
            "{field}: {found:?}"
        );
        repair(&namespace);
        assert_both(&namespace);
    }
}

#[test]
fn nonsense_all_over_is_mended() {
    let namespace = two();
    let mut words = vec![(TOTALS, 1), (TOTALS + 4, 2), (INDEX, 3)];
    for word in 0..32 {
        words.push((SLOTS + 128 * 5 + word * 4, 0xdead_beef));
        words.push((RECORDS + word * 4, 0xdead_beef));
        words.push((CELLS + 64 * 9 + word * 4, 0xdead_beef));
    }
    write(&namespace, &words);
    let found = broken(&namespace);
    for name in ["slots", "records", "processes", "totals", "keys"] {
        assert!(found.iter().any(|one| one == name), "{name}: {found:?}");
    }
    repair(&namespace);
    assert_both(&namespace);
}

#[test]
fn a_repair_leaves_living_attaches() {
    let namespace = two();
    let mut holder = namespace.hold(&["open", "0x162e", "0", "attach", "hold"]);
    write(&namespace, &[(SLOTS + 96, 40)]);
    assert_eq!(broken(&namespace), ["counts"]);
    repair(&namespace);
    let shown = namespace.out(["rm", "0x162e"], 0);
    assert!(shown.contains("its last attach"), "{shown}");
    assert!(holder.release().success());
}

#[test]
fn files_that_are_lost_foreign_or_open_to_others_are_told() {
    let namespace = two();
    let segments = namespace.runtime().join("segments");
    let mut files: Vec<_> = std::fs::read_dir(&segments)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    std::fs::set_permissions(&files[0], std::fs::Permissions::from_mode(0o666)).unwrap();
    assert_eq!(broken(&namespace), ["rights"]);
    repair(&namespace);
    // A file without a segment becomes one again.
    let stray = segments.join("SYSV00001630.1073741900");
    std::fs::write(&stray, [&[b'x'; 9][..], &[0; 4087]].concat()).unwrap();
    assert_eq!(broken(&namespace), ["strays"]);
    repair(&namespace);
    let read = namespace.run(&["open", "0x1630", "4096", "attach", "read"]);
    assert!(read.contains("xxxx"));
    std::fs::write(segments.join("letter"), "dear").unwrap();
    assert_eq!(broken(&namespace), ["strays"]);
    // It is not ours to remove.
    let left = in_state(&namespace, &["check", "--repair", "--json"], 1, "broken");
    assert_eq!(left, ["strays"]);
    std::fs::remove_file(segments.join("letter")).unwrap();
    std::fs::remove_file(&stray).unwrap();
    assert_eq!(broken(&namespace), ["files"]);
    repair(&namespace);
    assert_both(&namespace);
}

#[test]
fn a_table_beyond_use_is_made_anew_from_the_files() {
    let namespace = two();
    let table = namespace.runtime().join("registry");
    write(&namespace, &[(0, 0), (4, 0)]);
    assert_eq!(broken(&namespace), ["table"]);
    let unknown = in_state(&namespace, &["check", "--json"], 1, "unknown");
    assert_eq!(unknown.len(), 16);
    namespace.out(["check", "--repair"], 4);
    in_state(
        &namespace,
        &["check", "--repair", "--from-files", "--json"],
        0,
        "ok",
    );
    assert_both(&namespace);
    // Not under the feet of those who live there.
    let mut holder = namespace.hold(&["open", "0x162e", "0", "attach", "hold"]);
    File::options()
        .write(true)
        .open(&table)
        .unwrap()
        .set_len(4096)
        .unwrap();
    namespace.out(["check", "--repair", "--from-files"], 4);
    holder.kill();
    namespace.out(["check", "--repair", "--from-files"], 0);
    assert_both(&namespace);
}

#[test]
fn a_missing_part_is_made_again() {
    let namespace = two();
    std::fs::remove_dir_all(namespace.runtime().join("live")).unwrap();
    assert_eq!(broken(&namespace), ["directory"]);
    repair(&namespace);
    assert_both(&namespace);
    std::fs::set_permissions(namespace.runtime(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(broken(&namespace), ["directory"]);
    namespace.out(["check", "--repair"], 4);
}

#[test]
fn what_killed_makers_left_is_told_and_removed() {
    let namespace = two();
    let runtime = namespace.runtime().into_os_string().into_string().unwrap();
    let hidden = format!("{runtime}.0123abcd");
    std::fs::create_dir(&hidden).unwrap();
    std::fs::create_dir(format!("{hidden}/segments")).unwrap();
    std::fs::write(format!("{hidden}/segments/SYSV00000000.1"), "x").unwrap();
    let text = namespace.out(["check"], 0);
    assert!(
        text.contains(&format!("left    leftover   {hidden}\n")),
        "{text}"
    );
    namespace.out(["check", "--repair"], 0);
    assert!(!std::path::Path::new(&hidden).exists());
    let text = namespace.out(["check"], 0);
    assert!(!text.contains("leftover"), "{text}");
}
