//! Primary data that was damaged is made again as far as the segments' files tell it: a slot that cannot be is given
//! what its file says of it, or is free if it has none; a file without a slot gets one; a cell that cannot be is given up.
//! What is derived is rebuilt behind it.

use super::Namespace;
use crate::os::file::{self, Fd, Status};
use crate::os::path::Path;
use crate::os::{OsError, dir, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::segment_file::parse_name;
use crate::storage::table::layout::{self, CellState, SlotState, cell, header, slot};
use crate::storage::table::parts::{PARTS, SLOT_PART};
use crate::storage::table::seqlock::change_slot;
use crate::storage::table::{Held, Identity, SlotImage, audit, grow, rebuild};

impl Namespace {
    /// Repairs the table, whatever has happened to it, and ends what has no file any more. The lock must not be held.
    pub fn mend(&self, me: Identity) -> Stored<()> {
        let held = self.lock(me)?;
        rebuild::recover(&held);
        mend_header(&held);
        self.mend_cells(&held);
        self.mend_slots(&held)?;
        rebuild::rebuild(&held);
        drop(held);
        self.reap_all(me);
        self.end_lost_segments(me);
        self.mend_rights(me);
        Ok(())
    }

    fn mend_cells(&self, held: &Held<'_>) {
        let table = held.table();
        for index in 0..table.cells_ready() {
            let state = table.get32(cell!(index, state));
            if state > CellState::Forking as u32 {
                let alive = index == held.me().cell() || !self.processes().has_died(index);
                let file = self.directory().inside(b"live");
                let has_file = live_file(&file, index);
                let state = match alive && has_file {
                    true => CellState::Live,
                    false => CellState::Free,
                };
                table.set32(cell!(index, state), state as u32);
            }
            let work = table.get32(cell!(index, work));
            let is_one = work.checked_sub(1).is_some_and(|work| {
                let state = table.get32(slot!(work.min(layout::SLOTS - 1), state));
                work < table.slots_ready()
                    && (state == SlotState::Creating as u32 || state == SlotState::Dying as u32)
            });
            if work != 0 && !is_one {
                table.set32(cell!(index, work), 0);
            }
        }
    }

    fn mend_slots(&self, held: &Held<'_>) -> Stored<()> {
        let segments = self.directory().segments();
        let system = |doing, error| StorageError::system(doing, segments, error);
        let fd = file::open_dir_to_read(None, segments).map_err(|error| system("open", error))?;
        let mut mended = Ok(());
        dir::for_each_entry(&fd, |name| {
            if let Some((key, id)) = parse_name(name) {
                mended = self.mend_slot_of(held, &fd, name, key, id);
            }
            mended.is_ok()
        })
        .map_err(|error| system("read", error))?;
        mended?;
        for index in 0..held.table().slots_ready() {
            self.end_slot_without_file(held, index);
        }
        Ok(())
    }

    /// Sees that the slot of a file is that of its segment.
    fn mend_slot_of(
        &self,
        held: &Held<'_>,
        directory: &Fd,
        name: &[u8],
        key: i32,
        id: i32,
    ) -> Stored<()> {
        let table = held.table();
        let Some(path) = self.directory().segments().join(name) else {
            return Ok(());
        };
        let status = match file::status_in(Some(directory), &path) {
            Ok(status) => status,
            Err(OsError(libc::ENOENT)) => return Ok(()),
            Err(error) => return Err(StorageError::system("stat", &path, error)),
        };
        if !status.is_file() || status.links != 1 || status.len_bytes == 0 {
            return Ok(());
        }
        let index = id as u32 % layout::SLOTS;
        grow::ensure(held, &SLOT_PART, index)?;
        let image = table.image(index);
        let is_free = image.state == SlotState::Free as u32;
        if !is_free && audit::is_sound(&image) && image.huge_page_log2().is_none() {
            let is_its = image.id == id && image.name_key == key;
            let agrees = is_its && matches!(self.files().check(&image), Ok(Some(_)));
            // Another segment's, which has its own file; or one that is made or unlinked at this moment.
            let is_others = !is_its && matches!(self.files().check(&image), Ok(Some(_)));
            if agrees || is_others || image.state != SlotState::Live as u32 {
                return Ok(());
            }
        }
        let known = (!is_free).then_some(image);
        let mended = self.told_by_file(known, (key, id), &status);
        // A death in the midst of it leaves what the next repair finds as this one has.
        change_slot(held, index, || {
            table.set32(slot!(index, state), SlotState::Free as u32);
            SlotImage {
                state: SlotState::Free as u32,
                ..mended
            }
            .store(table);
            table.set32(slot!(index, state), mended.state);
        });
        Ok(())
    }

    /// What the slot of a file is to hold: what the file tells, and beside that what was `known`.
    fn told_by_file(
        &self,
        known: Option<SlotImage>,
        (key, id): (i32, i32),
        status: &Status,
    ) -> SlotImage {
        let marked = status.permissions() & layout::MODE_MARKED;
        let known_mode = known.map(|known| known.mode);
        let mode = known_mode.filter(|mode| mode & !0o3777 == 0);
        let owners = known.filter(|known| known.cuid == status.uid);
        let known = known.unwrap_or(SlotImage {
            ctime: process::now_secs(),
            ..SlotImage::default()
        });
        let rounded = self.rounds_files();
        let is_rounded_up = rounded && layout::page_rounded(known.segsz) == status.len_bytes;
        SlotImage {
            slot: id as u32 % layout::SLOTS,
            state: SlotState::Live as u32,
            id,
            key: if marked == 0 { key } else { 0 },
            name_key: key,
            uid: owners.map_or(status.uid, |known| known.uid),
            gid: owners.map_or(status.gid, |known| known.gid),
            cuid: status.uid,
            cgid: status.gid,
            mode: mode.unwrap_or(status.permissions() & 0o777) & !layout::MODE_MARKED | marked,
            segsz: match is_rounded_up {
                true => known.segsz,
                false => status.len_bytes,
            },
            flags: known.flags & layout::FLAG_NORESERVE
                | (u32::from(rounded) * layout::FLAG_ROUNDED),
            ..known
        }
    }

    fn end_slot_without_file(&self, held: &Held<'_>, index: u32) {
        let table = held.table();
        let image = table.image(index);
        let state = match image.state {
            free if free == SlotState::Free as u32 => return,
            _ if !audit::is_sound(&image) => SlotState::Free,
            // Made by nobody: what there is of its file is unlinked.
            making if making == SlotState::Creating as u32 => {
                let claimed = (0..table.cells_ready()).any(|at| {
                    table.get32(cell!(at, work)) == index + 1
                        && table.get32(cell!(at, state)) != CellState::Free as u32
                });
                if claimed {
                    return;
                }
                SlotState::Dying
            }
            _ => return,
        };
        change_slot(held, index, || {
            table.set32(slot!(index, state), state as u32)
        });
    }

    /// Gives the files their rights that do not have them.
    fn mend_rights(&self, me: Identity) {
        let Ok(held) = self.lock(me) else { return };
        for index in 0..held.table().slots_ready() {
            let image = held.table().image(index);
            if image.is_live() && image.flags & layout::FLAG_UNLINKED == 0 {
                // Those of other users' files stay as they are, which the next look says.
                let _ = self.files().set_rights(&image);
            }
        }
    }
}

fn live_file(directory: &Path, cell: u32) -> bool {
    let mut path = *directory;
    path.push(b"/")
        .and_then(|()| path.push_decimal(cell))
        .is_some_and(|()| file::status_of(&path).is_ok())
}

/// What has no other place that would tell it.
fn mend_header(held: &Held<'_>) {
    let table = held.table();
    for part in &PARTS {
        table.set32(part.ready, table.ready(part));
    }
    let (next, last) = (
        table.get32(header!(cursor_next)),
        table.get32(header!(cursor_last)) as i32,
    );
    if !audit::is_cursor(next, last) {
        // The next id has a new sequence number, so that none is given a second time.
        table.set32(header!(cursor_next), 0);
        table.set32(header!(cursor_last), layout::SLOTS - 1);
    }
    table.set32(header!(journal_len), 0);
}
