//! `shmshim save` and `restore`.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{self, Namespace};

/// What a program sees of all segments: ids, keys, owners, modes, sizes, times and pids.
fn seen(namespace: &Namespace) -> String {
    let mut seen = String::new();
    for view in [&["-m"][..], &["-m", "-c"], &["-m", "-t"], &["-m", "-p"]] {
        let output = namespace.program("ipcs").args(view).output().unwrap();
        assert!(output.status.success());
        seen.push_str(&String::from_utf8(output.stdout).unwrap());
    }
    let limits = namespace.program("ipcs").args(["-m", "-l"]).output();
    seen + &String::from_utf8(limits.unwrap().stdout).unwrap()
}

/// The segments' files, with what is in them, what they take and their modes.
fn files(namespace: &Namespace) -> Vec<(String, Vec<u8>, u32)> {
    let mut files: Vec<_> = std::fs::read_dir(namespace.runtime().join("segments"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap(), mode)
        })
        .collect();
    files.sort();
    files
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// A namespace with three segments, one of which was removed in between, and the archive of it.
fn saved() -> (Namespace, PathBuf) {
    let namespace = Namespace::new();
    namespace.run(&["make", "0x162e", "5000", "640", "attach", "write", "hello"]);
    let gone = namespace.make("2", "4096").to_string();
    namespace.run(&["make", "0", "100", "600", "attach", "write", "private"]);
    namespace.texts(["rm", &gone], 0);
    namespace.texts(["create", "--key", "0x162f", "--size", "8M"], 0);
    let archive = namespace.base().join("archive");
    namespace.texts(["save", archive.to_str().unwrap()], 0);
    (namespace, archive)
}

#[test]
fn a_restored_namespace_is_as_it_was() {
    let (namespace, archive) = saved();
    let mode = archive.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    assert_eq!(seen(&copy), seen(&namespace));
    assert_eq!(files(&copy), files(&namespace));
    copy.texts(["check"], 0);
    // Programs go on: with the segment that they know, and with ids that were never given.
    let read = copy.run(&["open", "0x162e", "0", "attach", "read"]);
    assert_eq!(read.lines().last(), Some("hello"));
    assert_eq!(copy.make("77", "10"), namespace.make("77", "10"));
    copy.texts(["check"], 0);
}

#[test]
fn the_log_of_a_restored_namespace_begins_with_its_segments() {
    let (namespace, archive) = saved();
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    let log = copy.json(&["log"]);
    let events = log.as_array().unwrap().iter();
    let mut kinds: Vec<&str> = events
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.remove(0), "namespace-made");
    let segments = namespace.json(&["ls"]);
    assert_eq!(kinds, vec!["restored"; segments.as_array().unwrap().len()]);
    let log = copy.out(["log", "0x162e"], 0);
    assert!(
        log.contains(" was restored from a saved namespace by pid "),
        "{log}"
    );
}

#[test]
fn what_was_sparse_is_sparse() {
    let namespace = Namespace::new();
    namespace.texts(["create", "--private", "--size", "1G"], 0);
    let id = namespace.make("1", "1073741824").to_string();
    let mut load = namespace.shmshim(["load", &id, "-", "--offset", "512M"]);
    load.write_stdin("middle").assert().success();
    let archive = namespace.base().join("archive");
    namespace.texts(["save", archive.to_str().unwrap()], 0);
    assert!(archive.metadata().unwrap().len() < 65536);
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    for file in entries(&copy.runtime().join("segments")) {
        let metadata = file.metadata().unwrap();
        assert_eq!(metadata.len(), 1 << 30);
        assert!(metadata.blocks() * 512 <= 65536, "{}", file.display());
    }
    let range = ["dump", "0x1", "--raw", "--range", "0x20000000..0x20000006"];
    let dump = copy.shmshim(range).assert().success();
    assert_eq!(dump.get_output().stdout, b"middle");
}

#[test]
fn a_thousand_segments_come_back() {
    let namespace = Namespace::new();
    let numbers: Vec<String> = (1..=1000).map(|number| number.to_string()).collect();
    let mut operations = Vec::new();
    for number in &numbers {
        operations.extend([
            "make", number, "4096", "600", "attach", "write", number, "detach",
        ]);
    }
    namespace.run(&operations);
    let archive = namespace.base().join("archive");
    namespace.texts(["save", archive.to_str().unwrap()], 0);
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    assert_eq!(seen(&copy), seen(&namespace));
    assert_eq!(files(&copy), files(&namespace));
    copy.texts(["check"], 0);
}

#[test]
fn an_archive_is_a_tar_archive() {
    let (namespace, archive) = saved();
    let target = namespace.base().join("unpacked");
    std::fs::create_dir(&target).unwrap();
    let status = Command::new("tar")
        .arg("-xzf")
        .arg(&archive)
        .arg("-C")
        .arg(&target)
        .status()
        .unwrap();
    assert!(status.success());
    for (name, bytes, _) in files(&namespace) {
        let id = name.rsplit('.').next().unwrap();
        let unpacked = std::fs::read(target.join("segments").join(id)).unwrap();
        // On some file systems a segment's file is whole pages.
        assert_eq!(unpacked[..], bytes[..unpacked.len()]);
    }
    let description = std::fs::read_to_string(target.join("namespace.json")).unwrap();
    assert!(description.contains("\"shmshim namespace\""));
}

#[test]
fn a_namespace_in_use_is_no_target_and_an_empty_one_makes_way() {
    let (namespace, archive) = saved();
    let archive = archive.to_str().unwrap();
    let before = seen(&namespace);
    let (_, error) = namespace.texts(["restore", archive], 4);
    assert!(error.contains("rm --namespace"), "{error}");
    assert_eq!(seen(&namespace), before);
    namespace.texts(["rm", "--all"], 0);
    let mut holder = namespace.hold(&["make", "1", "4096", "600", "remove", "hold"]);
    namespace.texts(["restore", archive], 4);
    holder.release();
    namespace.texts(["restore", archive], 0);
    assert_eq!(seen(&namespace), before);
}

/// That the archive is refused, and nothing has come of it.
fn assert_refused(target: &Namespace, archive: &Path) {
    let (_, error) = target.texts(["restore", archive.to_str().unwrap()], 4);
    assert!(error.contains("nothing was restored"), "{error}");
    assert_eq!(entries(target.base()), Vec::<PathBuf>::new());
}

#[test]
fn a_damaged_or_cut_file_changes_nothing() {
    let (namespace, archive) = saved();
    let whole = std::fs::read(&archive).unwrap();
    let target = Namespace::new();
    let broken = namespace.base().join("broken");
    let mut harmless = 0;
    // The first ten bytes are gzip's; among them those that mean nothing.
    let places = [0, 1, 2].into_iter().chain((10..whole.len()).step_by(29));
    for at in places.chain(whole.len() - 8..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        std::fs::write(&broken, bytes).unwrap();
        let restored = target
            .shmshim_std(["restore".as_ref(), broken.as_os_str()])
            .output();
        if restored.unwrap().status.success() {
            // A bit of the compression that says nothing; what comes out is the same.
            assert_eq!(files(&target), files(&namespace), "byte {at}");
            target.texts(["rm", "--namespace"], 0);
            harmless += 1;
        } else {
            assert_refused(&target, &broken);
        }
    }
    assert!(harmless < 3, "{harmless}");
    for len in (0..whole.len()).step_by(37).chain([whole.len() - 1]) {
        std::fs::write(&broken, &whole[..len]).unwrap();
        assert_refused(&target, &broken);
    }
    std::fs::write(&broken, [&whole[..], b"more"].concat()).unwrap();
    assert_refused(&target, &broken);
    std::fs::write(&broken, &whole).unwrap();
    target.texts(["restore", broken.to_str().unwrap()], 0);
}

/// Unpacks an archive, changes it, and packs it again by tar, which knows nothing of what it should say.
fn repacked(namespace: &Namespace, archive: &Path, change: &str) -> PathBuf {
    let script = format!(
        "mkdir u && gzip -dc <{} >a.tar && cd u && tar -xf ../a.tar && {change}",
        archive.display()
    );
    let status = Command::new("sh")
        .args(["-ec", &script])
        .current_dir(namespace.base())
        .status()
        .unwrap();
    assert!(status.success());
    let result = namespace.base().join("foreign");
    let rest = "rm -rf u a.tar";
    let status = Command::new("sh")
        .args(["-ec", rest])
        .current_dir(namespace.base())
        .status();
    assert!(status.unwrap().success());
    result
}

#[test]
fn a_foreign_archive_changes_nothing() {
    let (namespace, archive) = saved();
    let target = Namespace::new();
    for change in [
        // Other names, no description, another order, one segment less, another number in the description.
        "tar -czf ../foreign .",
        "tar -czf ../foreign segments",
        "tar -czf ../foreign checksums.json namespace.json segments",
        "rm segments/$(ls segments | head -n 1) && tar -czf ../foreign namespace.json segments checksums.json",
        "sed -i 's/\"size\": 5000/\"size\": 6000/' namespace.json; tar -czf ../foreign namespace.json checksums.json",
        "echo '{\"format\": \"x\"}' >namespace.json; tar -czf ../foreign namespace.json",
        "tar -cf ../foreign namespace.json",
        "cp ../archive.not ../foreign 2>/dev/null || echo text >../foreign",
    ] {
        let foreign = repacked(&namespace, &archive, change);
        assert_refused(&target, &foreign);
    }
}

/// What hardly can be compressed, and so takes its time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    bytes.take(len).collect()
}

/// Waits for something to come true.
fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("what was waited for has not come");
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_that_counts() {
    let namespace = Namespace::new();
    let id = namespace.make("1", "1048576").to_string();
    let mut load = namespace.shmshim(["load", &id, "-"]);
    load.write_stdin(noise(1 << 20)).assert().success();
    let archive = namespace.base().join("archive");
    namespace.texts(["save", archive.to_str().unwrap()], 0);
    let whole = std::fs::read(&archive).unwrap();
    let target = Namespace::new();
    let mut restoring = target
        .shmshim_std(["restore", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = restoring.stdin.take().unwrap();
    input.write_all(&whole[..whole.len() - 20]).unwrap();
    input.flush().unwrap();
    wait_for(|| !entries(target.base()).is_empty());
    restoring.kill().unwrap();
    restoring.wait().unwrap();
    drop(input);
    // It is hidden: nobody takes it for a namespace.
    let left = entries(target.base());
    assert_eq!(left.len(), 1);
    target.texts(["rm", "--namespace"], 3);
    target.texts(["restore", archive.to_str().unwrap()], 0);
    assert_eq!(entries(target.base()), [target.runtime()]);
    assert_ne!(entries(target.base()), left);
    target.texts(["check"], 0);
}

#[test]
fn a_save_that_is_killed_leaves_no_file_of_that_name() {
    let namespace = Namespace::new();
    let id = namespace.make("1", "33554432").to_string();
    let noise = noise(33_554_432);
    let load = namespace
        .shmshim(["load", &id, "-"])
        .write_stdin(noise)
        .assert();
    load.success();
    let archive = namespace.base().join("archive");
    let part = namespace.base().join("archive.part");
    let mut saving = namespace
        .shmshim_std(["save", archive.to_str().unwrap()])
        .spawn()
        .unwrap();
    wait_for(|| part.metadata().is_ok_and(|part| part.len() > 0));
    saving.kill().unwrap();
    saving.wait().unwrap();
    assert!(!archive.exists() && part.exists());
    namespace.texts(["save", archive.to_str().unwrap()], 0);
    assert!(archive.exists() && !part.exists());
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    assert_eq!(files(&copy), files(&namespace));
}

#[test]
fn what_cannot_be_saved_or_read_is_said() {
    let namespace = Namespace::new();
    namespace.texts(["save", "/nowhere/at/all"], 3);
    namespace.make("1", "4096");
    let (_, error) = namespace.texts(["save", "/nowhere/at/all"], 4);
    assert!(error.contains("/nowhere/at/all"), "{error}");
    namespace.texts(["restore", "/nowhere/at/all"], 3);
    namespace.texts(["save"], 2);
    assert_eq!(entries(namespace.base()), [namespace.runtime()]);
}

#[test]
fn a_marked_segment_is_left_out() {
    let namespace = Namespace::new();
    namespace.make("2", "4096");
    let _holder = namespace.hold(&["make", "1", "4096", "600", "attach", "remove", "hold"]);
    let archive = namespace.base().join("archive");
    let (_, error) = namespace.texts(["save", archive.to_str().unwrap()], 0);
    assert!(error.contains("1 of 2"), "{error}");
    let copy = Namespace::new();
    copy.texts(["restore", archive.to_str().unwrap()], 0);
    assert_eq!(files(&copy).len(), 1);
    copy.texts(["check"], 0);
}

#[test]
fn owners_of_all_users_come_back_for_root_and_become_ones_own() {
    if !common::is_root() {
        return eprintln!("skipped: takes root, for a second user");
    }
    let namespace = common::shared();
    let system = |arguments: &[&'static str]| [&["--scope", "system"], arguments].concat();
    namespace.texts(system(&["create", "--key", "1", "--size", "10"]), 0);
    let create = system(&["create", "--key", "2", "--size", "10", "--mode", "640"]);
    let status = namespace.shmshim_std(create).uid(54001).gid(54001).status();
    assert!(status.unwrap().success());
    let archive = namespace.base().join("archive");
    let save = ["--scope", "system", "save", archive.to_str().unwrap()];
    namespace.texts(save, 0);
    let copy = common::shared();
    let restore = ["--scope", "system", "restore", archive.to_str().unwrap()];
    copy.texts(restore, 0);
    assert_eq!(files(&copy), files(&namespace));
    let owners = |namespace: &Namespace| {
        let mut owners: Vec<(u32, u32)> = entries(&namespace.runtime().join("segments"))
            .iter()
            .map(|path| path.metadata().unwrap())
            .map(|metadata| (metadata.uid(), metadata.gid()))
            .collect();
        owners.sort_unstable();
        owners
    };
    assert_eq!(owners(&copy), [(0, 0), (54001, 54001)]);
    copy.texts(["--scope", "system", "check"], 0);
    // Another user cannot make files for others.
    let mine = common::shared();
    std::fs::set_permissions(&archive, std::fs::Permissions::from_mode(0o644)).unwrap();
    let restore = |more: &[&str]| {
        let arguments = [&["restore", archive.to_str().unwrap()], more].concat();
        mine.shmshim_std(arguments)
            .uid(54001)
            .gid(54001)
            .output()
            .unwrap()
    };
    let refused = restore(&[]);
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--own"));
    assert_eq!(entries(mine.base()), Vec::<PathBuf>::new());
    assert_eq!(restore(&["--own"]).status.code(), Some(0));
    assert_eq!(owners(&mine), [(54001, 54001), (54001, 54001)]);
}
