//! Typed views, against gdb's of the same bytes.
#[path = "common/gdb.rs"]
mod gdb;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::common::{Holder, Namespace, compile};
use object::{Object, ObjectSection, ObjectSymbol};
use serde_json::Value;

/// The values of types.c and their types.
const VALUES: [(&str, &str); 16] = [
    ("numbers", "struct numbers"),
    ("floats", "struct floats"),
    ("texts", "struct texts"),
    ("enums", "struct enums"),
    ("bits", "struct bits"),
    ("packed_bits", "packed_bits"),
    ("node", "struct node"),
    ("matrix", "struct matrix"),
    ("value", "union value"),
    ("nested", "struct nested"),
    ("state", "shared_state"),
    ("padded", "struct padded"),
    ("empty", "struct empty"),
    ("huge", "struct huge"),
    ("counter", "int"),
    ("state.slots", "struct slot[4]"),
];

/// Makes a segment that holds these bytes.
fn segment_of(here: &Namespace, bytes: &[u8]) -> i32 {
    let id = here.make("0", &bytes.len().to_string());
    let file = here.runtime().join(format!("segments/SYSV00000000.{id}"));
    // The file has whole pages, and keeps them.
    let mut file = fs::OpenOptions::new().write(true).open(file).unwrap();
    file.write_all(bytes).unwrap();
    id
}

/// The bytes of a variable, or of its member at this offset.
fn bytes_of(program: &Path, variable: &str, offset: usize) -> Option<Vec<u8>> {
    let file = fs::read(program).unwrap();
    let file = object::File::parse(&*file).unwrap();
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok(variable))?;
    let section = file.section_by_index(symbol.section_index()?).unwrap();
    let bytes = section
        .data_range(symbol.address(), symbol.size())
        .unwrap()?;
    Some(bytes[offset..].to_vec())
}

fn shown(here: &Namespace, program: &Path, id: i32, type_name: &str) -> Value {
    let output = here
        .shmshim([
            "show",
            &id.to_string(),
            "--json",
            "--type",
            type_name,
            "--from",
        ])
        .arg(program)
        .assert()
        .success();
    let shown: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    shown["value"].clone()
}

/// Compares each value that the program has.
fn compare(program: &Path, values: &[(&str, &str)]) {
    let here = Namespace::new();
    let there: Vec<_> = values
        .iter()
        .filter_map(|(expression, type_name)| {
            let (variable, offset) = match *expression {
                "state.slots" => ("state", 8),
                variable => (variable, 0),
            };
            // C++ names of variables are mangled.
            let bytes = bytes_of(program, variable, offset)
                .or_else(|| bytes_of(program, &mangled(variable), offset))?;
            Some((*expression, *type_name, bytes))
        })
        .collect();
    assert!(there.len() >= 3, "the program has not the values");
    let expressions: Vec<_> = there.iter().map(|(expression, _, _)| *expression).collect();
    let expected = gdb::print(program, &expressions);
    for ((expression, type_name, bytes), expected) in there.iter().zip(expected) {
        let id = segment_of(&here, bytes);
        let found = shown(&here, program, id, type_name);
        assert!(
            gdb::are_same(&expected, &found),
            "{expression} of {}\ngdb {expected}\nwe  {found}",
            program.display()
        );
    }
}

fn mangled(name: &str) -> String {
    format!("_Z{}{name}", name.len())
}

/// types.c as any program: compiled by one test, while the others wait.
fn types() -> &'static Path {
    static TYPES: OnceLock<PathBuf> = OnceLock::new();
    TYPES.get_or_init(|| types_with("types", &["-no-pie"]))
}

fn types_with(name: &str, flags: &[&str]) -> PathBuf {
    compile("types.c", name, flags)
}

#[test]
fn values_are_those_of_gdb() {
    if gdb::is_there() {
        compare(types(), &VALUES);
    }
}

#[test]
fn values_are_those_of_gdb_in_dwarf_4_and_with_optimization() {
    if gdb::is_there() {
        compare(&types_with("types-4", &["-gdwarf-4", "-no-pie"]), &VALUES);
        let flags = ["-O2", "-fdebug-types-section", "-gz", "-no-pie"];
        compare(&types_with("types-units", &flags), &VALUES);
    }
}

#[test]
fn values_of_32_bit_programs_are_those_of_gdb() {
    if !gdb::is_there() {
        return;
    }
    let flags = ["-m32", "-nostdlib", "-static", "-Wl,-e,main", "-fno-pie"];
    let probe = Command::new("cc")
        .args(flags)
        .args(["-x", "c", "-o", "/dev/null", "-"])
        .stdin(fs::File::open("/dev/null").unwrap())
        .output()
        .unwrap();
    if !probe.status.success() {
        println!("skipped: the compiler has no -m32");
        return;
    }
    compare(&types_with("types-32", &flags), &VALUES);
    // Bit fields as they were described before DWARF 4.
    let flags = [&flags[..], &["-gdwarf-2", "-gstrict-dwarf"]].concat();
    compare(&types_with("types-32-2", &flags), &VALUES);
}

#[test]
fn values_of_cpp_programs_are_those_of_gdb() {
    if !gdb::is_there() {
        return;
    }
    if Command::new("c++").arg("--version").output().is_err() {
        println!("skipped: there is no C++ compiler");
        return;
    }
    let program = compile(
        "types.cc",
        "types-cpp",
        &["-x", "none", "-lstdc++", "-no-pie"],
    );
    let values = [
        ("slots", "ring::Slots<double, 2>"),
        ("state", "ring::State"),
        ("header", "Header"),
        ("aligned", "ring::Derived"),
    ];
    compare(&program, &values);
}

#[test]
fn an_array_without_a_length_goes_on_to_the_end_of_the_segment() {
    if !gdb::is_there() {
        return;
    }
    let program = types();
    let here = Namespace::new();
    let expected = gdb::print(program, &["*(struct slot (*)[2])flexible.entries"]);
    let id = segment_of(&here, &bytes_of(program, "flexible", 0).unwrap());
    let found = shown(&here, program, id, "struct flexible");
    assert!(gdb::are_same(&expected[0], &found["entries"]), "{found}");
    let id = segment_of(&here, &[3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 9]);
    let found = shown(&here, program, id, "struct old_flexible");
    assert_eq!(found, serde_json::json!({"used": 3, "values": [1, 2]}));
}

#[test]
fn the_program_is_found_by_the_process_that_made_the_segment() {
    let here = Namespace::new();
    let program = compile("shared_state.c", "shared_state", &[]);
    let mut command = here.program(&program);
    command.arg("0x162e");
    let maker = Holder::new(command);
    let output = here
        .shmshim(["show", "0x162e", "--type", "struct shared_state"])
        .assert()
        .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let (heading, values) = text.split_once("\n\n").unwrap();
    assert_eq!(
        heading,
        format!(
            "struct shared_state, 80 bytes, of {} (the program of process {}, which made the segment)",
            program.display(),
            maker.pid()
        )
    );
    // The handler's address is one of the running process, and has its name all the same.
    let (before, rest) = values.split_once("handler = 0x").unwrap();
    let (address, after) = rest.split_once(' ').unwrap();
    assert!(u64::from_str_radix(address, 16).is_ok(), "{address}");
    assert_eq!(
        format!("{before}handler = {after}"),
        " +0  struct shared_state {
 +0    magic = 5678
 +8    handler = <handle>
+16    slots = {
+16      [0] = {
+16        pid = 0
+20        owner = \"\"
+32        state = IDLE
         }
+36      [1] = {
+36        pid = 4711
+40        owner = \"anna\"
+52        state = IDLE
         }
+56      [2] = {
+56        pid = 0
+60        owner = \"\"
+72        state = IDLE
         }
       }
     }
"
    );
}

#[test]
fn a_difference_is_told_by_its_member() {
    let here = Namespace::new();
    let program = types();
    let bytes = bytes_of(program, "state", 0).unwrap();
    let one = segment_of(&here, &bytes).to_string();
    let mut changed = bytes.clone();
    changed[4] = 9;
    changed[24] = 7;
    changed[60..64].copy_from_slice(b"cleo");
    // Behind the version there is padding.
    changed[6] = 1;
    let other = segment_of(&here, &changed).to_string();
    let diff = |other: &str, more: &[&str]| {
        let mut command = here.shmshim(["diff", &one, other, "--type", "shared_state", "--from"]);
        command.arg(program).args(more);
        command.assert()
    };
    diff(&one, &[]).code(0).stdout("");
    diff(&other, &[]).code(1).stdout(
        "version: 3 \u{2192} 9\nslots[1].pid: 0 \u{2192} 7\nslots[3].owner: \"bert\" \u{2192} \"cleo\"\n",
    );
    let output = diff(&other, &["--json", "--limit", "1"]).code(1);
    let found: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(
        found,
        serde_json::json!({
            "equal": false,
            "different_members": 3,
            "differences": [{"path": "version", "old": "3", "new": "9"}],
        })
    );
}

/// What is said when a type cannot be shown, and the exit status.
fn refusal(here: &Namespace, id: i32, program: &Path, arguments: &[&str]) -> (i32, String) {
    let output = here
        .shmshim(["show", &id.to_string(), "--from"])
        .arg(program)
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (
        output.status.code().unwrap(),
        said.replace(program.to_str().unwrap(), "PROGRAM"),
    )
}

#[test]
fn what_cannot_be_shown_is_refused_with_the_reason() {
    let here = Namespace::new();
    let program = types();
    let id = segment_of(&here, &[0; 64]);
    let refusal = |arguments: &[&str]| refusal(&here, id, program, arguments);
    assert_eq!(
        refusal(&["--type", "shared_state"]),
        (4, "shmshim: shared_state has 72 bytes, and the segment only 64: name the type that was stored there, or its place with --offset\n".to_owned())
    );
    assert_eq!(
        refusal(&["--type", "int", "--offset", "62"]),
        (4, "shmshim: int has 4 bytes, and the segment only 2 from offset 62 on: name the type that was stored there, or its place with --offset\n".to_owned())
    );
    let (status, said) = refusal(&["--type", "struct numbre"]);
    assert_eq!(status, 3);
    assert!(
        said.contains("has no type struct numbre: the nearest are struct numbers"),
        "{said}"
    );
}

#[test]
fn two_types_of_one_name_are_told_apart_by_their_files() {
    let here = Namespace::new();
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/config_b.c");
    let program = compile("config_a.c", "config", &[other.to_str().unwrap()]);
    let id = segment_of(&here, &[1, 0, 0, 0, 2, 0, 0, 0]);
    let (status, said) = refusal(&here, id, &program, &["--type", "struct config"]);
    assert_eq!(status, 4);
    assert!(said.contains("config_a.c' of 4 bytes"), "{said}");
    assert!(said.contains("config_b.c' of 8 bytes"), "{said}");
    let found = shown(&here, &program, id, "struct config@config_b.c");
    assert_eq!(found, serde_json::json!({"size": 1, "colour": 2}));
}

#[test]
fn debug_information_is_found_in_a_file_of_its_own_only_if_it_belongs_to_the_program() {
    let here = Namespace::new();
    let directory = tempfile::tempdir().unwrap();
    let (program, debug) = (
        directory.path().join("program"),
        directory.path().join("its.debug"),
    );
    let built = types_with("types-to-strip", &["-no-pie", "-Wl,--build-id=none"]);
    let objcopy = |arguments: &[&std::ffi::OsStr]| {
        assert!(
            Command::new("objcopy")
                .args(arguments)
                .status()
                .unwrap()
                .success()
        );
    };
    objcopy(&["--only-keep-debug".as_ref(), built.as_ref(), debug.as_ref()]);
    let link = format!("--add-gnu-debuglink={}", debug.display());
    objcopy(&[
        "--strip-all".as_ref(),
        link.as_ref(),
        built.as_ref(),
        program.as_ref(),
    ]);
    let id = segment_of(&here, &7u32.to_ne_bytes());
    assert_eq!(shown(&here, &program, id, "int"), 7);
    let mut other = fs::read(&debug).unwrap();
    *other.last_mut().unwrap() ^= 1;
    fs::write(&debug, other).unwrap();
    let (status, said) = refusal(&here, id, &program, &["--type", "int"]);
    assert_eq!(status, 3);
    assert!(
        said.starts_with("shmshim: PROGRAM has no debug information"),
        "{said}"
    );
}

#[test]
fn split_debug_information_is_said_to_be_so() {
    let here = Namespace::new();
    let program = types_with("types-split", &["-gsplit-dwarf"]);
    let id = segment_of(&here, &[0; 64]);
    let (status, said) = refusal(&here, id, &program, &["--type", "struct numbers"]);
    assert_eq!(status, 3);
    assert!(said.contains(".dwo files, which are not read"), "{said}");
}

#[test]
fn of_a_rust_enumeration_the_variant_is_shown_that_is_there() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/types.rs");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("types-rust");
    let built = Command::new("rustc")
        .args(["--edition", "2024", "-g", "-o"])
        .args([&program, &source])
        .output();
    let Ok(built) = built else {
        println!("skipped: there is no rustc");
        return;
    };
    assert!(built.status.success(), "{built:?}");
    let here = Namespace::new();
    let id = segment_of(&here, &bytes_of(&program, "SLOTS", 0).unwrap());
    let found = shown(&here, &program, id, "types::Slot[3]");
    assert_eq!(
        found,
        serde_json::json!([
            {"state": {"Idle": {}}, "next": {"None": {}}, "name": [97, 110, 110, 97]},
            {"state": {"Running": {"__0": 9}}, "next": {"None": {}}, "name": [0, 0, 0, 0]},
            {
                "state": {"Waiting": {"seconds": 60, "reason": 2}},
                "next": {"Some": {"__0": {"__0": {"__0": 5}}}},
                "name": [1, 2, 3, 4],
            },
        ])
    );
}
