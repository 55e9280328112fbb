//! `shmshim save` and `restore` of semaphore sets and message queues: many, large ones, and such as cannot be.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

use crate::common::{Namespace, is_root};
use crate::ipc::{run, said};

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn saved(here: &Namespace) -> PathBuf {
    let archive = here.base().join("archive");
    said(here, &["save", word(&archive)], 0);
    archive
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq)]
struct Member {
    name: String,
    kind: EntryType,
    bytes: Vec<u8>,
}

fn member(name: &str, bytes: impl Into<Vec<u8>>) -> Member {
    Member {
        name: name.to_owned(),
        kind: EntryType::Regular,
        bytes: bytes.into(),
    }
}

/// All of them but the checksums.
fn members(archive: &Path) -> Vec<Member> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let mut members: Vec<Member> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            member(&name, bytes)
        })
        .collect();
    assert_eq!(members.pop().unwrap().name, "checksums.json");
    members
}

/// An archive of these, with the checksums that they have.
fn packed(path: &Path, members: &[Member]) {
    let mut archive = tar::Builder::new(GzEncoder::new(
        File::create(path).unwrap(),
        Compression::fast(),
    ));
    let mut sums = serde_json::Map::new();
    let mut add = |name: &str, kind, bytes: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        archive.append_data(&mut header, name, bytes).unwrap();
    };
    for Member { name, kind, bytes } in members {
        add(name, *kind, bytes);
        let sum: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        sums.insert(name.clone(), json!(sum));
    }
    let sums = json!({ "sha256": sums, "removed": [] });
    add(
        "checksums.json",
        EntryType::Regular,
        sums.to_string().as_bytes(),
    );
    archive.into_inner().unwrap().finish().unwrap();
}

/// Restores with little memory of its own to spare; `ulimit` counts what is mapped, too.
fn restored(there: &Namespace, archive: &Path) -> Output {
    let command = there.shmshim_std(["restore", word(archive)]);
    let mut limited = Command::new("sh");
    limited
        .args([
            "-c",
            "ulimit -v 250000; exec timeout -k 1 120 \"$0\" \"$@\"",
        ])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited.output().unwrap()
}

#[test]
fn more_text_comes_back_than_a_description_could_hold() {
    let here = Namespace::new();
    said(&here, &["limits", "msgmax=4194288", "msgmnb=100000000"], 0);
    run(
        &here,
        &[
            "queue", "0x3", "600", "fill", "9", "4194288", "fill", "30", "1", "queue", "0x4",
            "600", "fill", "5000", "100",
        ],
    );
    let archive = saved(&here);
    let there = Namespace::new();
    let output = restored(&there, &archive);
    assert!(output.status.success(), "{output:?}");
    said(&there, &["check"], 0);
    for which in ["0x3", "0x4"] {
        let shown = there.json(&["show", "-q", which]);
        assert_eq!(shown, here.json(&["show", "-q", which]));
    }
    // The texts are the same, too.
    let (before, after) = (members(&archive), members(&saved(&there)));
    assert_eq!(before.len(), 3);
    assert!(before[1..] == after[1..], "what was saved again differs");
}

#[test]
fn the_largest_set_comes_back() {
    // docs/limits.md: 4 MiB less 16 bytes, of which 72 are the set's own.
    const MOST: u32 = (4_194_288 - 72) / 8;
    let here = Namespace::new();
    said(&here, &["limits", "semmsl=2147483647"], 0);
    let (large, most) = ("65537", MOST.to_string());
    for (count, key) in [(large, "0x1"), (&most, "0x2")] {
        said(&here, &["create", "-s", count, "--key", key], 0);
        let last: u32 = count.parse().unwrap();
        let value = format!("{}=32767", last - 1);
        said(&here, &["set", "-s", key, "--value", &value], 0);
    }
    let one_more = (MOST + 1).to_string();
    said(&here, &["create", "-s", &one_more, "--private"], 4);
    let archive = saved(&here);
    let there = Namespace::new();
    let output = restored(&there, &archive);
    assert!(output.status.success(), "{output:?}");
    said(&there, &["check"], 0);
    for key in ["0x1", "0x2"] {
        let values = |here: &Namespace| here.json(&["show", "-s", key])["values"].clone();
        assert!(values(&there) == values(&here), "{key}");
    }
}

/// A namespace with a set and a queue, and the members of its archive.
fn small() -> (Namespace, Vec<Member>) {
    let here = Namespace::new();
    run(
        &here,
        &[
            "set", "0x2", "2", "640", "queue", "0x3", "600", "send", "7", "hello",
        ],
    );
    let members = members(&saved(&here));
    let names: Vec<_> = members.iter().map(|member| &member.name[..4]).collect();
    assert_eq!(names, ["name", "sets", "queu"]);
    (here, members)
}

/// That an archive of these is refused, with these words, and nothing comes of it.
fn assert_refused(here: &Namespace, members: &[Member], words: &str) {
    let archive = here.base().join("wrong");
    packed(&archive, members);
    let there = Namespace::new();
    let output = restored(&there, &archive);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{words}: {text}");
    assert!(text.contains("nothing was restored"), "{text}");
    assert!(text.contains(words), "{words}: {text}");
    assert_eq!(fs::read_dir(there.base()).unwrap().count(), 0);
}

/// The description with a change in it.
fn described(members: &[Member], change: impl FnOnce(&mut Value)) -> Vec<Member> {
    let mut members = members.to_vec();
    let mut description: Value = serde_json::from_slice(&members[0].bytes).unwrap();
    change(&mut description);
    members[0].bytes = description.to_string().into_bytes();
    members
}

#[test]
fn limits_that_nobody_can_have_set_are_not_restored() {
    let (here, members) = small();
    let mut wrong: Vec<(&str, usize, i64)> = vec![("sem", 3, 32769), ("sem", 3, -1)];
    wrong.extend([("msg", 0, 1 << 31), ("msg", 1, 1 << 31), ("msg", 2, 32769)]);
    for (which, at, value) in wrong {
        let change = |description: &mut Value| description["objects"][which][at] = json!(value);
        let words = "limits that nobody can have set";
        assert_refused(&here, &described(&members, change), words);
    }
    // What somebody can have set is.
    let change = |description: &mut Value| {
        description["objects"]["sem"] = json!([i32::MIN, -1, -1, 32768]);
        description["objects"]["msg"] = json!([i32::MAX, i32::MAX, 32768]);
    };
    let archive = here.base().join("odd");
    packed(&archive, &described(&members, change));
    let there = Namespace::new();
    said(&there, &["restore", word(&archive)], 0);
    said(&there, &["check"], 0);
    assert_eq!(there.json(&["limits"])["semmni"], 32768);
}

#[test]
fn what_is_saved_could_be_restored() {
    let (here, _) = small();
    // semopm, semmni in the file's header.
    const LIMITS: u64 = 384 + 8;
    let file = here.runtime().join("ipc");
    let file = File::options().read(true).write(true).open(file).unwrap();
    let mut before = [0; 8];
    file.read_exact_at(&mut before, LIMITS).unwrap();
    file.write_all_at(&[0xff; 8], LIMITS).unwrap();
    let archive = here.base().join("archive");
    let old = fs::read(&archive).unwrap();
    let (_, error) = said(&here, &["save", word(&archive)], 4);
    assert!(error.contains("could not be restored"), "{error}");
    assert!(error.contains("semmni -1"), "{error}");
    assert!(fs::read(&archive).unwrap() == old);
    assert!(!here.base().join("archive.part").exists());
    said(&here, &["check", "--repair"], 0);
    said(&here, &["save", word(&archive)], 0);
}

#[test]
fn other_versions_are_refused_in_a_sentence() {
    let (here, members) = small();
    for version in [1, 2, 4] {
        let change = |description: &mut Value| description["version"] = json!(version);
        let words = format!("it has version {version}, and this shmshim reads version 3 alone");
        assert_refused(&here, &described(&members, change), &words);
    }
    // What else such a version says is not asked.
    let members = [member(
        "namespace.json",
        r#"{"format": "shmshim namespace", "version": 4, "limits": "others"}"#,
    )];
    assert_refused(&here, &members, "version 4");
}

#[test]
fn sets_and_queues_that_cannot_be_are_refused() {
    let (here, members) = small();
    let (set, queue) = (&members[1], &members[2]);
    let with = |more: &[Member]| [&members[..], more].concat();
    let instead = |at: usize, bytes: Vec<u8>| {
        let mut members = members.clone();
        members[at].bytes = bytes;
        members
    };
    let renamed = |from: &Member, id: &str, key: &str| {
        let text = from.bytes.clone();
        let line = text.split(|byte| *byte == b'\n').next().unwrap();
        let mut facts: Value = serde_json::from_slice(line).unwrap();
        facts["perm"]["id"] = json!(id.parse::<i32>().unwrap());
        facts["perm"]["key"] = json!(key.parse::<i32>().unwrap());
        let (directory, _) = from.name.split_once('/').unwrap();
        let bytes = [facts.to_string().as_bytes(), &text[line.len()..]].concat();
        member(&format!("{directory}/{id}"), bytes)
    };
    // Twice, with the same place, with the same key, under a name that is not theirs.
    assert_refused(
        &here,
        &with(std::slice::from_ref(set)),
        "none of a saved namespace's",
    );
    let slot = |from: &Member| {
        let id: i32 = from.name.split_once('/').unwrap().1.parse().unwrap();
        id % 32768
    };
    let same_place = |from: &Member| (slot(from) + 32768 * 40000).to_string();
    let other_place = |from: &Member| (slot(from) + 1).to_string();
    for (from, key) in [(set, "2"), (queue, "3")] {
        let (same, other) = (same_place(from), other_place(from));
        assert_refused(&here, &with(&[renamed(from, &same, "77")]), "cannot be");
        assert_refused(&here, &with(&[renamed(from, &other, key)]), "cannot be");
        let mut misnamed = renamed(from, &other, "77");
        misnamed.name = format!("{}7", misnamed.name);
        assert_refused(&here, &with(&[misnamed]), "cannot be");
    }
    // Less and more than they say.
    for at in [1, 2] {
        let bytes = members[at].bytes.clone();
        let shorter = bytes[..bytes.len() - 1].to_vec();
        assert_refused(&here, &instead(at, shorter), "fill whole buffer");
        assert_refused(&here, &instead(at, [&bytes[..], b"x"].concat()), "longer");
    }
    // A message that is said to be longer than one can be.
    let mut bytes = queue.bytes.clone();
    let at = bytes.len() - 5 - 4;
    bytes[at..at + 4].fill(0xff);
    assert_refused(&here, &instead(2, bytes), "there can be 4194288");
    // Sets and queues where there have been none.
    let none = described(&members, |description| description["objects"] = Value::Null);
    assert_refused(&here, &none, "is not described in it");
}

#[test]
fn an_archive_that_unpacks_to_a_lot_takes_no_memory() {
    let (here, mut members) = small();
    // A long name, which tar archives tell in a member of its own; a line that does not end; a description.
    members.insert(1, member("././@LongLink", vec![0; 320 << 20]));
    members[1].kind = EntryType::GNULongName;
    assert_refused(&here, &members, "none of a saved namespace's");
    members[1].kind = EntryType::Regular;
    members[1].name = "sets/5".to_owned();
    assert_refused(&here, &members, "cannot be understood");
    members[1].name = "namespace.json".to_owned();
    assert_refused(&here, &members[1..], "too long to be true");
}

#[test]
fn a_set_of_the_kernels_that_no_namespace_can_hold_is_not_saved() {
    let here = Namespace::new();
    let save = here.shmshim_std(["save", "--kernel", "-"]);
    let script = "echo 2147483647 >/proc/sys/kernel/sem || exit 77
        perl -e 'semget(1, 524278, 01600) // die' || exit 77
        exec \"$0\" save --kernel -";
    let mut command = Command::new("unshare");
    command.args(if is_root() {
        &["-i"][..]
    } else {
        &["-r", "-i"]
    });
    let output = command
        .args(["sh", "-c", script])
        .arg(save.get_program())
        .env("SHMSHIM_DIR", here.base())
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap();
    if output.status.code() == Some(77) {
        return eprintln!("skipped: the kernel gives no such set: {output:?}");
    }
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("there can be 524277"), "{text}");
    // What was written until then is no archive.
    let archive = here.base().join("cut");
    File::create(&archive)
        .unwrap()
        .write_all(&output.stdout)
        .unwrap();
    let (_, text) = said(&here, &["restore", word(&archive)], 4);
    assert!(text.contains("ends in its midst"), "{text}");
}
