//! A runtime directory has segment files and no table, because that was removed: a slot is made for each file
//! whose name, owner and mode can be those of a segment.

use crate::os::file::{self, Fd};
use crate::os::path::Path;
use crate::os::{OsError, dir, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::segment_file::parse_name;
use crate::storage::table::layout::{self, SlotState, header, slot};
use crate::storage::table::parts::SLOT_PART;
use crate::storage::table::{Held, SlotImage, grow, key_index, rebuild};

/// Makes a slot for each segment file of a directory that has lost its table. The lock is held, the table fresh.
/// What is not known any more (times, pids, the present owner if it was changed, who has it attached) starts anew.
/// `flags` are those of a slot whose file lies there.
pub fn adopt(held: &Held<'_>, directory: &Path, flags: u32) -> Stored<()> {
    let system = |doing, error| StorageError::system(doing, directory, error);
    let fd = file::open_dir_to_read(None, directory).map_err(|error| system("open", error))?;
    let mut adopted = Ok(());
    dir::for_each_entry(&fd, |name| {
        if let (Some((key, id)), Some(path)) = (parse_name(name), directory.join(name)) {
            adopted = adopt_one(held, (&fd, &path), flags, key, id);
        }
        adopted.is_ok()
    })
    .map_err(|error| system("read", error))?;
    adopted?;
    rebuild::rebuild(held);
    // Better no table than one that has forgotten keys.
    key_index::back(held, 0).map(|_| ())
}

fn adopt_one(
    held: &Held<'_>,
    (directory, path): (&Fd, &Path),
    flags: u32,
    key: i32,
    id: i32,
) -> Stored<()> {
    let table = held.table();
    // What cannot be checked must not be left out: without a slot it would be lost for good.
    let status = match file::status_in(Some(directory), path) {
        Ok(status) => status,
        Err(OsError(libc::ENOENT)) => return Ok(()),
        Err(error) => return Err(StorageError::system("stat", path, error)),
    };
    let index = id as u32 % layout::SLOTS;
    let sound = status.is_file() && status.links == 1 && status.len_bytes > 0;
    if !sound {
        return Ok(());
    }
    grow::ensure(held, &SLOT_PART, index)?;
    if table.get32(slot!(index, state)) != SlotState::Free as u32 {
        return Ok(());
    }
    let marked = status.permissions() & layout::MODE_MARKED != 0;
    // The table is known to no other process yet, and thrown away after a death.
    SlotImage {
        slot: index,
        state: SlotState::Live as u32,
        id,
        key: if marked { 0 } else { key },
        name_key: key,
        uid: status.uid,
        gid: status.gid,
        cuid: status.uid,
        cgid: status.gid,
        mode: status.permissions() & 0o1777,
        segsz: status.len_bytes,
        ctime: process::now_secs(),
        flags,
        ..SlotImage::default()
    }
    .store(table);
    let last = table.get32(header!(cursor_last)) as i32;
    if index as i32 > last {
        table.set32(header!(cursor_last), index);
        table.set32(header!(cursor_next), index + 1);
    }
    let seq = id as u32 / layout::SLOTS;
    if seq > table.get32(header!(cursor_seq)) {
        table.set32(header!(cursor_seq), seq);
    }
    Ok(())
}
