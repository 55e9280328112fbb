//! Opening a namespace; making its table, and making it again where somebody has removed it.

use super::directory::Place;
use super::layout::{self, header, record};
use super::live::Identity;
use super::lock;
use super::namespace::{LimitWords, Namespace};
use super::obstacle::{Obstacle, Stored};
use super::recover;
use super::room::{cells_bytes, records_bytes, slots_bytes};
use super::table::{Table, TableMap};
use crate::os::file::{self, Fd, Lock, Status};
use crate::os::path::Path;
use crate::os::{OsError, elsewhere, process};

const TABLE: &[u8] = b"registry";
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

impl Namespace {
    /// Opens the namespace that the settings name, making it if there is none. Signals are blocked.
    pub fn open(first: LimitWords) -> Stored<Namespace> {
        elsewhere::perform(
            || Namespace::open_here(first),
            |answer| answer.as_ref().err().and_then(Obstacle::os_error),
        )
    }

    #[inline(never)]
    fn open_here(first: LimitWords) -> Stored<Namespace> {
        let place = Place::choose()?;
        let magic = place.check_base()?;
        let rounds_files = magic != TMPFS && magic != RAMFS;
        for _ in 0..10 {
            if !place.check_directory()? {
                place.make(|hidden| make_table(hidden, first))?;
                continue;
            }
            let path = place.inside(TABLE);
            let opened = elsewhere::with_descriptor(|| {
                file::open(&path, libc::O_RDWR, 0).map(|fd| map_table(&place, &path, fd))
            });
            match opened {
                Ok(opened) => {
                    let (map, status) = opened?;
                    return Ok(Namespace::new(&place, TABLE, map, &status, rounds_files));
                }
                Err(OsError(libc::ENOENT)) => restore_table(&place, first, rounds_files)?,
                Err(error) => {
                    // A link, a directory, somebody's fifo: that says more than how the opening failed.
                    let status = file::status_of(&path)
                        .map_err(|_| Obstacle::system("open", &path, error))?;
                    if status.is_file() {
                        return Err(Obstacle::system("open", &path, error));
                    }
                    return Err(Obstacle::WrongKind {
                        path,
                        found: status.kind(),
                        wanted: "a regular file",
                        owner: status.uid,
                    });
                }
            }
        }
        Err(Obstacle::system(
            "settle in",
            &place.directory,
            OsError(libc::EAGAIN),
        ))
    }
}

#[inline(never)]
fn map_table(place: &Place, path: &Path, fd: Fd) -> Stored<(TableMap, Status)> {
    let status = place.check_table(path, &fd)?;
    let damaged = |what| Obstacle::Damaged { path: *path, what };
    let map = TableMap::new(&fd).map_err(|error| Obstacle::system("map", path, error))?;
    let table = Table::new(map);
    if status.len_bytes != u64::from(layout::FILE_BYTES) {
        // A table of another version may well have another length: say the better reason. No more than its first page is
        // read, which is there.
        if status.len_bytes >= 4096 {
            check_header(path, &table)?;
        }
        return Err(damaged("its length is not that of a table"));
    }
    check_header(path, &table)?;
    Ok((table.into_map(), status))
}

fn check_header(path: &Path, table: &Table) -> Stored<()> {
    let damaged = |what| Obstacle::Damaged { path: *path, what };
    if table.get64(header!(magic)) != layout::MAGIC {
        return Err(damaged("it does not begin as a table does"));
    }
    let version = table.get32(header!(version));
    if version != layout::VERSION {
        return Err(Obstacle::OtherVersion {
            path: *path,
            version,
            ours: layout::VERSION,
        });
    }
    if table.get32(header!(signature)) != layout::SIGNATURE {
        return Err(damaged("its layout has another signature"));
    }
    if table.get32(header!(page_bytes)) as usize != process::page_size() {
        return Err(damaged("it was made with another page size"));
    }
    Ok(())
}

/// Writes a fresh table into the directory of `place`, under the name `name`.
#[inline(never)]
fn write_table(place: &Place, name: &[u8], first: LimitWords) -> Stored<(TableMap, Status)> {
    let path = place.inside(name);
    let made = elsewhere::with_descriptor(|| {
        // What an earlier try has left; the name is ours alone.
        let _ = file::unlink(&path);
        let fd = file::open(&path, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL, 0o600)?;
        file::set_len(&fd, u64::from(layout::FILE_BYTES))?;
        // The header, the bitmap, the smallest index; the first page of each area behind.
        let front = layout::INDEX + layout::INDEX_WORDS_AT_FIRST * 4;
        file::allocate(&fd, 0, u64::from(front))?;
        for (area, len_bytes) in [
            (layout::CELL_AREA, cells_bytes(layout::CELLS_AT_FIRST)),
            (layout::SLOT_AREA, slots_bytes(layout::SLOTS_AT_FIRST)),
            (layout::RECORD_AREA, records_bytes(layout::RECORDS_AT_FIRST)),
            (layout::LAST_PAGE, layout::FILE_BYTES - layout::LAST_PAGE),
        ] {
            file::allocate(&fd, u64::from(area), u64::from(len_bytes))?;
        }
        file::set_permissions(&fd, place.table_mode())?;
        let status = file::status(&fd)?;
        TableMap::new(&fd).map(|map| (map, status))
    });
    let (map, status) = made.map_err(|error| Obstacle::system("make", &path, error))?;
    let table = Table::new(map);
    table.set32(header!(version), layout::VERSION);
    table.set32(header!(signature), layout::SIGNATURE);
    table.set32(header!(page_bytes), process::page_size() as u32);
    table.set32(header!(index_words), layout::INDEX_WORDS_AT_FIRST);
    table.set32(header!(cursor_last), u32::MAX);
    table.set32(header!(cells_ready), layout::CELLS_AT_FIRST);
    table.set32(header!(slots_ready), layout::SLOTS_AT_FIRST);
    let records = layout::RECORDS_AT_FIRST;
    table.set32(header!(records_ready), records);
    for index in 0..records {
        // The list of free records, lowest first.
        let next = if index + 1 < records { index + 2 } else { 0 };
        table.set32(record!(index, next_of_segment), next);
    }
    table.set32(header!(free_record), 1);
    table.set64(header!(shmmax), first.shmmax);
    table.set64(header!(shmall), first.shmall);
    table.set32(header!(shmmni), first.shmmni);
    table.set32(header!(rmid_forced), first.rmid_forced);
    table.set64(layout::LAST_PAGE, !0);
    table.set64(layout::LAST_WORD, layout::SLASH);
    table.set64(header!(magic), layout::MAGIC);
    Ok((table.into_map(), status))
}

#[inline(never)]
fn make_table(hidden: &Place, first: LimitWords) -> Stored<()> {
    write_table(hidden, TABLE, first).map(|_| ())
}

/// The directory is there and its table is not: somebody removed it. Makes a new one from the segments' files.
#[inline(never)]
fn restore_table(place: &Place, first: LimitWords, rounds_files: bool) -> Stored<()> {
    const HIDDEN: &[u8] = b"registry.new";
    let system = |doing, error| Obstacle::system(doing, &place.directory, error);
    let lock = file::open(&place.directory, libc::O_RDONLY | libc::O_DIRECTORY, 0)
        .map_err(|error| system("open", error))?;
    file::lock(&lock, Lock::Exclusive).map_err(|error| system("lock", error))?;
    if file::status_of(&place.inside(TABLE)).is_ok() {
        return Ok(());
    }
    // Crash here: a registry.new that the next one, holding the lock, removes.
    let _ = file::unlink(&place.inside(HIDDEN));
    let (map, status) = write_table(place, HIDDEN, first)?;
    let namespace = Namespace::new(place, HIDDEN, map, &status, rounds_files);
    // The hidden table is nobody else's yet, so any identity will do to lock it.
    let held = lock::lock(&namespace, Identity::from_packed(0));
    let rounded = if rounds_files {
        layout::FLAG_ROUNDED
    } else {
        0
    };
    let adopted =
        recover::adopt(&held, &namespace, &place.inside(b"segments"), rounded).and_then(|()| {
            namespace.for_each_huge_home(&mut |segments, log2| {
                let flags = layout::FLAG_NORESERVE | log2 << layout::FLAG_HUGE_SHIFT;
                recover::adopt(&held, &namespace, segments, flags)
            })
        });
    drop(held);
    if let Err(obstacle) = adopted {
        let _ = file::unlink(&place.inside(HIDDEN));
        return Err(obstacle);
    }
    match file::rename_new(&place.inside(HIDDEN), &place.inside(TABLE)) {
        Ok(()) | Err(OsError(libc::EEXIST)) => Ok(()),
        Err(error) => Err(system("put a new table into", error)),
    }
}
