//! A namespace is looked at from one process while another one works in it. That is this test program once more, with a
//! directory of its own: its `worker` says "ready" on standard output, and ends with its standard input.

use super::inspect::{self, Attach, Segment};
use crate::registry;
use crate::storage::table::layout::{self, Header, Slot};
use crate::sysv::{Key, ShmId};
use core::mem::offset_of;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A directory that goes with its test.
struct Base(PathBuf);

impl Base {
    fn new(name: &str) -> Base {
        let base = std::env::temp_dir().join(format!("shmshim-{name}-{}", std::process::id()));
        fs::create_dir(&base).unwrap();
        fs::set_permissions(&base, fs::Permissions::from_mode(0o700)).unwrap();
        Base(base)
    }

    fn worker(&self) -> Worker {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registry::inspect_tests::worker", "--nocapture"])
            .env("SHMSHIM_TEST_WORKER", "yes")
            .env("SHMSHIM_DIR", &self.0)
            .env_remove("SHMSHIM_SCOPE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("ready")));
        Worker(child)
    }

    /// The runtime directory.
    fn directory(&self) -> PathBuf {
        self.0
            .join(format!(".shmshim-uid{}", crate::os::process::euid()))
    }

    fn table(&self) -> PathBuf {
        self.directory().join("registry")
    }

    fn open(&self) -> registry::Outcome<Option<inspect::Inspection>> {
        inspect::open(self.directory().as_os_str().as_encoded_bytes())
    }

    fn refusal(&self) -> String {
        self.open().err().unwrap().why.to_string()
    }

    fn segments(&self) -> Vec<(Segment, Vec<Attach>)> {
        let inspection = self.open().unwrap().unwrap();
        let mut found = Vec::new();
        let now = inspection.now().unwrap();
        now.each_segment(&mut |segment, attaches| found.push((*segment, attaches.to_vec())))
            .unwrap();
        found
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// It is killed at its test's end.
struct Worker(Child);

impl Worker {
    fn pid(&self) -> i32 {
        self.0.id() as i32
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn worker() {
    if std::env::var_os("SHMSHIM_TEST_WORKER").is_none() {
        return;
    }
    let kept = registry::shmget(0x162e, 8192, 0o1640).unwrap();
    let removed = registry::shmget(0, 100, 0o1600).unwrap();
    for _ in 0..3 {
        registry::shmat(kept, 0, 0).unwrap();
    }
    registry::shmat(removed, 0, 0).unwrap();
    registry::remove(removed).unwrap();
    let _ = std::io::Write::write_all(&mut std::io::stdout(), b"\nready\n");
    let _ = std::io::stdin().read(&mut [0]);
}

#[test]
fn segments_are_shown_with_those_who_have_them_attached() {
    let base = Base::new("shown");
    let worker = base.worker();
    let [(kept, attaches), (removed, of_removed)] = base.segments().try_into().unwrap();
    assert_eq!((kept.stat.key, kept.stat.segsz), (Key(0x162e), 8192));
    assert_eq!((kept.stat.nattch, kept.counted), (3, 3));
    assert_eq!(
        (kept.stat.cpid, kept.creator_is_alive),
        (worker.pid(), Some(true))
    );
    assert_eq!(kept.stat.mode, 0o640);
    assert_eq!((attaches.len(), attaches[0].count), (1, 3));
    assert_eq!(attaches[0].process.pid, worker.pid());
    assert!(attaches[0].process.is_alive);
    assert!(removed.stat.is_marked() && !removed.is_over());
    assert_eq!((of_removed[0].count, removed.stat.nattch), (1, 1));
    let status = fs::metadata(kept.file.unwrap().path.to_string()).unwrap();
    assert_eq!(status.len(), 8192);
}

#[test]
fn the_dead_are_told_from_the_living_and_nothing_is_changed() {
    let base = Base::new("dead");
    let worker = base.worker();
    let pid = worker.pid();
    drop(worker);
    let before = fs::read(base.table()).unwrap();
    let [(kept, attaches), (removed, _)] = base.segments().try_into().unwrap();
    assert_eq!((kept.stat.nattch, kept.counted), (0, 3));
    assert_eq!(kept.creator_is_alive, Some(false));
    assert_eq!(attaches[0].process.pid, pid);
    assert!(!attaches[0].process.is_alive);
    assert!(removed.is_over());
    let inspection = base.open().unwrap().unwrap();
    let now = inspection.now().unwrap();
    assert!(now.processes().iter().any(|process| process.pid == pid));
    assert!(
        fs::read(base.table()).unwrap() == before,
        "the table was changed"
    );
    assert!(kept.file.is_some_and(|file| file.identity.1 != 0));
    assert!(removed.file.is_some_and(|file| file.identity.1 != 0));
}

#[test]
fn a_segments_bytes_are_read_from_its_file() {
    let base = Base::new("bytes");
    let _worker = base.worker();
    let [(kept, _), _] = base.segments().try_into().unwrap();
    let path = kept.file.unwrap().path.to_string();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"hello", 4000).unwrap();
    let inspection = base.open().unwrap().unwrap();
    let opened = inspection.open_file(kept.stat.id).unwrap().unwrap();
    let mut read = [0; 5];
    fs::File::from(opened)
        .read_exact_at(&mut read, 4000)
        .unwrap();
    assert_eq!(&read, b"hello");
    let nobodys = ShmId::new(kept.slot, kept.stat.id.seq() + 1);
    assert!(inspection.open_file(nobodys).unwrap().is_none());
    // One that is not as the table says is not read.
    file.set_len(5000).unwrap();
    let refused = inspection.open_file(kept.stat.id).err().unwrap();
    assert!(refused.why.to_string().contains("is 5000 bytes long"));
}

#[test]
fn what_is_no_namespace_is_refused_with_the_reason() {
    let base = Base::new("refused");
    assert!(base.open().unwrap().is_none());
    let elsewhere = base.0.as_os_str().as_encoded_bytes();
    let refused = inspect::open(elsewhere).err().unwrap().why.to_string();
    assert!(refused.contains("is not called as"), "{refused}");
    let _worker = base.worker();
    let table = fs::OpenOptions::new()
        .write(true)
        .open(base.table())
        .unwrap();
    let set_mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(base.directory(), mode).unwrap();
    };
    set_mode(0o755);
    assert!(
        base.refusal().contains("has mode 0755"),
        "{}",
        base.refusal()
    );
    set_mode(0o700);
    let version = offset_of!(Header, version) as u64;
    table.write_all_at(&[99, 0, 0, 0], version).unwrap();
    assert!(
        base.refusal().contains("layout version 99"),
        "{}",
        base.refusal()
    );
    table
        .write_all_at(&layout::VERSION.to_ne_bytes(), version)
        .unwrap();
    assert_eq!(base.segments().len(), 2);
    table.write_all_at(b"no table", 0).unwrap();
    assert!(
        base.refusal().contains("does not begin as a table"),
        "{}",
        base.refusal()
    );
    table.set_len(8192).unwrap();
    assert!(
        base.refusal().contains("does not begin as a table"),
        "{}",
        base.refusal()
    );
    table.write_all_at(b"SHMSHIM\n", 0).unwrap();
    assert!(base.refusal().contains("its length"), "{}", base.refusal());
    fs::remove_file(base.table()).unwrap();
    assert!(base.refusal().contains("is missing"), "{}", base.refusal());
}

#[test]
fn a_slot_that_a_stopped_process_is_changing_is_shown_as_it_stands() {
    let base = Base::new("odd");
    let worker = base.worker();
    let table = fs::OpenOptions::new()
        .write(true)
        .open(base.table())
        .unwrap();
    let [(kept, _), _] = base.segments().try_into().unwrap();
    let version = layout::SLOT_AREA as usize
        + kept.slot as usize * size_of::<Slot>()
        + offset_of!(Slot, version);
    table.write_all_at(&[7, 0, 0, 0], version as u64).unwrap();
    let [(shown, attaches), (other, _)] = base.segments().try_into().unwrap();
    assert!(shown.is_unfinished && !other.is_unfinished);
    assert_eq!(
        (shown.stat, attaches[0].process.pid),
        (kept.stat, worker.pid())
    );
}
