//! Opening a namespace; making its table, and making it again where it was removed.

use super::recover;
use super::{Namespace, Rules};
use crate::os::file::{self, Fd, Status};
use crate::os::path::Path;
use crate::os::{OsError, OsResult, dir, process};
use crate::storage::error::{StorageError, Stored, beyond_limits};
use crate::storage::ipc;
use crate::storage::runtime_dir::{Place, RuntimeDir, Scope, TABLE_MODES, check};
use crate::storage::sentence;
use crate::storage::table::events::{self, About, What};
use crate::storage::table::layout::{self, header, record};
use crate::storage::table::parts;
use crate::storage::table::{Identity, Table, TableMap};

pub(super) const TABLE: &[u8] = b"registry";
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

impl Namespace {
    /// Opens the namespace that the settings name, making it if there is none. Signals are blocked.
    pub fn open(rules: &Rules) -> Stored<Namespace> {
        beyond_limits(|| Namespace::open_here(rules))
    }

    /// Makes the namespace of system scope, which the settings ask for, if there is none; it is not opened. Signals are
    /// blocked.
    #[inline(never)]
    pub fn make_for_all(rules: &Rules) {
        if let Some(place) = Place::missing_for_all() {
            // What is in the way is said of the first call.
            let _ = beyond_limits(|| place.make(|hidden, built| make_table(hidden, built, rules)));
        }
    }

    fn open_here(rules: &Rules) -> Stored<Namespace> {
        Namespace::open_in(Place::choose()?, rules)
    }

    #[inline(never)]
    pub(in crate::storage) fn open_in(mut place: Place, rules: &Rules) -> Stored<Namespace> {
        let magic = place.check_base()?;
        let rounds_files = rounds_files(magic);
        for _ in 0..10 {
            let Some(directory) = place.check_directory()? else {
                place.make(|hidden, built| make_table(hidden, built, rules))?;
                continue;
            };
            let restored = place.check_parts(&directory)?;
            let path = place.inside(TABLE);
            match file::open(&path, libc::O_RDWR, 0) {
                Ok(fd) => {
                    let (map, table) = map_table(&place, &path, &fd, directory.uid, TableMap::new)?;
                    let opened = RuntimeDir::new(&place, TABLE, &table, &directory);
                    opened.has_lost_files(restored);
                    return Ok(Namespace::new(Table::new(map), opened, rounds_files, rules));
                }
                Err(OsError(libc::ENOENT)) => {
                    restore_table(&place, rules, &directory, rounds_files)?;
                }
                Err(error) => return Err(why_not_opened(&place, &path, error, directory.uid)),
            }
        }
        Err(StorageError::system(
            "open the namespace in",
            &place.directory,
            OsError(libc::EAGAIN),
        ))
    }
}

/// Whether the file system drops what stands behind a file's end.
pub(super) fn rounds_files(magic: u64) -> bool {
    magic != TMPFS && magic != RAMFS
}

/// A link, a directory, another user's fifo, a mode: that says more than how the opening failed.
#[cold]
#[inline(never)]
pub(super) fn why_not_opened(
    place: &Place,
    path: &Path,
    error: OsError,
    owner: u32,
) -> StorageError {
    let mode = place.scope.mode(TABLE_MODES);
    file::status_of(path)
        .ok()
        .and_then(|status| check(path, &status, sentence::NOT_A_FILE, owner, mode).err())
        .unwrap_or_else(|| StorageError::system("open", path, error))
}

/// Checks an open table file and has `map` map it.
#[inline(never)]
pub(super) fn map_table(
    place: &Place,
    path: &Path,
    fd: &Fd,
    owner: u32,
    map: fn(&Fd) -> OsResult<TableMap>,
) -> Stored<(TableMap, Status)> {
    let status = place.check_table(path, fd, owner)?;
    let map = map(fd).map_err(|error| StorageError::system("map", path, error))?;
    let table = Table::new(map);
    // A table of another version may well have another length: say the better reason. No more than its first page is read,
    // which is there.
    let what = if status.len_bytes < 4096 {
        "its length is not that of a table"
    } else if table.get64(header!(magic)) != layout::MAGIC {
        "it does not begin as a table does"
    } else if table.get32(header!(version)) != layout::VERSION {
        let version = table.get32(header!(version)).into();
        let (sentence, ours) = (sentence::OTHER_VERSION, layout::VERSION.into());
        return Err(StorageError::numbers(sentence, path, version, ours));
    } else if table.get32(header!(signature)) != layout::SIGNATURE {
        "its layout has another signature"
    } else if table.get32(header!(page_bytes)) as usize != process::page_size() {
        "it was made with another page size"
    } else if status.len_bytes != layout::FILE_BYTES.into() {
        "its length is not that of a table"
    } else {
        return Ok((table.into_map(), status));
    };
    Err(StorageError::Damaged { path: *path, what })
}

/// Writes a fresh table into an open directory of ours, which is that of `place`, as `path`.
#[inline(never)]
pub(super) fn write_table(
    place: &Place,
    directory: &Fd,
    path: &Path,
    rules: &Rules,
) -> Stored<(TableMap, Status)> {
    // What an earlier try has left; the name is ours alone.
    let _ = dir::unlink_in(Some(directory), path);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let made = file::open_in(Some(directory), path, flags, 0o600).and_then(|fd| {
        file::set_len(&fd, u64::from(layout::FILE_BYTES))?;
        // The header, the bitmap, the smallest index; the first page of each area behind.
        let front = layout::INDEX + layout::INDEX_WORDS_AT_FIRST * 4;
        let parts = parts::PARTS.map(|part| (part.area, part.at_first * part.entry_bytes));
        let last = (layout::LAST_PAGE, layout::FILE_BYTES - layout::LAST_PAGE);
        for (area, len_bytes) in [(0, front)].into_iter().chain(parts).chain([last]) {
            file::allocate_behind(&fd, u64::from(area), 0, u64::from(len_bytes))?;
        }
        file::set_permissions(&fd, place.scope.mode(TABLE_MODES))?;
        let status = file::status(&fd)?;
        TableMap::new(&fd).map(|map| (map, status))
    });
    let (map, status) = made.map_err(|error| why_not_made(directory, path, error))?;
    let table = Table::new(map);
    table.set32(header!(version), layout::VERSION);
    table.set32(header!(signature), layout::SIGNATURE);
    table.set32(header!(page_bytes), process::page_size() as u32);
    table.set32(header!(index_words), layout::INDEX_WORDS_AT_FIRST);
    let cursor = (rules.fresh_cursor)(seed_of(&status));
    table.set32(header!(cursor_next), cursor.next);
    table.set32(header!(cursor_last), cursor.last as u32);
    table.set32(header!(cursor_seq), cursor.seq);
    for part in &parts::PARTS {
        table.set32(part.ready, part.at_first);
    }
    let records = layout::RECORDS_AT_FIRST;
    for index in 0..records {
        // The list of free records, lowest first.
        let next = if index + 1 < records { index + 2 } else { 0 };
        table.set32(record!(index, next_of_segment), next);
    }
    table.set32(header!(free_record), 1);
    let first = &rules.limits;
    table.set64(header!(shmmax), first.shmmax);
    table.set64(header!(shmall), first.shmall);
    table.set32(header!(shmmni), first.shmmni);
    table.set32(header!(rmid_forced), first.rmid_forced);
    table.set64(layout::LAST_PAGE, !0);
    table.set64(header!(magic), layout::MAGIC);
    Ok((table.into_map(), status))
}

#[cold]
#[inline(never)]
fn why_not_made(directory: &Fd, path: &Path, error: OsError) -> StorageError {
    match file::status_in(Some(directory), path) {
        // Neither made by us nor to be removed as a file.
        Ok(status) if error == OsError(libc::EEXIST) => {
            StorageError::of(sentence::IN_THE_WAY, path, &status)
        }
        _ => StorageError::system("make", path, error),
    }
}

/// A number that hardly any other table has.
fn seed_of(table: &Status) -> u64 {
    let (device, inode) = table.identity();
    let facts = [
        device,
        inode,
        process::now_secs() as u64,
        process::coarse_nanos(),
    ];
    facts.into_iter().fold(0, |seed: u64, fact| {
        (seed ^ fact).wrapping_mul(0x0100_0000_01b3).rotate_left(29)
    })
}

#[inline(never)]
fn make_table(hidden: &Place, built: &Fd, rules: &Rules) -> Stored<()> {
    let (map, _) = write_table(hidden, built, &hidden.inside(TABLE), rules)?;
    note_made(&Table::new(map), What::NamespaceMade, 0);
    if hidden.scope == Scope::System {
        // The directory's owner alone can make it, and may never be the first to need it.
        ipc::write_file(
            built,
            &hidden.inside(ipc::NAME),
            hidden.scope,
            &rules.ipc_limits,
        )?;
    }
    Ok(())
}

/// The first event of a table that nobody else has yet.
pub(super) fn note_made(table: &Table, what: What, segments: u32) {
    let about = About {
        what,
        id: 0,
        key: 0,
        value: segments.into(),
        other: 0,
    };
    events::put(table, 0, &about, &events::Process::own());
}

/// The directory is there and its table is not: it was removed. Its owner makes a new one from the segments' files.
#[inline(never)]
fn restore_table(place: &Place, rules: &Rules, checked: &Status, rounds_files: bool) -> Stored<()> {
    place.restore(TABLE, checked, |directory, hidden| {
        let (map, status) = write_table(place, directory, hidden, rules)?;
        let opened = RuntimeDir::new(place, b"registry.new", &status, checked);
        let namespace = Namespace::new(Table::new(map), opened, rounds_files, rules);
        adopt_all(&namespace, rounds_files).inspect_err(|_| {
            let _ = dir::unlink_in(Some(directory), hidden);
        })?;
        let segments = namespace.segments();
        note_made(namespace.table(), What::NamespaceRestored, segments);
        Ok(())
    })
}

#[inline(never)]
fn adopt_all(namespace: &Namespace, rounds_files: bool) -> Stored<()> {
    // The hidden table is known to no other process yet, so any identity will do to lock it.
    let held = namespace.lock(Identity::from_packed(0))?;
    let rounded = if rounds_files {
        layout::FLAG_ROUNDED
    } else {
        0
    };
    let segments = namespace.directory().segments();
    recover::adopt(&held, segments, rounded)?;
    namespace
        .files()
        .huge()
        .for_each_home(&mut |segments, log2| {
            let flags = layout::FLAG_NORESERVE | log2 << layout::FLAG_HUGE_SHIFT;
            recover::adopt(&held, segments, flags)
        })
}
