//! `shmshim check` of semaphore sets and message queues, and its `--repair`.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use crate::common::Namespace;
use crate::ipc::{hold, run, said};
use serde_json::Value;

/// Where the roots of the sets begin, those of the queues, and the blocks.
const SETS: u64 = 64 * 1024;
const QUEUES: u64 = SETS + 32768 * 8;
const BLOCKS: u64 = QUEUES + 32768 * 8 + 16384 * 128 + 16384 * 32 + 65536 * 8;
/// Where the heads of the stacks of free blocks are, and the root of the sets' directory.
const FREE: u64 = 128;
const DIRECTORY: u64 = 320;
/// Where it is said where the blocks end.
const END: u64 = 64;

/// The invariants that are broken, by name.
fn broken(here: &Namespace) -> Vec<String> {
    let (text, _) = said(here, &["check", "--json"], 1);
    let report: Value = serde_json::from_str(&text).unwrap();
    let lines = report["invariants"].as_array().unwrap();
    let broken = lines.iter().filter(|line| line["state"] == "broken");
    broken
        .map(|line| line["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A namespace with two sets and a queue of two messages, and its file.
struct Damaged {
    here: Namespace,
    file: PathBuf,
}

impl Damaged {
    fn new() -> Damaged {
        let here = Namespace::new();
        run(&here, &["set", "0x2", "3", "600", "op", "0", "1"]);
        run(&here, &["set", "0x3", "2", "600", "op", "1", "5"]);
        run(
            &here,
            &[
                "queue", "0x4", "600", "send", "1", "abc", "send", "2", "defg",
            ],
        );
        said(&here, &["check"], 0);
        let file = here.runtime().join("ipc");
        Damaged { here, file }
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        let file = fs::File::open(&self.file).unwrap();
        file.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn put(&self, at: u64, word: u64) {
        let file = fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        file.write_all_at(&word.to_le_bytes(), at).unwrap();
    }

    /// Where the roots of a kind are that lead to something.
    fn roots(&self, from: u64) -> Vec<u64> {
        let all = (0..32768).map(|slot| from + slot * 8);
        all.filter(|at| self.word(*at) as u32 != 0).collect()
    }

    /// Where a word of the block is that a root leads to.
    fn in_block(&self, root: u64, index: u64) -> u64 {
        BLOCKS + (self.word(root) & 0xffff_ffff) * 64 + 16 + index * 8
    }

    /// It is found, mended, and not found any more.
    fn is_mended(&self) {
        assert_eq!(broken(&self.here), ["objects"]);
        let (text, _) = said(&self.here, &["check", "--repair"], 0);
        assert!(text.contains("mended  objects"), "{text}");
        let (text, _) = said(&self.here, &["check"], 0);
        assert!(!text.contains("mended"), "{text}");
    }

    fn keys(&self, kind: &str) -> Vec<String> {
        let listed = self.here.json(&["ls", kind]);
        let keys = listed.as_array().unwrap().iter();
        let mut keys: Vec<_> = keys
            .map(|one| one["key"].as_str().unwrap().to_owned())
            .collect();
        keys.sort();
        keys
    }

    fn all_are_there(&self) {
        assert_eq!(self.keys("-s"), ["0x00000002", "0x00000003"]);
        let printed = run(
            &self.here,
            &[
                "set",
                "0x2",
                "3",
                "0",
                "print-value",
                "0",
                "set",
                "0x3",
                "2",
                "0",
                "print-value",
                "1",
                "queue",
                "0x4",
                "0",
                "receive",
                "0",
                "receive",
                "0",
            ],
        );
        assert_eq!((&*printed[1], &*printed[3]), ("1", "5"));
        assert_eq!(printed[5..], ["abc", "defg"]);
    }
}

#[test]
fn a_damaged_file_is_found() {
    let here = Namespace::new();
    run(&here, &["set", "0x2", "3", "600", "op", "0", "1"]);
    run(&here, &["set", "0x3", "3", "600", "op", "0", "1"]);
    run(&here, &["queue", "0x2", "600", "send", "1", "abc"]);
    let (text, _) = said(&here, &["check"], 0);
    assert!(text.contains("ok      objects"), "{text}");
    let path = here.runtime().join("ipc");
    let whole = fs::read(&path).unwrap();
    let damage = |offset: u64, bytes: &[u8]| {
        let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        let found = broken(&here);
        file.write_all_at(&whole, 0).unwrap();
        said(&here, &["check"], 0);
        found
    };
    // The roots of the sets, of which there are two somewhere.
    let word = |at: u64| {
        let at = at as usize;
        u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())
    };
    let used: Vec<u64> = (0..32768)
        .map(|slot| SETS + slot * 8)
        .filter(|at| word(*at) as u32 != 0)
        .collect();
    let [one, other] = used[..] else {
        panic!("{used:?}");
    };
    // Both lead to one block.
    assert_eq!(damage(one, &word(other).to_le_bytes()), ["objects"]);
    // It leads to nothing.
    assert_eq!(damage(one, &[0xff; 8]), ["objects"]);
    // A free block that is in use: the head of the stack for its size leads to a root's block.
    let class = word(BLOCKS + (word(one) & 0xffff_ffff) * 64 + 8) & 0xff;
    let head = FREE + class * 8;
    assert_eq!(damage(head, &word(one).to_le_bytes()[..4]), ["objects"]);
    // The directory's root.
    assert!(!damage(DIRECTORY, &[0xff; 8]).is_empty());
    // The version, and the length.
    assert_eq!(damage(8, &[0xff]), ["ipc"]);
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    assert_eq!(broken(&here), ["ipc"]);
}

#[test]
fn a_directory_is_made_anew_from_the_objects() {
    let one = Damaged::new();
    // It leads nowhere; or to the block of a set.
    for word in [u64::MAX, one.word(one.roots(SETS)[0])] {
        let before = one.word(DIRECTORY);
        one.put(DIRECTORY, word);
        one.is_mended();
        assert_ne!(one.word(DIRECTORY), before);
    }
    // An entry has another key, and the sum is wrong.
    let block = BLOCKS + (one.word(DIRECTORY) & 0xffff_ffff) * 64 + 16;
    one.put(block + 16, 77);
    one.is_mended();
    let block = BLOCKS + (one.word(DIRECTORY) & 0xffff_ffff) * 64 + 16;
    one.put(block + 24, one.word(block + 24) ^ 0xff << 32);
    one.is_mended();
    one.all_are_there();
}

#[test]
fn an_object_without_a_block_is_removed_and_the_others_stay() {
    for wrong in [0, u64::MAX, 0x0000_0007_0000_0000 | 123_456] {
        let one = Damaged::new();
        let roots = one.roots(SETS);
        let keys = one.keys("-s");
        one.put(roots[0], wrong);
        one.is_mended();
        let left = one.keys("-s");
        assert_eq!(left.len(), 1, "{keys:?} {left:?}");
        // The key of the other can have a set again.
        let lost = keys.iter().find(|key| !left.contains(key)).unwrap();
        let made = run(
            &one.here,
            &["set", lost, "1", "600", "op", "0", "9", "print-value", "0"],
        );
        assert_eq!(made[1], "9");
        assert_eq!(one.keys("-s"), keys);
        said(&one.here, &["check"], 0);
    }
}

#[test]
fn what_two_have_is_the_ones_whose_it_is() {
    let one = Damaged::new();
    let roots = one.roots(SETS);
    one.put(roots[0], one.word(roots[1]));
    one.is_mended();
    assert_eq!(one.keys("-s").len(), 1);
    // A key.
    let two = Damaged::new();
    let [first, second] = two.roots(SETS)[..] else {
        panic!()
    };
    let word = two.word(two.in_block(first, 0));
    let other = two.word(two.in_block(second, 0));
    two.put(
        two.in_block(second, 0),
        word >> 32 << 32 | other & 0xffff_ffff,
    );
    two.is_mended();
    let mut keys = two.keys("-s");
    assert_eq!(keys.remove(0), "0x00000000");
    assert_eq!(keys.len(), 1);
}

#[test]
fn free_blocks_that_are_in_use_are_free_no_more() {
    let one = Damaged::new();
    let root = one.roots(SETS)[0];
    let class = one.word(one.in_block(root, 0) - 8) & 0xff;
    let head = FREE + class * 8;
    one.put(
        head,
        one.word(head) >> 32 << 32 | one.word(root) & 0xffff_ffff,
    );
    one.is_mended();
    // Nobody else lived there: nothing is lost, and nothing is taken twice.
    assert_ne!(one.word(head) & 0xffff_ffff, 0);
    let len = fs::metadata(&one.file).unwrap().len();
    for key in 100..120 {
        run(
            &one.here,
            &["set", &key.to_string(), "2", "600", "op", "0", "1"],
        );
    }
    said(&one.here, &["check"], 0);
    assert_eq!(fs::metadata(&one.file).unwrap().len(), len);
    for key in 100..120 {
        said(&one.here, &["rm", "-s", "--key", &key.to_string()], 0);
    }
    one.all_are_there();
}

#[test]
fn a_message_without_a_text_of_its_own_is_taken_out() {
    // That of the other one, one behind the end, and a length that it has not.
    for which in 0..3 {
        let one = Damaged::new();
        let queue = one.roots(QUEUES)[0];
        let (first, second) = (one.in_block(queue, 13), one.in_block(queue, 15));
        match which {
            0 => one.put(second, one.word(first) >> 32 << 32 | 4),
            1 => one.put(second, 0x00ff_0000_0000_0004),
            _ => one.put(second, one.word(second) >> 32 << 32 | 4000),
        }
        one.is_mended();
        let shown = one.here.json(&["show", "-q", "0x4"]);
        assert_eq!(
            (&shown["messages"], &shown["bytes"]),
            (&1.into(), &3.into())
        );
        let printed = run(
            &one.here,
            &[
                "queue", "0x4", "0", "receive", "0", "send", "5", "new", "receive", "0",
            ],
        );
        assert_eq!(printed[1..], ["abc", "new"]);
        said(&one.here, &["check"], 0);
    }
}

#[test]
fn a_wrong_sum_of_bytes_is_counted_again() {
    let one = Damaged::new();
    let queue = one.roots(QUEUES)[0];
    one.put(one.in_block(queue, 7), 16384);
    one.is_mended();
    assert_eq!(one.here.json(&["show", "-q", "0x4"])["bytes"], 7);
    one.all_are_there();
}

#[test]
fn a_program_that_lives_there_goes_on() {
    let one = Damaged::new();
    let mut holder = hold(
        &one.here,
        &["set", "0x2", "3", "600", "undo", "0", "-1", "hold"],
    );
    let root = one.roots(SETS)[0];
    let class = one.word(one.in_block(root, 0) - 8) & 0xff;
    one.put(DIRECTORY, u64::MAX);
    one.put(FREE + class * 8, one.word(root));
    one.is_mended();
    assert!(holder.release().success());
    one.all_are_there();
    said(&one.here, &["check"], 0);
}

#[test]
fn the_end_of_the_blocks_is_found_again() {
    let one = Damaged::new();
    let end = one.word(END);
    for wrong in [u64::MAX, end + 1, 1 << 29, 0] {
        one.put(END, wrong);
        assert!(!broken(&one.here).is_empty());
        said(&one.here, &["check", "--repair"], 0);
        assert_eq!(one.word(END), end);
    }
    one.all_are_there();
}

#[test]
fn a_file_that_was_cut_is_usable_again() {
    let one = Damaged::new();
    let file = fs::OpenOptions::new().write(true).open(&one.file).unwrap();
    file.set_len(BLOCKS + 16 * 1024).unwrap();
    assert_eq!(broken(&one.here), ["ipc"]);
    said(&one.here, &["check", "--repair"], 0);
    said(&one.here, &["check"], 0);
    assert!(one.keys("-s").is_empty());
    let made = run(
        &one.here,
        &["set", "0x2", "1", "600", "op", "0", "9", "print-value", "0"],
    );
    assert_eq!(made[1], "9");
    said(&one.here, &["check"], 0);
}

#[test]
fn one_of_another_version_is_removed_with_from_files_alone() {
    let one = Damaged::new();
    let version = one.word(8);
    one.put(8, version | 0xff);
    let (text, _) = said(&one.here, &["check", "--repair"], 1);
    assert!(text.contains("broken  ipc"), "{text}");
    assert!(one.file.exists());
    said(&one.here, &["check", "--repair", "--from-files"], 0);
    assert!(one.keys("-s").is_empty());
    run(&one.here, &["set", "0x2", "1", "600"]);
    said(&one.here, &["check"], 0);
}

#[test]
fn limits_that_nobody_can_have_set_are_those_of_a_new_namespace() {
    let one = Damaged::new();
    // semmsl, semmns; semopm, semmni; msgmax, msgmnb; msgmni.
    const LIMITS: u64 = 384;
    let before = [0, 8, 16].map(|at| one.word(LIMITS + at));
    let after = one.word(LIMITS + 24);
    for (at, wrong) in [
        (8, u64::MAX << 32 | 500),
        (16, 1 << 63 | 8192),
        (16, 16384 << 32 | 1 << 31),
        (24, after >> 32 << 32 | 32769),
    ] {
        one.put(LIMITS + at, wrong);
        assert_eq!(broken(&one.here), ["ipc"], "{at}");
        let (text, _) = said(&one.here, &["check", "--repair"], 0);
        assert!(text.contains("mended  ipc"), "{text}");
        assert_eq!([0, 8, 16].map(|at| one.word(LIMITS + at)), before);
        assert_eq!(one.word(LIMITS + 24) as u32, 32000);
        said(&one.here, &["check"], 0);
    }
    // What somebody can have set stays, if it is of no use.
    one.put(LIMITS + 16, 0);
    said(&one.here, &["check", "--repair"], 0);
    assert_eq!(one.word(LIMITS + 16), 0);
}
