//! Says where the sources of `src/storage` and `src/registry` are: where they stand, or, with `SHMSHIM_BREAK=NAME`, in a copy that is broken
//! as `breaks.txt` says.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// One text in place of another, in the body of a function.
#[derive(Default)]
struct Edit {
    function: String,
    from: String,
    to: String,
}

struct Break {
    name: String,
    edits: Vec<Edit>,
}

fn main() {
    println!("cargo::rustc-cfg=shmshim_model");
    println!("cargo::rerun-if-env-changed=SHMSHIM_BREAK");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=breaks.txt");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    let sources = Path::new("../../src").canonicalize().unwrap();

    let mut files = Vec::new();
    for room in ROOMS {
        let room = sources.join(room);
        println!("cargo::rerun-if-changed={}", room.display());
        read_all(&room, &mut files);
    }
    let breaks = breaks(&fs::read_to_string("breaks.txt").unwrap());
    // All of them, whichever is asked for: one that the source has moved away from is found at once.
    for one in &breaks {
        for edit in &one.edits {
            place_of(&files, &one.name, edit);
        }
    }

    let wanted = env::var("SHMSHIM_BREAK").unwrap_or_default();
    let rooms = if wanted.is_empty() {
        sources
    } else {
        let Some(one) = breaks.iter().find(|one| one.name == wanted) else {
            panic!("breaks.txt has no {wanted}");
        };
        let copy = out.join("src");
        // What an earlier build has left there may be called otherwise by now.
        let _ = fs::remove_dir_all(&copy);
        for edit in &one.edits {
            let (file, function) = place_of(&files, &one.name, edit);
            edit.apply(&mut files[file].1, function);
        }
        for (path, text) in &files {
            let path = copy.join(path.strip_prefix(&sources).unwrap());
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        copy
    };
    let module = |name: &str, path: &str| {
        let path = rooms.join(path);
        format!("#[allow(dead_code, unused_imports)]\n#[path = {path:?}]\npub mod {name};\n")
    };
    fs::write(out.join("storage.rs"), module("storage", "storage/mod.rs")).unwrap();
    let calls = [
        ("blocked", "registry/blocked.rs"),
        ("error", "registry/error.rs"),
        ("holder", "registry/holder.rs"),
        ("msg", "registry/msg/mod.rs"),
        ("objects", "registry/objects.rs"),
        ("owner", "registry/owner.rs"),
        ("rules", "registry/rules.rs"),
        ("sem", "registry/sem/mod.rs"),
        ("sleep", "registry/sleep.rs"),
    ];
    let calls: String = calls
        .into_iter()
        .map(|(name, path)| module(name, path))
        .collect();
    fs::write(out.join("calls.rs"), calls).unwrap();
}

/// Where what is compiled lies in `src`.
const ROOMS: [&str; 2] = ["storage", "registry"];

fn read_all(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            read_all(&path, files);
        } else {
            let text = fs::read_to_string(&path).unwrap();
            files.push((path, text));
        }
    }
}

fn breaks(list: &str) -> Vec<Break> {
    let mut breaks: Vec<Break> = Vec::new();
    for line in list
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if !line.starts_with(' ') {
            breaks.push(Break {
                name: line.to_owned(),
                edits: Vec::new(),
            });
            continue;
        }
        let edits = &mut breaks
            .last_mut()
            .expect("breaks.txt begins with a name")
            .edits;
        let (kind, text) = line
            .trim_start()
            .split_once(' ')
            .unwrap_or_else(|| panic!("breaks.txt: {line}"));
        match (kind, edits.last_mut()) {
            ("in", _) => edits.push(Edit {
                function: text.to_owned(),
                ..Edit::default()
            }),
            ("-", Some(edit)) => edit.from += &format!("{text}\n"),
            ("+", Some(edit)) => edit.to += &format!("{text}\n"),
            _ => panic!("breaks.txt: {line}"),
        }
    }
    assert!(
        breaks
            .iter()
            .all(|one| one.edits.iter().all(|edit| !edit.from.is_empty()))
    );
    breaks
}

/// The file, and the bytes in it, of the one function that an edit is for.
fn place_of(files: &[(PathBuf, String)], name: &str, edit: &Edit) -> (usize, (usize, usize)) {
    let mut places = Vec::new();
    for (file, (_, text)) in files.iter().enumerate() {
        for (start, end) in functions(text, &edit.function) {
            if squeeze(&text[start..end])
                .0
                .contains(&squeeze(&edit.from).0)
            {
                places.push((file, (start, end)));
            }
        }
    }
    let [place] = places[..] else {
        panic!(
            "breaks.txt, {name}: {} functions {} hold\n{}",
            places.len(),
            edit.function,
            edit.from
        );
    };
    place
}

/// Where the functions of that name begin and end: rustfmt puts a closing brace below the line that opens.
fn functions(text: &str, name: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&format!("fn {name}")) {
        if !text[at + 3 + name.len()..].starts_with(['(', '<']) {
            continue;
        }
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let indent =
            &text[line..][..text[line..].len() - text[line..].trim_start_matches(' ').len()];
        let close = format!("\n{indent}}}");
        let end = text[at..]
            .find(&close)
            .unwrap_or_else(|| panic!("fn {name} has no end"));
        found.push((line, at + end + close.len()));
    }
    found
}

/// A text without white space and lines of comment, and where each of its bytes stands in the original.
fn squeeze(text: &str) -> (String, Vec<usize>) {
    let (mut squeezed, mut places) = (String::new(), Vec::new());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if !line.trim_start().starts_with("//") {
            for (at, character) in line
                .char_indices()
                .filter(|(_, character)| !character.is_whitespace())
            {
                squeezed.push(character);
                places.extend((0..character.len_utf8()).map(|byte| start + at + byte));
            }
        }
        start += line.len();
    }
    (squeezed, places)
}

impl Edit {
    /// Makes the change as often as the function has the text.
    fn apply(&self, text: &mut String, (start, end): (usize, usize)) {
        let (body, places) = squeeze(&text[start..end]);
        let (from, _) = squeeze(&self.from);
        let found: Vec<_> = body.match_indices(&from).map(|(at, _)| at).collect();
        for at in found.into_iter().rev() {
            let (first, last) = (places[at], places[at + from.len() - 1]);
            text.replace_range(start + first..=start + last, self.to.trim_end());
        }
    }
}
