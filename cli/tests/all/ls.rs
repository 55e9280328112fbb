//! `shmshim ls`.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::process::{Command, Stdio};

use crate::common::{self, Namespace, client, copy, library};
use serde_json::{Value, json};
use shmshim_core::storage::table::layout::{self, Cell, Header, Slot};

#[test]
fn says_that_there_is_no_namespace() {
    let here = Namespace::new();
    let note = "shmshim: there is no namespace here yet";
    let output = here.shmshim(["ls"]).assert().success().get_output().clone();
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().starts_with(note));
    assert_eq!(here.json(&["ls"]), json!([]));
    let made = fs::read_dir(here.base()).unwrap().count();
    assert_eq!(made, 0, "looking has made something");
}

#[test]
fn lists_segments_as_a_table() {
    let here = Namespace::new();
    let holder = here.hold(&["make", "0x162e", "8192", "640", "attach", "attach", "hold"]);
    here.make("0", "100");
    let lines = here.words(&["ls"]);
    assert_eq!(
        lines[0],
        [
            "ID", "KEY", "SIZE", "ATTACHES", "OWNER", "MODE", "CHANGED", "ATTACHED", "FLAGS",
            "CREATOR"
        ]
    );
    let id = holder.id().to_string();
    assert_eq!(lines[1][..5], [id.as_str(), "0x0000162e", "8", "KiB", "2"]);
    assert_eq!(lines[1][6], "0640");
    assert!(lines[1].contains(&holder.pid().to_string()), "{lines:?}");
    assert_eq!(lines[2][1..5], ["0x00000000", "100", "B", "0"]);
    assert_eq!(lines[2].last().unwrap(), "(gone)");
    assert_eq!(lines.len(), 3);
}

#[test]
fn lists_segments_as_json() {
    let here = Namespace::new();
    let holder = here.hold(&[
        "make", "0x162e", "8192", "640", "attach", "write", "x", "hold",
    ]);
    let listed = here.json(&["ls"]);
    let segment = &listed[0];
    let euid = nix::unistd::geteuid().as_raw();
    for (name, value) in [
        ("id", json!(holder.id())),
        ("key", json!("0x0000162e")),
        ("size", json!(8192)),
        ("attaches", json!(1)),
        ("dead_attaches", json!(0)),
        ("uid", json!(euid)),
        ("cuid", json!(euid)),
        ("mode", json!("0640")),
        ("flags", json!([])),
        ("detached", Value::Null),
        ("creator_pid", json!(holder.pid())),
        ("creator_alive", json!(true)),
        ("last_pid", json!(holder.pid())),
        ("resident", json!(4096)),
        ("huge_page_size", Value::Null),
    ] {
        assert_eq!(segment[name], value, "{name}");
    }
    assert!(segment["attached"].as_i64() >= segment["changed"].as_i64());
    let file = fs::metadata(segment["file"].as_str().unwrap()).unwrap();
    assert_eq!(file.len(), 8192);
}

#[test]
fn counts_the_living_and_changes_nothing() {
    let here = Namespace::new();
    let mut holder = here.hold(&[
        "make", "0x162e", "4096", "600", "attach", "attach", "make", "0", "4096", "600", "attach",
        "remove", "hold",
    ]);
    assert_eq!(here.json(&["ls"])[1]["flags"], json!(["dest"]));
    holder.kill();
    let table = here.runtime().join("registry");
    let before = fs::read(&table).unwrap();
    let listed = here.json(&["ls"]);
    assert_eq!(listed[0]["attaches"], json!(0));
    assert_eq!(listed[0]["dead_attaches"], json!(2));
    assert_eq!(listed[0]["creator_alive"], json!(false));
    assert_eq!(listed[1]["flags"], json!(["over"]));
    assert_eq!(here.words(&["ls"])[1][4], "0+2");
    assert!(
        fs::read(&table).unwrap() == before,
        "looking has changed the table"
    );
    // A call that asks for the number finds out, and a list of all destroys what is over.
    let printed = here.program("ipcs").arg("-m").output().unwrap();
    assert!(printed.status.success());
    let listed = here.json(&["ls"]);
    assert_eq!(listed[0]["dead_attaches"], json!(0));
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[test]
fn lists_three_thousand_segments() {
    let here = Namespace::new();
    let operations: Vec<_> = ["make", "0", "100", "600"].repeat(3000);
    let printed = here.run(&operations);
    let mut made: Vec<i32> = printed.lines().map(|id| id.parse().unwrap()).collect();
    made.sort_unstable_by_key(|id| id % 32768);
    let listed = here.json(&["ls"]);
    let ids: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["id"].as_i64())
        .collect();
    let made: Vec<_> = made.into_iter().map(|id| Some(i64::from(id))).collect();
    assert_eq!(ids, made);
    assert_eq!(here.words(&["ls"]).len(), 3001);
}

#[test]
fn refuses_a_damaged_table_by_a_sentence() {
    let here = Namespace::new();
    here.make("0x162e", "4096");
    let table = here.runtime().join("registry");
    let file = fs::OpenOptions::new().write(true).open(&table).unwrap();
    file.write_all_at(b"no table", 0).unwrap();
    let said = format!("{} ", table.display());
    for arguments in [&["ls"][..], &["who"], &["show", "0x162e"], &["limits"]] {
        let output = here
            .shmshim(arguments)
            .assert()
            .code(4)
            .get_output()
            .clone();
        assert!(output.stdout.is_empty());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.contains(&said) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
    // It does not hide the others.
    let output = here.shmshim(["ls", "--all"]).assert().success();
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains(&said), "{stderr}");
}

#[test]
fn is_not_disturbed_by_writers() {
    let here = Namespace::new();
    here.make("0x162e", "4096");
    let mut operations = vec!["open", "0x162e", "0"];
    operations.extend(["attach", "detach"].repeat(20_000));
    let mut writer = here
        .client(&operations)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut looked = 0;
    while looked < 5 || (looked < 200 && writer.try_wait().unwrap().is_none()) {
        let listed = here.json(&["ls"]);
        assert_eq!(listed[0]["flags"], json!([]));
        assert!(listed[0]["attaches"].as_u64().unwrap() <= 1, "{listed}");
        assert_eq!(listed[0]["dead_attaches"], json!(0));
        looked += 1;
    }
    assert!(writer.wait().unwrap().success());
}

#[test]
fn is_coloured_on_terminals_alone() {
    let here = Namespace::new();
    let _holder = here.hold(&["make", "0", "100", "600", "attach", "remove", "hold"]);
    let on_a_terminal = |no_colour: &str| {
        let command = format!("{} ls", env!("CARGO_BIN_EXE_shmshim"));
        let output = Command::new("script")
            .args(["-qec", &command, "/dev/null"])
            .env("SHMSHIM_DIR", here.base())
            .env("NO_COLOR", no_colour)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let coloured = on_a_terminal("");
    let lines: Vec<_> = coloured.lines().collect();
    assert!(
        lines[0].starts_with("\x1b[1m") && lines[0].contains("ID"),
        "{coloured:?}"
    );
    assert!(lines[1].starts_with("\x1b[33m"), "{coloured:?}");
    assert!(!on_a_terminal("1").contains('\x1b'));
    let piped = here
        .shmshim_std(["ls"])
        .env("NO_COLOR", "")
        .output()
        .unwrap();
    assert!(!piped.stdout.contains(&b'\x1b'));
}

fn namespace<'l>(listed: &'l Value, here: &Namespace) -> Option<&'l Value> {
    let directory = here.runtime();
    let mut all = listed.as_array().unwrap().iter();
    all.find(|one| one["directory"].as_str() == directory.to_str())
}

#[test]
fn finds_namespaces_wherever_processes_use_them() {
    let (here, elsewhere) = (Namespace::new(), Namespace::new());
    let mut holder = here.hold(&["make", "0x162e", "8192", "600", "attach", "hold"]);
    let listed = elsewhere.json(&["ls", "--all"]);
    let found = namespace(&listed, &here).expect("it is used by a living process");
    assert_eq!(found["scope"], json!("user"));
    assert_eq!(found["segments"], json!(1));
    assert_eq!(found["size"], json!(8192));
    assert_eq!(found["attaches"], json!(1));
    assert_eq!(found["pids"], json!([holder.pid()]));
    let lines = elsewhere.words(&["ls", "--all"]);
    let directory = here.runtime();
    let line = lines
        .iter()
        .find(|line| line[0] == directory.to_str().unwrap());
    assert_eq!(line.unwrap()[1], "user");
    holder.release();
    let listed = elsewhere.json(&["ls", "--all"]);
    assert!(
        namespace(&listed, &here).is_none(),
        "nobody leads there any more"
    );
    let listed = here.json(&["ls", "--all"]);
    let found = namespace(&listed, &here).expect("SHMSHIM_DIR leads there");
    assert_eq!(found["pids"], json!([]));
}

#[test]
fn looks_into_the_namespace_that_is_named() {
    let (here, elsewhere) = (Namespace::new(), Namespace::new());
    let id = here.make("0x162e", "4096");
    let runtime = here.runtime();
    let at = runtime.to_str().unwrap();
    assert_eq!(elsewhere.json(&["ls", "--at", at])[0]["id"], json!(id));
    let shown = elsewhere.json(&["show", "--at", at, "0x162e"]);
    assert_eq!(shown["id"], json!(id));
    let base = here.base().to_str().unwrap();
    assert_eq!(elsewhere.json(&["--dir", base, "ls"])[0]["id"], json!(id));
    let refused = |at: &str, status: i32, sentence: &str| {
        let output = elsewhere.shmshim(["ls", "--at", at]).assert().code(status);
        let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
        assert!(stderr.contains(sentence), "{stderr}");
    };
    refused(base, 4, "is not called as a namespace's directory is");
    refused("/no/such/.shmshim", 3, "there is no /no/such/.shmshim");
    refused("/usr/.shmshim\n", 3, "there is no");
}

/// Leaves a slot as a process does that is killed in the middle of a change, with the table's lock held.
fn kill_a_writer(here: &Namespace, id: i32) -> fs::File {
    here.hold(&["open", "0x162e", "0", "attach", "hold"]).kill();
    let table = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(here.runtime().join("registry"))
        .unwrap();
    let word = |offset: usize| {
        let mut word = [0; 4];
        table.read_exact_at(&mut word, offset as u64).unwrap();
        u32::from_ne_bytes(word)
    };
    let cell = |at: usize| layout::CELL_AREA as usize + at * size_of::<Cell>();
    // The last cell that is in use is the dead one's.
    let dead = (0..64)
        .rev()
        .find(|&at| word(cell(at) + std::mem::offset_of!(Cell, state)) != 0)
        .unwrap();
    let generation = word(cell(dead) + std::mem::offset_of!(Cell, generation));
    let locked = 1 << 30 | generation << 14 | dead as u32;
    let write = |offset: usize, word: u32| {
        table
            .write_all_at(&word.to_ne_bytes(), offset as u64)
            .unwrap();
    };
    write(std::mem::offset_of!(Header, lock), locked);
    let slot = layout::SLOT_AREA as usize + (id as usize % 32768) * size_of::<Slot>();
    let version = slot + std::mem::offset_of!(Slot, version);
    write(version, word(version) | 1);
    table
}

#[test]
fn repairs_what_a_dead_writer_left_in_the_own_namespace_alone() {
    let (here, elsewhere) = (Namespace::new(), Namespace::new());
    let id = here.make("0x162e", "4096");
    let table = kill_a_writer(&here, id);
    let runtime = here.runtime();
    let at = runtime.to_str().unwrap();
    let seen = elsewhere.json(&["ls", "--at", at]);
    assert_eq!(
        (&seen[0]["id"], &seen[0]["flags"]),
        (&json!(id), &json!(["unfinished"]))
    );
    let seen = here.json(&["ls"]);
    assert_eq!(
        (&seen[0]["id"], &seen[0]["flags"]),
        (&json!(id), &json!([]))
    );
    let mut lock = [1; 4];
    table
        .read_exact_at(&mut lock, std::mem::offset_of!(Header, lock) as u64)
        .unwrap();
    assert_eq!(lock, [0; 4], "the lock was taken over and released");
    assert_eq!(elsewhere.json(&["ls", "--at", at])[0]["flags"], json!([]));
}

/// A command of another user's, in system scope.
fn as_another(here: &Namespace, program: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=54001", "--regid=54001", "--clear-groups"])
        .arg(program)
        .args(arguments)
        .env("SHMSHIM_DIR", here.base())
        .env("SHMSHIM_SCOPE", "system");
    command
}

#[test]
fn shows_every_users_segments_in_system_scope() {
    if !common::is_root() {
        eprintln!("not root: no second user");
        return;
    }
    let here = Namespace::new();
    fs::set_permissions(here.base(), fs::Permissions::from_mode(0o1777)).unwrap();
    let (program, preload) = (here.base().join("client"), here.base().join("lib.so"));
    let command = here.base().join("shmshim");
    copy(client(), &program);
    copy(library(), &preload);
    copy(env!("CARGO_BIN_EXE_shmshim"), &command);
    let mut roots = here.client(&["make", "0x162e", "4096", "600", "attach", "write", "secret"]);
    assert!(
        roots
            .env("SHMSHIM_SCOPE", "system")
            .output()
            .unwrap()
            .status
            .success()
    );
    let mut theirs = as_another(
        &here,
        &program,
        &["make", "0x162f", "4096", "640", "attach", "hold"],
    );
    theirs.env("LD_PRELOAD", &preload);
    let holder = common::Holder::new(theirs);
    let seen_by_root = here.json(&["--scope", "system", "ls"]);
    let mut other = as_another(&here, &command, &["ls", "--json"]);
    let seen: Value = serde_json::from_slice(&other.output().unwrap().stdout).unwrap();
    for listed in [&seen_by_root, &seen] {
        assert_eq!(listed[0]["key"], json!("0x0000162e"));
        assert_eq!(
            (&listed[1]["uid"], &listed[1]["attaches"]),
            (&json!(54001), &json!(1))
        );
        assert_eq!(listed[1]["owner"], Value::Null);
        assert_eq!(listed[1]["creator_alive"], json!(true));
    }
    let who = here.json(&["--scope", "system", "who"]);
    assert_eq!(
        (&who[0]["uid"], &who[0]["pid"]),
        (&json!(54001), &json!(holder.pid()))
    );
    assert_eq!(who[0]["read_only"], json!(false));
    // What the mode forbids is not shown.
    let mut dump = as_another(&here, &command, &["dump", "0x162e"]);
    let output = dump.output().unwrap();
    assert_eq!(
        (output.status.code(), output.stdout.len()),
        (Some(4), 0),
        "{output:?}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("EACCES"));
}
