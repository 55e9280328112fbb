//! Takes the sources of `src/storage` and `src/os` as they are, and puts another ground under them.
//!
//! What is changed is written down below, and nothing else is: where atomics come from, how often a reader or a
//! waiter tries, how large the table is. Each change must be found as often as it says; a source that has moved on
//! fails here and not silently.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// File, what stands there, what is put in its place, how often it is found there (0: as often as it is).
const CHANGES: &[(&str, &str, &str, usize)] = &[
    // A table that a model checker can walk through.
    (
        "layout.rs",
        "pub const SLOTS: u32 = 32768;",
        "pub const SLOTS: u32 = 64;",
        1,
    ),
    (
        "layout.rs",
        "pub const CELLS: u32 = 16384;",
        "pub const CELLS: u32 = 16;",
        1,
    ),
    (
        "layout.rs",
        "pub const RECORDS: u32 = 524_288;",
        "pub const RECORDS: u32 = 16;",
        1,
    ),
    (
        "layout.rs",
        "pub const INDEX_WORDS: u32 = 65536;",
        "pub const INDEX_WORDS: u32 = 8;",
        1,
    ),
    (
        "layout.rs",
        "pub const INDEX_WORDS_AT_FIRST: u32 = 1024;",
        "pub const INDEX_WORDS_AT_FIRST: u32 = 4;",
        1,
    ),
    (
        "layout.rs",
        "pub const SLOTS_AT_FIRST: u32 = 64;",
        "pub const SLOTS_AT_FIRST: u32 = 3;",
        1,
    ),
    (
        "layout.rs",
        "pub const CELLS_AT_FIRST: u32 = 64;",
        "pub const CELLS_AT_FIRST: u32 = 4;",
        1,
    ),
    (
        "layout.rs",
        "pub const RECORDS_AT_FIRST: u32 = 128;",
        "pub const RECORDS_AT_FIRST: u32 = 5;",
        1,
    ),
    ("layout.rs", "pub(super) use ", "pub(crate) use ", 4),
    (
        "layout.rs",
        "\nconst _: () = {\n",
        "\n#[cfg(any())]\nconst _: () = {\n",
        1,
    ),
    // Trying a hundred times shows nothing that trying twice does not.
    (
        "lock.rs",
        "const SPINS: u32 = 2000;",
        "const SPINS: u32 = 1;",
        1,
    ),
    (
        "prepared.rs",
        "const HANDOVER_SPINS: u32 = 200;",
        "const HANDOVER_SPINS: u32 = 1;",
        1,
    ),
    (
        "prepared.rs",
        "const HANDOVER_NAPS: u32 = 2;",
        "const HANDOVER_NAPS: u32 = 1;",
        1,
    ),
    ("table.rs", "for _ in 0..100 {", "for _ in 0..2 {", 1),
    ("index.rs", "for _ in 0..100 {", "for _ in 0..2 {", 2),
    (
        "*",
        "use crate::os::futex;",
        "use crate::os::atomic::futex;",
        1,
    ),
    (
        "*",
        "use crate::os::{futex, map, process};",
        "use crate::os::atomic::futex;\nuse crate::os::{map, process};",
        1,
    ),
    ("*", "core::sync::atomic", "crate::os::atomic", 0),
    (
        "*",
        "core::hint::spin_loop",
        "crate::os::atomic::spin_loop",
        0,
    ),
];

/// A name, and per change the file, what stands there, what is put in its place.
type Break = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str)],
);
/// The code, broken on purpose: what the model must find. `SHMSHIM_BREAK` names one.
const BREAKS: &[Break] = &[
    (
        "the-version-becomes-odd-after-the-change",
        &[(
            "table.rs",
            "    version.store(before | 1, Ordering::Relaxed);\n    fence(Ordering::Release);\n    let answer = change();\n",
            "    let answer = change();\n    version.store(before | 1, Ordering::Relaxed);\n",
        )],
    ),
    (
        "the-fence-behind-the-odd-version-is-gone",
        &[("table.rs", "    fence(Ordering::Release);\n", "")],
    ),
    (
        "the-version-becomes-even-in-no-order",
        &[(
            "table.rs",
            "before.wrapping_add(2), Ordering::Release",
            "before.wrapping_add(2), Ordering::Relaxed",
        )],
    ),
    (
        "a-reserved-slot-is-filled-before-its-version-is-odd",
        &[
            (
                "slots.rs",
                "    change_slot(held, index, || {\n        macro_rules! set {\n",
                "    {\n        macro_rules! set {\n",
            ),
            (
                "slots.rs",
                "        // Crash here: a free slot.\n",
                "    }\n    change_slot(held, index, || {\n",
            ),
        ],
    ),
    (
        "the-first-look-at-the-version-orders-nothing",
        &[(
            "table.rs",
            "version).load(Ordering::Acquire)",
            "version).load(Ordering::Relaxed)",
        )],
    ),
    (
        "the-fence-behind-a-look-is-gone",
        &[(
            "table.rs",
            "                fence(Ordering::Acquire);\n",
            "",
        )],
    ),
    (
        "the-fence-behind-a-glance-is-gone",
        &[(
            "table.rs",
            "        fence(Ordering::Acquire);\n        (word!(words, Slot, version)",
            "        (word!(words, Slot, version)",
        )],
    ),
    (
        "the-version-is-not-looked-at-again",
        &[(
            "table.rs",
            "if word!(words, Slot, version).load(Ordering::Relaxed) == before {",
            "if true {",
        )],
    ),
    (
        "a-glance-does-not-look-at-the-version-again",
        &[(
            "index.rs",
            "before & 1 == 0 && get!(version) == before",
            "before & 1 == 0",
        )],
    ),
    (
        "a-glance-has-no-fence",
        &[(
            "index.rs",
            "        fence(Ordering::Acquire);\n        let unchanged = before",
            "        let unchanged = before",
        )],
    ),
    (
        "a-glance-does-not-ask-whether-the-index-is-busy",
        &[(
            "index.rs",
            "index_before & 1 == 0 && index_version.load(Ordering::Relaxed) == index_before;",
            "true;",
        )],
    ),
    (
        "stores-to-the-index-are-in-no-order",
        &[
            (
                "table.rs",
                "store(value, Ordering::Release)",
                "store(value, Ordering::Relaxed)",
            ),
            ("index.rs", "    fence(Ordering::Release);\n", ""),
        ],
    ),
    (
        "the-index-does-not-look-busy",
        &[(
            "index.rs",
            "    table.set32(header!(index_version), before | 1);\n",
            "",
        )],
    ),
    (
        "the-journal-is-armed-early",
        &[(
            "table.rs",
            "        Journal {\n",
            "        held.table().set32(header!(journal_armed), 1);\n        Journal {\n",
        )],
    ),
    (
        "there-is-no-journal",
        &[(
            "table.rs",
            "        self.table.set32(header!(journal_armed), 1);\n",
            "",
        )],
    ),
    (
        "a-slot-is-taken-before-it-is-filled",
        &[(
            "slots.rs",
            "        // Nothing that a free slot holds means anything, so only the step that makes it another needs the journal.\n",
            "        held.table().set32(slot!(index, state), SlotState::Creating as u32);\n",
        )],
    ),
    (
        "a-claim-is-not-in-the-journal",
        &[(
            "slots.rs",
            "        journal.put32(cell!(held.me().cell(), work), index + 1);\n    }\n",
            "        held.table().set32(cell!(held.me().cell(), work), index + 1);\n    }\n",
        )],
    ),
    (
        "what-is-claimed-is-listed-as-well",
        &[("slots.rs", "    if last == Last::List {\n", "    {\n")],
    ),
    (
        "reaping-forgets-what-was-being-unlinked",
        &[(
            "live.rs",
            "                books::push_dying(held, slot);\n",
            "",
        )],
    ),
    (
        "a-repair-forgets-the-journal",
        &[("recover.rs", "    table::finish_journal(held);\n", "")],
    ),
    (
        "a-repair-does-not-look-busy",
        &[(
            "recover.rs",
            "            table.get32(slot!(index, version)) | 1,\n",
            "            table.get32(slot!(index, version)),\n",
        )],
    ),
    (
        "the-lock-orders-nothing",
        &[("lock.rs", "Ordering::Acquire", "Ordering::Relaxed")],
    ),
    (
        "a-take-over-is-not-repaired",
        &[("lock.rs", "recover::recover(&held);", "")],
    ),
    (
        "the-file-is-given-up-in-two-steps",
        &[(
            "slots.rs",
            "        journal.put32(slot!(index, flags), flags | FLAG_STUCK);\n",
            "        table.set32(slot!(index, flags), flags | FLAG_STUCK);\n",
        )],
    ),
    (
        "a-child-does-not-wait-for-its-parent",
        &[(
            "prepared.rs",
            "            && (self.is_let_go(prepared.child) || self.is_let_go_soon(prepared.child))\n",
            "",
        )],
    ),
    (
        "a-parent-says-so-before-it-lets-go",
        &[
            (
                "prepared.rs",
                "        map::unmap_page(prepared.mapping);\n        // Crash here: the child",
                "        // Crash here: the child",
            ),
            (
                "prepared.rs",
                "            futex::wake_one(word);\n        }\n",
                "            futex::wake_one(word);\n        }\n        map::unmap_page(prepared.mapping);\n",
            ),
        ],
    ),
    (
        "a-child-does-not-look-whether-another-was-faster",
        &[(
            "prepared.rs",
            "        word.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed)\n            .is_ok()\n",
            "        word.store(mine, Ordering::Relaxed);\n        true\n",
        )],
    ),
    (
        "a-child-that-moves-out-leaves-its-attaches",
        &[(
            "prepared.rs",
            "        slots::move_all(&held, child.cell(), own.cell());\n",
            "",
        )],
    ),
    (
        "a-child-that-moves-out-keeps-its-parents-lock",
        &[(
            "prepared.rs",
            "        drop(held);\n        map::unmap_page(prepared.mapping);\n        own\n",
            "        drop(held);\n        own\n",
        )],
    ),
];

/// Put behind `namespace.rs`: a namespace that has no directory.
const NAMESPACE_OVER_A_TABLE: &str = r#"
impl Namespace {
    /// A namespace over words that are there already.
    pub fn over(map: crate::storage::table::TableMap) -> Namespace {
        Namespace {
            table: Table::new(map),
            directory: Path::from_bytes(b"/nowhere").unwrap_or_default(),
            segments: Path::from_bytes(b"/nowhere/segments").unwrap_or_default(),
            scope: Scope::User,
            opened_by: process::euid(),
            table_name: b"registry",
            table_file: (0, 0),
            owner: process::euid(),
            seen_in_place: AtomicU64::new(0),
            rounds_files: false,
            preparing: AtomicU32::new(0),
        }
    }
}
"#;

/// Modules of `os` that are replaced by those of `src/os`; each can still reach the real one as `real_NAME`.
const REPLACED: &[&str] = &["map", "file", "process", "signals"];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let sources = here.join("../../src").canonicalize().unwrap();
    println!("cargo::rerun-if-changed={}", sources.display());
    println!("cargo::rerun-if-changed=build.rs");

    fs::create_dir_all(out.join("storage")).unwrap();
    fs::write(out.join("storage/mod.rs"), storage(&sources, &out)).unwrap();
    fs::create_dir_all(out.join("os")).unwrap();
    fs::write(out.join("os/mod.rs"), os(&sources, &here)).unwrap();
    let mut top = String::new();
    for (name, lints) in [
        ("os", "unused_imports"),
        ("storage", "unused_qualifications"),
    ] {
        let path = out.join(name).join("mod.rs");
        writeln!(
            top,
            "#[allow(dead_code, {lints})]\n#[path = {path:?}]\npub mod {name};"
        )
        .unwrap();
    }
    fs::write(out.join("core.rs"), top).unwrap();
}

fn storage(sources: &Path, out: &Path) -> String {
    println!("cargo::rerun-if-env-changed=SHMSHIM_BREAK");
    let broken = env::var("SHMSHIM_BREAK").unwrap_or_default();
    let breaks = match BREAKS.iter().find(|(name, _)| *name == broken) {
        Some((_, breaks)) => *breaks,
        None if broken.is_empty() => &[],
        None => {
            let names: Vec<_> = BREAKS.iter().map(|one| one.0).collect();
            panic!("SHMSHIM_BREAK: {names:?}")
        }
    };
    let mut used = vec![0; CHANGES.len()];
    let room = sources.join("storage");
    for entry in fs::read_dir(&room).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut text = fs::read_to_string(&path).unwrap();
        // All of them, whichever is asked for: one that the source has moved away from is found at once.
        for (_, from, _) in BREAKS
            .iter()
            .flat_map(|one| one.1)
            .filter(|one| one.0 == name)
        {
            assert!(text.contains(from), "{name}: not found: {from:?}");
        }
        for (_, from, to) in breaks.iter().filter(|one| one.0 == name) {
            text = text.replace(from, to);
        }
        for (change, used) in CHANGES.iter().zip(&mut used) {
            if change.0 == "*" || change.0 == name {
                *used += text.matches(change.1).count();
                text = text.replace(change.1, change.2);
            }
        }
        if name == "namespace.rs" {
            text.push_str(NAMESPACE_OVER_A_TABLE);
        }
        if name != "mod.rs" {
            fs::write(out.join("storage").join(&name), text).unwrap();
        }
    }
    for (change, used) in CHANGES.iter().zip(used) {
        let fits = if change.3 == 0 {
            used > 0
        } else {
            used == change.3
        };
        assert!(fits, "{}: found {used} times: {:?}", change.0, change.1);
    }
    // Inner documentation may only stand first.
    fs::read_to_string(room.join("mod.rs")).unwrap()
}

fn os(sources: &Path, here: &Path) -> String {
    let room = sources.join("os");
    let mut text = String::new();
    for line in fs::read_to_string(room.join("mod.rs")).unwrap().lines() {
        let module = line
            .strip_prefix("pub mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        let Some(module) = module else {
            writeln!(text, "{line}").unwrap();
            continue;
        };
        let real = room.join(format!("{module}.rs"));
        if REPLACED.contains(&module) {
            let ours = here.join(format!("src/os/{module}.rs"));
            writeln!(text, "#[path = {real:?}]\nmod real_{module};").unwrap();
            writeln!(text, "#[path = {ours:?}]\npub mod {module};").unwrap();
        } else {
            writeln!(text, "#[path = {real:?}]\npub mod {module};").unwrap();
        }
    }
    let ours = here.join("src/os/atomic.rs");
    writeln!(text, "#[path = {ours:?}]\npub mod atomic;").unwrap();
    text
}
