//! The file of a segment: made, opened and mapped, unlinked.
//!
//! Those of ordinary pages lie in the namespace's directory, those of huge pages on a hugetlbfs (`hugetlb.rs`).

use super::hugetlb::{Homes, HugeFiles};
use super::name::{parse_name, push_file_name};
use crate::os::file::{Fd, Status};
use crate::os::map::{self, Place};
use crate::os::path::Path;
use crate::os::{OsError, dir, file, helper_process, huge};
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::{RuntimeDir, Scope};
use crate::storage::sentence;
use crate::storage::table::SlotImage;
use crate::storage::table::layout::{FLAG_ROUNDED, page_rounded};

/// The segment files of a namespace.
#[derive(Clone, Copy)]
pub struct Files<'n> {
    pub(super) directory: &'n RuntimeDir,
    huge: HugeFiles<'n>,
}

/// The length of a segment's file.
fn file_len(image: &SlotImage) -> u64 {
    match image.huge_page_log2() {
        // No file is longer; where the segment is, no address space has room for it.
        Some(log2) => image.mapped_len().min(i64::MAX as u64 >> log2 << log2),
        None if image.flags & FLAG_ROUNDED != 0 => page_rounded(image.segsz),
        None => image.segsz,
    }
}

impl<'n> Files<'n> {
    /// Those of this runtime directory; `homes` are where those of huge pages were found so far.
    pub fn new(directory: &'n RuntimeDir, homes: &'n Homes) -> Files<'n> {
        let huge = HugeFiles::new(directory, homes);
        Files { directory, huge }
    }

    /// Those of huge pages.
    pub fn huge(&self) -> HugeFiles<'n> {
        self.huge
    }

    /// Puts the path of a segment's file into `path`, which is empty. Inlined, so that it is not filled with zeros first.
    #[inline(always)]
    pub(super) fn path_of(&self, image: &SlotImage, path: &mut Path) -> Stored<()> {
        match image.huge_page_log2() {
            None => self.ordinary_path(image, path),
            Some(log2) => *path = self.huge.segment_path(image, log2)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn ordinary_path(&self, image: &SlotImage, path: &mut Path) {
        *path = *self.directory.segments();
        let _ = push_file_name(path, image);
    }

    /// Makes the file of a reserved segment, zeroed and of its exact length and mode. With `promise` the pages of one of
    /// huge pages are reserved, too; that they are not to be had is an [`StorageError::Call`]. Signals are blocked
    /// ([`Namespace::block`](crate::storage::Namespace::block)).
    #[inline(never)]
    pub fn make(&self, image: &SlotImage, promise: bool) -> Stored<()> {
        self.directory.check_in_place()?;
        let log2 = image.huge_page_log2();
        let mut path = Path::new();
        match log2 {
            None => self.ordinary_path(image, &mut path),
            Some(log2) => path = self.huge.new_segment_path(image, log2)?,
        }
        let len = file_len(image);
        let mode = image.mode & 0o777;
        let mut doing = "make";
        // In a directory that is ours alone the name leads to what was just made, and two calls on it are cheaper than four
        // with a descriptor. It takes a file that its owner may write. What the umask takes of the mode is missed by no one
        // but the owner, whose attach gives it back, and by a table that is made anew from the files.
        let by_name = self.directory.scope() == Scope::User && log2.is_none() && mode & 0o200 != 0;
        let mut try_to_make = || {
            doing = "make";
            let dir = self.directory.open_parent(&path)?;
            if by_name {
                file::make_file(&path, mode)?;
                doing = "set the length of";
                let set = file::set_len_of(&path, len);
                if set.is_err() {
                    let _ = dir::unlink_in(None, &path);
                }
                // The umask may have taken the owner's right to write.
                if set != Err(OsError(libc::EACCES)) {
                    return set;
                }
                doing = "make";
            }
            let new = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
            let fd = file::open_in(dir.as_ref(), &path, new, mode)?;
            doing = "set the length of";
            let rest = file::set_len(&fd, len).and_then(|()| {
                doing = "set the mode of";
                if file::status(&fd)?.permissions() != mode {
                    file::set_permissions(&fd, mode)?;
                }
                if log2.is_some() && promise {
                    doing = RESERVE;
                    huge::reserve(&fd, image.mapped_len())?;
                }
                Ok(())
            });
            if rest.is_err() {
                let _ = dir::unlink_in(dir.as_ref(), &path);
            }
            rest
        };
        let mut made = helper_process::with_descriptor(&mut try_to_make);
        if made == Err(OsError(libc::ENOENT)) && log2.is_none() && self.directory.restore_parts()? {
            made = helper_process::with_descriptor(&mut try_to_make);
        }
        made.map_err(|error| self.failed(doing, &path, error))
    }

    #[cold]
    #[inline(never)]
    fn failed(&self, doing: &'static str, path: &Path, error: OsError) -> StorageError {
        match doing {
            RESERVE | MAP => StorageError::Call { doing, error },
            _ => self.directory.error(doing, path, error),
        }
    }

    /// Maps a segment into the host. The file is held against what the table says of it before it is used.
    #[inline(never)] // Its path is not to lie on the stack any longer than it has to.
    pub fn map(&self, image: &SlotImage, place: Place, write: bool, exec: bool) -> Stored<u64> {
        self.directory.check_in_place()?;
        let is_ordinary = image.huge_page_log2().is_none();
        // In a directory that is ours alone the name says whose file it is, if it is ours; the length can be wrong.
        let names_are_ours = self.directory.scope() == Scope::User
            && is_ordinary
            && image.cuid == self.directory.opened_by();
        let mut path = Path::new();
        self.path_of(image, &mut path)?;
        let everybody_writes = self.directory.scope() == Scope::System && is_ordinary;
        if everybody_writes && self.has_another_name(image)? {
            return Err(StorageError::at(sentence::NOT_ALONE, &path));
        }
        let len = image.mapped_len();
        let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
        let mut doing = "open";
        let mut unexpected = None;
        let mapped = helper_process::with_descriptor(|| {
            doing = "open";
            let dir = self.directory.open_parent(&path)?;
            let fd = file::open_in(dir.as_ref(), &path, access, 0)?;
            let is_plain = names_are_ours && file::len_of(&fd) == Ok(file_len(image));
            if !is_plain {
                doing = "stat";
                let status = file::status(&fd)?;
                if !is_as_expected(&status, image) {
                    unexpected = Some(status);
                    return Err(OsError(libc::EACCES));
                }
            }
            doing = MAP;
            map::map_segment(&fd, len, place, write, exec)
        });
        mapped.map_err(|error| match unexpected {
            Some(status) => what_is_wrong(&path, &status, image),
            None => self.failed(doing, &path, error),
        })
    }

    /// Opens a segment's file to read what is in it. The file is held against what the table says of it.
    pub fn open_to_read(&self, image: &SlotImage) -> Stored<Fd> {
        self.open(image, libc::O_RDONLY).map(|(fd, _)| fd)
    }

    /// The same to write into it; returns its path, too.
    pub(super) fn open_to_fill(&self, image: &SlotImage) -> Stored<(Fd, Path)> {
        self.open(image, libc::O_RDWR)
    }

    fn open(&self, image: &SlotImage, access: i32) -> Stored<(Fd, Path)> {
        self.directory.check_in_place()?;
        let mut path = Path::new();
        self.path_of(image, &mut path)?;
        let opened = || {
            let dir = self.directory.open_parent(&path)?;
            let fd = file::open_in(dir.as_ref(), &path, access, 0)?;
            file::status(&fd).map(|status| (fd, status))
        };
        let (fd, status) = opened().map_err(|error| self.directory.error("open", &path, error))?;
        match is_as_expected(&status, image) {
            true => Ok((fd, path)),
            false => Err(what_is_wrong(&path, &status, image)),
        }
    }

    /// Looks at a segment's file. `Ok(None)`: there is none. One that is not as the table says is an error.
    pub fn check(&self, image: &SlotImage) -> Stored<Option<Status>> {
        let (path, status) = self.found(image)?;
        match status {
            Some(status) if !is_as_expected(&status, image) => {
                Err(what_is_wrong(&path, &status, image))
            }
            status => Ok(status),
        }
    }

    /// The path of a segment's file, and what is there; nothing, if it was unlinked.
    pub fn found(&self, image: &SlotImage) -> Stored<(Path, Option<Status>)> {
        let mut path = Path::new();
        self.path_of(image, &mut path)?;
        Ok((path, file::status_of(&path).ok()))
    }

    /// Whether there is a file with the segment's id and another key in its name. In system scope the table is
    /// everybody's word, and a user who scribbles in it could give a segment's id another file; the real one they
    /// cannot remove. A file that is gone altogether is no such case: the segment was removed meanwhile.
    fn has_another_name(&self, image: &SlotImage) -> Stored<bool> {
        let mut another = false;
        let directory = self.directory.segments();
        let mut file = *directory;
        let _ = push_file_name(&mut file, image);
        let read = helper_process::with_descriptor(|| {
            another = false;
            let parent = self.directory.open_parent(&file)?;
            let here = Path::from_bytes(b".").unwrap_or_default();
            let fd = file::open_dir_to_read(parent.as_ref(), &here)?;
            dir::for_each_entry(&fd, |name| {
                another = parse_name(name)
                    .is_some_and(|(key, id)| id == image.id && key != image.name_key);
                !another
            })
        });
        match read {
            Ok(()) => Ok(another),
            Err(error) => Err(self.directory.error("read", directory, error)),
        }
    }

    /// Unlinks the file of a segment; one that is gone already is fine.
    pub fn unlink(&self, image: &SlotImage) -> Stored<()> {
        if image
            .huge_page_log2()
            .is_some_and(|log2| self.huge.unlink_known(image, log2))
        {
            return Ok(());
        }
        self.directory.check_in_place()?;
        let mut path = Path::new();
        self.path_of(image, &mut path)?;
        let unlink = || {
            let dir = self.directory.open_parent(&path)?;
            dir::unlink_in(dir.as_ref(), &path)
        };
        let unlinked = match self.directory.scope() {
            Scope::User => unlink(),
            Scope::System => helper_process::with_descriptor(unlink),
        };
        match unlinked {
            Ok(()) => Ok(()),
            // Gone, if the directory is where it was: after a chroot nothing can be said.
            Err(OsError(libc::ENOENT)) if self.directory.is_reachable() => Ok(()),
            Err(error) => Err(self.directory.error("unlink", &path, error)),
        }
    }

    /// Memory that a segment really takes, in bytes.
    pub fn resident_bytes(&self, image: &SlotImage) -> u64 {
        let mut path = Path::new();
        self.path_of(image, &mut path)
            .ok()
            .and_then(|()| file::status_of(&path).ok())
            .map_or(0, |status| status.allocated_bytes)
    }

    /// Whether the file of a segment is gone for certain. Where one of huge pages lies, this process may not be able to see.
    pub fn is_lost(&self, image: &SlotImage) -> bool {
        let mut path = Path::new();
        image.huge_page_log2().is_none()
            && self.path_of(image, &mut path).is_ok()
            && file::status_of(&path) == Err(OsError(libc::ENOENT))
            && self.directory.is_reachable()
    }
}

/// Whether a file can be that of a segment.
#[inline]
fn is_as_expected(status: &Status, image: &SlotImage) -> bool {
    // A length in the table that is too small would have the program use what lies behind its attach, and pages behind
    // the end of the file would raise SIGBUS.
    status.is_file()
        && status.uid == image.cuid
        && status.links <= 1
        && status.len_bytes == file_len(image)
}

/// Why it cannot.
#[cold]
#[inline(never)]
fn what_is_wrong(path: &Path, status: &Status, image: &SlotImage) -> StorageError {
    let wrong = |sentence| StorageError::of(sentence, path, status);
    if !status.is_file() {
        wrong(sentence::NOT_A_FILE)
    } else if status.uid != image.cuid {
        StorageError::of_other(sentence::OTHER_CREATOR, path, status, image.cuid)
    } else if status.links > 1 {
        wrong(sentence::HARD_LINKED)
    } else {
        let (len, wanted) = (status.len_bytes, file_len(image));
        StorageError::numbers(sentence::OTHER_LENGTH, path, len, wanted)
    }
}

/// What fails for want of memory or addresses, and not by the file's path.
const RESERVE: &str = "reserve huge pages";
const MAP: &str = "map the segment";
