//! `--kernel`: the kernel's own segments, in an IPC namespace of their own, against what `ipcs` says.

use std::fs;
use std::process::{Command, Output};

use crate::common::{self, Holder, Namespace, client, is_root, library, words};
use serde_json::{Value, json};

/// An IPC namespace of the kernel's, and a program in it that has segments.
struct Kernel {
    holder: Holder,
    here: Namespace,
}

impl Kernel {
    fn new(operations: &[&str]) -> Kernel {
        let here = Namespace::new();
        let mut command = Command::new("unshare");
        command
            .args(if is_root() {
                &["-i"][..]
            } else {
                &["-r", "-i"]
            })
            .arg(client())
            .args(operations);
        Kernel {
            holder: Holder::new(command),
            here,
        }
    }

    fn enter(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["-i", "-t", &self.holder.pid().to_string()])
            .args(if is_root() {
                &[][..]
            } else {
                &["-U", "--preserve-credentials"]
            })
            .arg(program)
            .args(arguments)
            .env("SHMSHIM_DIR", self.here.base())
            .env("LC_ALL", "C")
            .env_remove("LD_PRELOAD");
        command
    }

    fn shmshim(&self, arguments: &[&str]) -> Output {
        let mut command = self.enter(env!("CARGO_BIN_EXE_shmshim"), arguments);
        command.output().unwrap()
    }

    fn stdout(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.shmshim(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--kernel", "--json"]].concat();
        serde_json::from_slice(&self.stdout(&arguments)).unwrap()
    }

    /// The lines of `ipcs` that are about segments.
    fn ipcs(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let output = self.enter("ipcs", arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut lines = words(&output.stdout);
        lines.retain(|line| line.iter().any(|word| word.parse::<i32>().is_ok()));
        lines
    }
}

const SEGMENTS: [&str; 22] = [
    "make",
    "0x162e",
    "10000",
    "640",
    "attach",
    "attach-ro",
    "make",
    "0",
    "4096",
    "600",
    "attach",
    "write",
    "hello, kernel",
    "remove",
    "make",
    "0x7eadbeef",
    "1",
    "606",
    "attach",
    "write",
    "x",
    "hold",
];

#[test]
fn ls_lists_what_ipcs_lists() {
    let kernel = Kernel::new(&SEGMENTS);
    let listed = kernel.json(&["ls"]);
    let listed = listed.as_array().unwrap();
    let (segments, pids) = (kernel.ipcs(&["-m"]), kernel.ipcs(&["-m", "-p"]));
    assert_eq!((listed.len(), segments.len(), pids.len()), (3, 3, 3));
    for (one, (line, pids)) in listed.iter().zip(segments.iter().zip(&pids)) {
        // key, shmid, owner, perms, bytes, nattch, status
        assert_eq!(one["key"], json!(line[0]));
        assert_eq!(one["id"].to_string(), line[1]);
        let owner = one["owner"]
            .as_str()
            .map_or(one["uid"].to_string(), str::to_owned);
        assert_eq!(owner, line[2]);
        assert_eq!(
            one["mode"].as_str().unwrap().trim_start_matches('0'),
            line[3]
        );
        assert_eq!(one["size"].to_string(), line[4]);
        assert_eq!(one["attaches"].to_string(), line[5]);
        assert_eq!(
            one["flags"],
            if line.len() > 6 {
                json!([line[6]])
            } else {
                json!([])
            }
        );
        // shmid, owner, cpid, lpid
        assert_eq!(one["creator_pid"].to_string(), pids[2]);
        assert_eq!(one["last_pid"].to_string(), pids[3]);
        assert_eq!(one["creator_alive"], json!(true));
    }
    let lines = words(&kernel.stdout(&["ls", "--kernel"]));
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[1][..2],
        [segments[0][1].clone(), segments[0][0].clone()]
    );
}

#[test]
fn who_knows_what_ipcs_does_not() {
    let kernel = Kernel::new(&SEGMENTS);
    let pid = kernel.holder.pid();
    let uses = kernel.json(&["who"]);
    let counted: Vec<_> = uses
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["pid"].clone(), one["attaches"].clone()))
        .collect();
    let expected = [2, 1, 1].map(|attaches| (json!(pid), json!(attaches)));
    assert_eq!(counted, expected);
    let accesses: Vec<_> = uses[0]["addresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["access"].as_str().unwrap().to_owned())
        .collect();
    assert!(accesses.contains(&"r".to_owned()) && accesses.contains(&"rw".to_owned()));
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    for address in uses[0]["addresses"].as_array().unwrap() {
        let start = address["start"].as_str().unwrap().trim_start_matches("0x");
        assert!(maps.contains(&format!("{start}-")), "{start}");
    }
    // The machine's own segments are others, whatever their ids.
    let id = uses[0]["id"].to_string();
    let outside = kernel
        .here
        .shmshim_std(["who", "--kernel", "--json"])
        .output()
        .unwrap();
    let outside: Value = serde_json::from_slice(&outside.stdout).unwrap();
    let is_ours = |one: &Value| one["pid"] == json!(pid);
    assert!(
        !outside.as_array().unwrap().iter().any(is_ours),
        "{outside}"
    );
    assert_eq!(kernel.json(&["who", &id]).as_array().unwrap().len(), 1);
}

#[test]
fn show_and_dump_and_diff_read_the_kernels_bytes() {
    let kernel = Kernel::new(&SEGMENTS);
    let listed = kernel.json(&["ls"]);
    let marked = listed[1]["id"].to_string();
    let shown = kernel.json(&["show", &marked]);
    assert_eq!(
        (&shown["size"], &shown["flags"]),
        (&json!(4096), &json!(["dest"]))
    );
    assert_eq!(shown["users"][0]["pid"], json!(kernel.holder.pid()));
    let dumped = kernel.stdout(&["dump", "--kernel", &marked]);
    let dumped = String::from_utf8(dumped).unwrap();
    assert!(
        dumped.starts_with("00000000  68 65 6c 6c 6f 2c 20 6b"),
        "{dumped}"
    );
    assert!(dumped.ends_with("*\n00001000\n"), "{dumped}");
    assert_eq!(
        kernel.stdout(&["dump", "--kernel", "0x7eadbeef", "--raw"]),
        b"x"
    );
    let file = kernel.here.base().join("file");
    fs::write(
        &file,
        kernel.stdout(&["dump", "--kernel", &marked, "--raw"]),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(kernel.stdout(&["diff", "--kernel", &marked, file]), b"");
    let found = kernel.shmshim(&["diff", "--kernel", &marked, "0x7eadbeef", "--json"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    assert_eq!(
        (&found["sizes"], &found["different_bytes"]),
        (&json!([4096, 1]), &json!(1))
    );
    // Nothing stays attached.
    assert_eq!(kernel.json(&["ls"])[1]["attaches"], json!(1));
}

#[test]
fn the_kernel_answers_also_under_the_library() {
    let kernel = Kernel::new(&SEGMENTS);
    let of_library = kernel.here.make("0x162e", "77");
    for arguments in [&["ls"][..], &["who"], &["show", "0x162e"]] {
        let expected = kernel.json(arguments);
        let arguments = [arguments, &["--kernel", "--json"]].concat();
        let mut command = kernel.enter(env!("CARGO_BIN_EXE_shmshim"), &arguments);
        let output = command.env("LD_PRELOAD", library()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found, expected);
        assert_ne!(found["id"], json!(of_library));
    }
    let mut dump = kernel.enter(
        env!("CARGO_BIN_EXE_shmshim"),
        &["dump", "--kernel", "--raw", "0x7eadbeef"],
    );
    assert_eq!(
        dump.env("LD_PRELOAD", library()).output().unwrap().stdout,
        b"x"
    );
}

#[test]
fn says_what_the_kernel_does_not_have_or_allow() {
    let kernel = Kernel::new(&["make", "0x162e", "4096", "000", "hold"]);
    let refused = |arguments: &[&str], status: i32, sentence: &str| {
        let output = kernel.shmshim(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
    };
    refused(
        &["show", "--kernel", "77"],
        3,
        "the kernel has no segment with id 77",
    );
    refused(&["ls", "--kernel", "--all"], 2, "cannot be used");
    refused(&["ls", "--kernel", "--scope", "user"], 2, "cannot be used");
    if is_root() {
        let arguments = ["--reuid=54001", "--regid=54001", "--clear-groups"];
        let command = kernel.here.base().join("shmshim");
        common::copy(env!("CARGO_BIN_EXE_shmshim"), &command);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(kernel.here.base(), mode).unwrap();
        let words = [command.to_str().unwrap(), "dump", "--kernel", "0x162e"];
        let mut dump = kernel.enter("setpriv", &[&arguments[..], &words].concat());
        let output = dump.output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("may not be read by this user"));
    }
}
