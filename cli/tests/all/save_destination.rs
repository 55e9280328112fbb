//! What `shmshim save FILE` does to what stands under that name.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{Namespace, is_root};

/// A namespace with something in it, and a directory beside it.
fn begun() -> (Namespace, tempfile::TempDir) {
    let here = Namespace::new();
    here.make("0x162e", "4096");
    (here, tempfile::tempdir().unwrap())
}

fn make(program: &str, path: &Path, arguments: &[&str]) {
    let status = Command::new(program).arg(path).args(arguments).status();
    assert!(status.unwrap().success(), "{program} {}", path.display());
}

fn word(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// That these bytes are a saved namespace with the one segment.
fn assert_saved(archive: &Path) {
    let copy = Namespace::new();
    copy.texts(["restore", word(archive)], 0);
    assert_eq!(copy.json(&["ls"])[0]["key"], "0x0000162e");
}

#[test]
fn a_device_is_written_to_and_stays() {
    if !is_root() {
        return eprintln!("skipped: takes root, for a device of the test's own");
    }
    let (here, directory) = begun();
    let device = directory.path().join("null");
    make("mknod", &device, &["c", "1", "3"]);
    if fs::OpenOptions::new().write(true).open(&device).is_err() {
        return eprintln!("skipped: the file system is mounted nodev");
    }
    let before = fs::metadata(&device).unwrap();
    here.texts(["save", word(&device)], 0);
    let after = fs::symlink_metadata(&device).unwrap();
    assert!(after.file_type().is_char_device());
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert_eq!(names(directory.path()), ["null"]);
    // What a device does not take is said.
    let full = directory.path().join("full");
    make("mknod", &full, &["c", "1", "7"]);
    let error = here.error(["save", word(&full)], 4);
    assert!(error.contains("not saved"), "{error}");
    assert_eq!(names(directory.path()), ["full", "null"]);
}

#[test]
fn a_fifo_is_written_to_and_stays() {
    let (here, directory) = begun();
    let fifo = directory.path().join("fifo");
    make("mkfifo", &fifo, &[]);
    let archive = here.base().join("archive");
    let mut reader = Command::new("timeout")
        .args(["60", "cat", word(&fifo)])
        .stdout(fs::File::create(&archive).unwrap())
        .spawn()
        .unwrap();
    here.texts(["save", word(&fifo)], 0);
    let file_type = fs::symlink_metadata(&fifo).unwrap().file_type();
    assert!(file_type.is_fifo());
    assert!(reader.wait().unwrap().success());
    assert_saved(&archive);
    assert_eq!(names(directory.path()), ["fifo"]);
}

#[test]
fn a_signal_ends_what_waits_for_the_reader_of_a_fifo() {
    let (here, directory) = begun();
    let fifo = directory.path().join("fifo");
    make("mkfifo", &fifo, &[]);
    let mut saving = here.shmshim_std(["save", word(&fifo)]).spawn().unwrap();
    let stat = PathBuf::from(format!("/proc/{}/stat", saving.id()));
    let begun = Instant::now();
    while !fs::read_to_string(&stat).unwrap().contains(") S ") {
        assert_eq!(saving.try_wait().unwrap(), None);
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(saving.try_wait().unwrap(), None);
    make("kill", Path::new(&saving.id().to_string()), &[]);
    assert_eq!(saving.wait().unwrap().signal(), Some(libc::SIGTERM));
    assert_eq!(names(directory.path()), ["fifo"]);
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let (here, directory) = begun();
    let place = directory.path().join("place");
    fs::create_dir(&place).unwrap();
    let real = place.join("real");
    fs::write(&real, "old").unwrap();
    let link = directory.path().join("link");
    symlink("place/real", &link).unwrap();
    here.texts(["save", word(&link)], 0);
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("place/real"));
    assert_saved(&real);
    // What is not complete stands beside the file, not beside the link.
    let old = fs::read(&real).unwrap();
    let stands_in_the_way = place.join("real.part");
    fs::create_dir(&stands_in_the_way).unwrap();
    let error = here.error(["save", word(&link)], 4);
    assert!(error.contains("real.part is in the way"), "{error}");
    assert_eq!(fs::read(&real).unwrap(), old);
    // Standard output by its name in /proc, which is such a link.
    let output = directory.path().join("output");
    symlink("/proc/self/fd/1", &output).unwrap();
    let saved = here
        .shmshim_std(["save", word(&output)])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(saved.status.success(), "{saved:?}");
    assert_eq!(
        fs::read_link(&output).unwrap(),
        Path::new("/proc/self/fd/1")
    );
    let archive = here.base().join("archive");
    fs::write(&archive, saved.stdout).unwrap();
    assert_saved(&archive);
}

#[test]
fn what_can_hold_no_file_is_refused_and_stays() {
    let (here, directory) = begun();
    let at = |name: &str| directory.path().join(name);
    symlink("nowhere", at("dangling")).unwrap();
    symlink(".", at("to-directory")).unwrap();
    fs::create_dir(at("directory")).unwrap();
    let _socket = UnixListener::bind(at("socket")).unwrap();
    make("mkfifo", &at("file.part"), &[]);
    let before = names(directory.path());
    for (name, why) in [
        ("dangling", "is a link to nothing"),
        ("to-directory", "is a directory"),
        ("directory", "is a directory"),
        ("socket", "is a socket"),
        ("file", "file.part is in the way"),
    ] {
        let error = here.error(["save", word(&at(name))], 4);
        assert!(error.contains(why), "{error}");
        assert_eq!(names(directory.path()), before, "{name}");
    }
    assert!(at("dangling").is_symlink());
    let kind = fs::symlink_metadata(at("file.part")).unwrap().file_type();
    assert!(kind.is_fifo());
}
