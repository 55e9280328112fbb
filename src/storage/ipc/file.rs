//! The file `ipc`: made, opened, mapped piece by piece, enlarged.

use super::layout::{self, ARENA, EXTENT, EXTENTS, Header, Part};
use crate::os::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::os::file::{self, Fd};
use crate::os::map::{LazyPiece, SharedPiece, Span};
use crate::os::path::Path;
use crate::os::{OsError, dir, helper_process};
use crate::storage::error::{StorageError, Stored, beyond_limits};
use crate::storage::process::Processes;
use crate::storage::runtime_dir::Scope;
use crate::storage::sentence;
use core::mem::offset_of;
use core::sync::atomic::AtomicBool;

pub(in crate::storage) const NAME: &[u8] = b"ipc";

/// Does some work that opens files, with the signals blocked and while no other thread forks.
pub type Undisturbed = fn(&mut (dyn FnMut() + Send));

/// What a new file begins with.
#[derive(Clone, Copy)]
pub struct FirstLimits {
    /// semmsl, semmns, semopm, semmni.
    pub sem: [u32; 4],
    /// msgmax, msgmnb, msgmni.
    pub msg: [u32; 3],
}

/// The file, mapped.
pub struct IpcFile<'p> {
    fixed: Span<'static>,
    /// Where each extent of the arena is mapped, or 0.
    extents: [LazyPiece<{ EXTENT as usize }>; EXTENTS as usize],
    processes: &'p Processes,
    /// Whether it may be changed, or is only looked at.
    writable: bool,
    /// Device and inode.
    identity: (u64, u64),
    undisturbed: Undisturbed,
    /// A thread is making this process's mark.
    pub(super) marking: AtomicBool,
}

impl<'p> IpcFile<'p> {
    /// Opens the file of a namespace, and makes it if it is not there. Signals are blocked and no other thread forks.
    pub fn open(
        processes: &'p Processes,
        first: &FirstLimits,
        undisturbed: Undisturbed,
    ) -> Stored<IpcFile<'p>> {
        beyond_limits(|| IpcFile::open_here(processes, first, undisturbed))
    }

    fn open_here(
        processes: &'p Processes,
        first: &FirstLimits,
        undisturbed: Undisturbed,
    ) -> Stored<IpcFile<'p>> {
        let directory = processes.directory();
        directory.check_in_place()?;
        let path = directory.inside(NAME);
        for _ in 0..10 {
            match file::open(&path, libc::O_RDWR, 0) {
                Ok(fd) => {
                    let status = directory.check_file(&path, &fd)?;
                    let fixed = map_fixed(&path, &fd, true)?;
                    return Ok(IpcFile {
                        fixed,
                        extents: [const { LazyPiece::empty() }; EXTENTS as usize],
                        processes,
                        writable: true,
                        identity: status.identity(),
                        undisturbed,
                        marking: AtomicBool::new(false),
                    });
                }
                Err(OsError(libc::ENOENT)) => {
                    directory.make_file(NAME, |built, hidden| {
                        write(built, hidden, directory.scope(), first)
                    })?;
                }
                Err(error) => return Err(directory.error("open", &path, error)),
            }
        }
        Err(StorageError::system("open", &path, OsError(libc::EAGAIN)))
    }

    /// Opens the file of a namespace that nobody else sees yet; it is there.
    pub(in crate::storage) fn open_hidden(
        processes: &'p Processes,
        first: &FirstLimits,
    ) -> Stored<IpcFile<'p>> {
        IpcFile::open_here(processes, first, |work| work())
    }

    /// Opens the file of a namespace to look at it; `None`: there is none. Also what it takes on disk or in memory.
    pub(super) fn look(processes: &'p Processes) -> Stored<Option<(IpcFile<'p>, u64)>> {
        let directory = processes.directory();
        let path = directory.inside(NAME);
        let fd = match file::open(&path, libc::O_RDONLY, 0) {
            Ok(fd) => fd,
            Err(OsError(libc::ENOENT)) => return Ok(None),
            Err(error) => return Err(directory.error("open", &path, error)),
        };
        let status = directory.check_file(&path, &fd)?;
        let file = IpcFile {
            fixed: map_fixed(&path, &fd, false)?,
            extents: [const { LazyPiece::empty() }; EXTENTS as usize],
            processes,
            writable: false,
            identity: status.identity(),
            undisturbed: |work| work(),
            marking: AtomicBool::new(false),
        };
        // Of what is behind its end nothing can be read. In front of the first slab there are no blocks.
        let end = file.arena_end();
        if end > layout::SLAB.into() && end > status.len_bytes.saturating_sub(ARENA.into()) {
            file.unmap();
            return Err(StorageError::Damaged {
                path,
                what: "its length is not that of a file of semaphores and queues",
            });
        }
        Ok(Some((file, status.allocated_bytes)))
    }

    /// Ends the mappings of a file of which nothing is used any more.
    pub(in crate::storage) fn unmap(&self) {
        self.fixed.end();
        for extent in &self.extents {
            extent.end();
        }
    }

    /// The processes of the namespace.
    #[inline(always)]
    pub(super) fn processes(&self) -> &'p Processes {
        self.processes
    }

    /// A 64-bit word of the header.
    #[inline(always)]
    pub(super) fn header64(&self, offset: usize) -> &'static AtomicU64 {
        self.fixed.word64(offset / 8)
    }

    /// A 32-bit word of the header.
    #[inline(always)]
    pub(super) fn header32(&self, offset: usize) -> &'static AtomicU32 {
        self.fixed.word32(offset / 4)
    }

    /// Does some work that opens files.
    pub(super) fn undisturbed<R: Send>(&self, work: impl Fn() -> R + Send + Sync) -> Option<R> {
        let mut answer = None;
        (self.undisturbed)(&mut || answer = Some(work()));
        answer
    }

    /// A number that hardly any other file has.
    pub fn seed(&self) -> u64 {
        let (device, inode) = self.identity;
        (device ^ 0x0053_454d).wrapping_mul(0x0100_0000_01b3) ^ inode
    }

    fn ready_word(&self, part: &Part) -> &'static AtomicU32 {
        self.header32(offset_of!(Header, ready) + part.number * 4)
    }

    /// Entries of a part that are backed.
    #[inline(always)]
    pub(super) fn ready(&self, part: &Part) -> u32 {
        let ready = self.ready_word(part).load(Ordering::Acquire);
        ready.clamp(part.at_first, part.most)
    }

    /// Entry `index` of a part, if it is backed.
    #[inline(always)]
    pub(super) fn entry(&self, part: &Part, index: u32) -> Option<Span<'static>> {
        let bytes = part.entry_bytes as usize;
        let at = part.area as usize + index as usize * bytes;
        (index < self.ready(part)).then(|| self.fixed.part(at, bytes))
    }

    /// Makes sure that entry `index` is backed.
    pub(super) fn ensure(&self, part: &Part, index: u32) -> Stored<()> {
        let ready = self.ready(part);
        if index < ready || ready == part.most {
            return Ok(());
        }
        let wanted = (index + 1)
            .max(ready * 2)
            .next_multiple_of(512)
            .min(part.most);
        let from = part.area + ready * part.entry_bytes;
        self.back(from.into(), ((wanted - ready) * part.entry_bytes).into())?;
        self.ready_word(part).fetch_max(wanted, Ordering::AcqRel);
        Ok(())
    }

    /// How many bytes of the arena the file has now.
    pub(super) fn arena_len(&self) -> Stored<u64> {
        let path = self.processes.directory().inside(NAME);
        let mut len = 0;
        self.with_file("look at", &path, |fd| {
            len = file::status(fd)?.len_bytes;
            Ok(())
        })?;
        Ok(len.saturating_sub(ARENA.into()))
    }

    /// Backs bytes of the file with memory, so that writing them cannot fail. Before any of an extent is used, the file has all of
    /// it: what is behind its end must not be touched.
    #[cold]
    #[inline(never)]
    pub(super) fn back(&self, offset: u64, len_bytes: u64) -> Stored<()> {
        let path = self.processes.directory().inside(NAME);
        let end = end_of_extent(offset + len_bytes);
        let backed = self.with_file("enlarge", &path, |fd| {
            file::allocate_behind(fd, offset, 0, len_bytes)?;
            if file::status(fd)?.len_bytes < end {
                // By its last byte: another process may be enlarging it at this moment, too.
                file::allocate_behind(fd, end - 1, 0, 1)?;
            }
            Ok(())
        });
        match backed {
            // A program that has become another user (a server's workers) cannot open the file any more, and has it mapped.
            Err(StorageError::Refused(_)) if self.populate(offset, len_bytes) => Ok(()),
            backed => backed,
        }
    }

    /// Backs bytes of the file by the mapping that this process has, if it has one. Whether it did.
    fn populate(&self, offset: u64, len_bytes: u64) -> bool {
        let (extent, len_bytes) = (u64::from(EXTENT), len_bytes as usize);
        let mapped = match offset.checked_sub(ARENA.into()) {
            None => self.fixed.part(offset as usize, len_bytes),
            Some(offset) => {
                let piece = self.extents.get((offset / extent) as usize);
                let Some(words) = piece.and_then(LazyPiece::get) else {
                    return false;
                };
                words.part((offset % extent) as usize, len_bytes)
            }
        };
        mapped.len_bytes() == len_bytes && mapped.populate().is_ok()
    }

    /// The extent with this number, mapped; `None`: the file does not have all of it.
    #[inline(always)]
    pub(super) fn extent(&self, number: u32) -> Option<Span<'static>> {
        match self.extents.get(number as usize)?.get() {
            Some(words) => Some(words),
            None => self.map_extent(number),
        }
    }

    #[cold]
    #[inline(never)]
    fn map_extent(&self, number: u32) -> Option<Span<'static>> {
        let path = self.processes.directory().inside(NAME);
        let offset = u64::from(ARENA) + u64::from(number) * u64::from(EXTENT);
        let mut mapped = None;
        self.with_file("map", &path, |fd| {
            if file::status(fd)?.len_bytes < offset + u64::from(EXTENT) {
                return Err(OsError(libc::ENXIO));
            }
            mapped = Some(SharedPiece::new(
                fd,
                offset,
                EXTENT as usize,
                self.writable,
            )?);
            Ok(())
        })
        .ok()?;
        self.extents.get(number as usize)?.put(mapped?)
    }

    /// Does something with the open file, which is still the one that was mapped.
    fn with_file(
        &self,
        doing: &'static str,
        path: &Path,
        mut work: impl FnMut(&Fd) -> Result<(), OsError> + Send,
    ) -> Stored<()> {
        let mut done = Ok(());
        (self.undisturbed)(&mut || {
            done = helper_process::with_descriptor(|| {
                let access = if self.writable {
                    libc::O_RDWR
                } else {
                    libc::O_RDONLY
                };
                let fd = file::open(path, access, 0)?;
                if file::status(&fd)?.identity() != self.identity {
                    return Err(OsError(libc::ENOENT));
                }
                work(&fd)
            });
        });
        done.map_err(|error| self.processes.directory().error(doing, path, error))
    }

    /// semmsl, semmns, semopm, semmni.
    #[inline]
    pub fn sem_limits(&self) -> [u32; 4] {
        [0, 1, 2, 3].map(|which| self.sem_limit(which))
    }

    /// One of them, by its place there.
    #[inline(always)]
    pub fn sem_limit(&self, which: usize) -> u32 {
        self.header32(offset_of!(Header, sem_limits) + which * 4)
            .load(Ordering::Relaxed)
    }

    /// Sets them.
    pub fn set_sem_limits(&self, limits: [u32; 4]) {
        for (at, limit) in (0..).step_by(4).zip(limits) {
            self.header32(offset_of!(Header, sem_limits) + at)
                .store(limit, Ordering::Relaxed);
        }
    }

    /// msgmax, msgmnb, msgmni.
    #[inline]
    pub fn msg_limits(&self) -> [u32; 3] {
        [0, 4, 8].map(|at| {
            self.header32(offset_of!(Header, msg_limits) + at)
                .load(Ordering::Relaxed)
        })
    }

    /// Sets them.
    pub fn set_msg_limits(&self, limits: [u32; 3]) {
        for (at, limit) in (0..).step_by(4).zip(limits) {
            self.header32(offset_of!(Header, msg_limits) + at)
                .store(limit, Ordering::Relaxed);
        }
    }
}

/// Where the extent ends whose last byte may be the one in front of `end`; the first one's end, if that is in front of it.
fn end_of_extent(end: u64) -> u64 {
    let arena = end.saturating_sub(ARENA.into()).max(1);
    u64::from(ARENA) + arena.next_multiple_of(EXTENT.into())
}

/// Maps what is not the arena of an open file that was checked.
fn map_fixed(path: &Path, fd: &Fd, writable: bool) -> Stored<Span<'static>> {
    let system = |doing, error| StorageError::system(doing, path, error);
    let status = file::status(fd).map_err(|error| system("stat", error))?;
    let damaged = |what| Err(StorageError::Damaged { path: *path, what });
    if status.len_bytes < ARENA.into() {
        return damaged("its length is not that of a file of semaphores and queues");
    }
    let piece =
        SharedPiece::new(fd, 0, ARENA as usize, writable).map_err(|error| system("map", error))?;
    let words = piece.whole();
    if words.word64(0).load(Ordering::Acquire) != layout::MAGIC {
        piece.unmap();
        return damaged("it does not begin as a file of semaphores and queues does");
    }
    let (version, signature) = (
        words.word32(2).load(Ordering::Relaxed),
        words.word32(3).load(Ordering::Relaxed),
    );
    if version != layout::VERSION {
        piece.unmap();
        let (seen, ours) = (version.into(), layout::VERSION.into());
        return Err(StorageError::numbers(
            sentence::OTHER_VERSION,
            path,
            seen,
            ours,
        ));
    }
    if signature != layout::SIGNATURE {
        piece.unmap();
        return damaged("its layout has another signature");
    }
    Ok(words)
}

/// Writes a fresh file into the open directory.
pub(in crate::storage) fn write(
    directory: &Fd,
    path: &Path,
    scope: Scope,
    first: &FirstLimits,
) -> Stored<()> {
    let _ = dir::unlink_in(Some(directory), path);
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    let made = file::open_in(Some(directory), path, flags, 0o600).and_then(|fd| {
        // The first extent can be backed by a mapping of it, too: not where the file ends.
        file::set_len(&fd, u64::from(ARENA) + u64::from(EXTENT))?;
        file::allocate_behind(&fd, 0, 0, size_of::<Header>() as u64)?;
        for part in &layout::ALL_PARTS {
            let len_bytes = u64::from(part.at_first * part.entry_bytes);
            file::allocate_behind(&fd, part.area.into(), 0, len_bytes)?;
        }
        file::set_permissions(&fd, scope.mode(crate::storage::runtime_dir::TABLE_MODES))?;
        SharedPiece::new(&fd, 0, layout::PARTS_AREA as usize, true)
    });
    let piece = made.map_err(|error| StorageError::system("make", path, error))?;
    let words = piece.whole();
    words.word32(2).store(layout::VERSION, Ordering::Relaxed);
    words.word32(3).store(layout::SIGNATURE, Ordering::Relaxed);
    // Unit 0 is no block.
    words
        .word64(offset_of!(Header, arena_end) / 8)
        .store(layout::SLAB.into(), Ordering::Relaxed);
    for part in &layout::ALL_PARTS {
        let at = offset_of!(Header, ready) / 4 + part.number;
        words.word32(at).store(part.at_first, Ordering::Relaxed);
    }
    for (at, limit) in (0..).zip(first.sem) {
        words
            .word32(offset_of!(Header, sem_limits) / 4 + at)
            .store(limit, Ordering::Relaxed);
    }
    for (at, limit) in (0..).zip(first.msg) {
        words
            .word32(offset_of!(Header, msg_limits) / 4 + at)
            .store(limit, Ordering::Relaxed);
    }
    words.word64(0).store(layout::MAGIC, Ordering::Release);
    piece.unmap();
    Ok(())
}
