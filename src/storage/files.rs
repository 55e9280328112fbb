//! Segment files: made, opened and mapped, unlinked; and the promise that their memory is there.
//!
//! Those of ordinary pages lie in the namespace's directory, those of huge pages on a hugetlbfs (`huge.rs`).

use super::directory::Scope;
use super::layout::{FLAG_HUGE_SHIFT, FLAG_ROUNDED};
use super::namespace::Namespace;
use super::obstacle::{Obstacle, Stored};
use super::table::SlotImage;
use crate::os::map::{self, Place};
use crate::os::path::Path;
use crate::os::{OsError, dir, file, helper_process, huge};

pub(super) const PAGE_BYTES: u64 = 4096;

/// Pages that `bytes` take.
pub fn pages_of(bytes: u64) -> u64 {
    bytes / PAGE_BYTES + u64::from(bytes % PAGE_BYTES != 0)
}

/// `bytes`, rounded up to whole pages; 0 when that does not fit in 64 bits.
pub fn page_rounded(bytes: u64) -> u64 {
    pages_of(bytes).checked_mul(PAGE_BYTES).unwrap_or(0)
}

/// The log2 of the huge page size of a segment; `None` for one of ordinary pages.
pub fn huge_page_log2(image: &SlotImage) -> Option<u32> {
    Some((image.flags >> FLAG_HUGE_SHIFT) & 63).filter(|&log2| log2 != 0)
}

/// Bytes of address space that an attach of a segment takes.
pub fn mapped_len(image: &SlotImage) -> u64 {
    match huge_page_log2(image) {
        None => page_rounded(image.segsz),
        Some(log2) => image.segsz.checked_next_multiple_of(1 << log2).unwrap_or(0),
    }
}

/// The length of a segment's file.
fn file_len(image: &SlotImage) -> u64 {
    match huge_page_log2(image) {
        // No file is longer; where the segment is, no address space has room for it.
        Some(log2) => mapped_len(image).min(i64::MAX as u64 >> log2 << log2),
        None if image.flags & FLAG_ROUNDED != 0 => page_rounded(image.segsz),
        None => image.segsz,
    }
}

/// Puts `/SYSVkkkkkkkk.<id>` behind `path`.
#[inline]
pub(super) fn push_file_name(path: &mut Path, image: &SlotImage) -> Option<()> {
    path.push(b"/SYSV")?;
    path.push_hex8(image.name_key as u32)?;
    path.push(b".")?;
    path.push_decimal(image.id as u32)
}

/// Key and id in a segment file's name, `SYSV0000162e.32769`, if it is one exactly as we write it.
pub fn parse_name(name: &[u8]) -> Option<(i32, i32)> {
    let rest = name.strip_prefix(b"SYSV")?;
    let (key, rest) = rest.split_at_checked(8)?;
    let id = rest.strip_prefix(b".")?;
    let lower_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let plain = id == b"0" || id.first().is_some_and(|first| *first != b'0');
    if !key.iter().all(lower_hex) || !plain || !id.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let key = u32::from_str_radix(core::str::from_utf8(key).ok()?, 16).ok()?;
    let id = core::str::from_utf8(id).ok()?.parse().ok()?;
    Some((key as i32, id))
}

impl Namespace {
    /// Puts the path of a segment's file into `path`, which is empty.
    #[inline]
    pub(super) fn segment_path(&self, image: &SlotImage, path: &mut Path) -> Stored<()> {
        match huge_page_log2(image) {
            None => self.ordinary_path(image, path),
            Some(log2) => *path = self.huge_segment_path(image, log2)?,
        }
        Ok(())
    }

    #[inline]
    fn ordinary_path(&self, image: &SlotImage, path: &mut Path) {
        path.begin_with(self.segments_directory());
        let _ = push_file_name(path, image);
    }

    /// Makes the file of a reserved segment, zeroed and of its exact length and mode. With `promise` the pages of one of
    /// huge pages are reserved, too; that they are not to be had is an [`Obstacle::Call`]. Signals are blocked
    /// ([`Namespace::block`]).
    #[inline(never)]
    pub fn make_segment_file(&self, image: &SlotImage, promise: bool) -> Stored<()> {
        self.check_in_place()?;
        let log2 = huge_page_log2(image);
        let mut path = Path::new();
        match log2 {
            None => self.ordinary_path(image, &mut path),
            Some(log2) => path = self.new_huge_segment_path(image, log2)?,
        }
        let len = file_len(image);
        let mode = image.mode & 0o777;
        let mut doing = "make";
        // In a directory that is ours alone the name leads to what was just made, and three calls on it are cheaper than
        // four with a descriptor. It takes a file that its owner may write.
        let by_name = self.scope() == Scope::User && log2.is_none() && mode & 0o200 != 0;
        let mut try_to_make = || {
            doing = "make";
            let dir = self.open_parent(&path)?;
            if by_name {
                file::make_file(&path, mode)?;
                doing = "set the length of";
                let set = file::set_len_of(&path, len).and_then(|()| {
                    doing = "set the mode of";
                    // The umask may have taken bits, and it does not apply to segments. Looking is cheaper than setting.
                    if file::status_of(&path)?.permissions() == mode {
                        return Ok(());
                    }
                    file::set_permissions_of(&path, mode)
                });
                if set.is_err() {
                    let _ = dir::unlink(&path);
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
                    huge::reserve(&fd, mapped_len(image))?;
                }
                Ok(())
            });
            if rest.is_err() {
                let _ = dir::unlink_in(dir.as_ref(), &path);
            }
            rest
        };
        let mut made = helper_process::with_descriptor(&mut try_to_make);
        if made == Err(OsError(libc::ENOENT)) && log2.is_none() && self.restore_parts()? {
            made = helper_process::with_descriptor(&mut try_to_make);
        }
        made.map_err(|error| match doing {
            RESERVE => Obstacle::Call { doing, error },
            _ => self.obstacle(doing, &path, error),
        })
    }

    /// Maps a segment into the host. The file is held against what the table says of it before it is used.
    #[inline(never)] // Its path is not to lie on the stack any longer than it has to.
    pub fn map_segment_file(
        &self,
        image: &SlotImage,
        place: Place,
        write: bool,
        exec: bool,
    ) -> Stored<u64> {
        self.check_in_place()?;
        let is_ordinary = huge_page_log2(image).is_none();
        // In a directory that is ours alone the name says whose file it is, if it is ours; the length can be wrong.
        let names_are_ours =
            self.scope() == Scope::User && is_ordinary && image.cuid == self.opened_by();
        let mut path = Path::new();
        self.segment_path(image, &mut path)?;
        let everybody_writes = self.scope() == Scope::System && is_ordinary;
        if everybody_writes && self.has_another_name(image)? {
            return Err(Obstacle::NotAlone { path });
        }
        let len = mapped_len(image);
        let map_segment = if is_ordinary {
            map::map_segment
        } else {
            huge::map_segment
        };
        let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
        let mut doing = Step::Open;
        let mut found = None;
        let mapped = helper_process::with_descriptor(|| {
            doing = Step::Open;
            let dir = self.open_parent(&path)?;
            let fd = file::open_in(dir.as_ref(), &path, access, 0)?;
            let is_plain = names_are_ours && file::len_of(&fd) == Ok(file_len(image));
            if !is_plain {
                doing = Step::Look;
                let status = file::status(&fd)?;
                if !is_as_expected(&status, image) {
                    doing = Step::Check;
                    found = Some(status);
                    return Err(OsError(libc::EACCES));
                }
            }
            doing = Step::Map;
            map_segment(&fd, len, place, write, exec)
        });
        mapped.map_err(|error| match (doing, found) {
            (Step::Check, Some(status)) => what_is_wrong(&path, &status, image),
            (Step::Map, _) => Obstacle::Call {
                doing: "map the segment",
                error,
            },
            (Step::Look, _) => self.obstacle("stat", &path, error),
            _ => self.obstacle("open", &path, error),
        })
    }

    /// Whether there is a file with the segment's id and another key in its name. In system scope the table is
    /// everybody's word, and one who scribbles in it could give a segment's id a file of his own; the real one he
    /// cannot remove. A file that is gone altogether is no such case: the segment was removed meanwhile.
    fn has_another_name(&self, image: &SlotImage) -> Stored<bool> {
        let mut another = false;
        let directory = self.segments_directory();
        let mut file = *directory;
        let _ = push_file_name(&mut file, image);
        let read = helper_process::with_descriptor(|| {
            another = false;
            let parent = self.open_parent(&file)?;
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
            Err(error) => Err(self.obstacle("read", directory, error)),
        }
    }

    /// Unlinks the file of a segment; one that is gone already is fine.
    pub fn unlink_segment_file(&self, image: &SlotImage) -> Stored<()> {
        if huge_page_log2(image).is_some_and(|log2| self.unlink_known(image, log2)) {
            return Ok(());
        }
        self.check_in_place()?;
        let mut path = Path::new();
        self.segment_path(image, &mut path)?;
        let unlink = || {
            let dir = self.open_parent(&path)?;
            dir::unlink_in(dir.as_ref(), &path)
        };
        let unlinked = match self.scope() {
            Scope::User => unlink(),
            Scope::System => helper_process::with_descriptor(unlink),
        };
        match unlinked {
            Ok(()) => Ok(()),
            // Gone, if the directory is where it was: after a chroot nothing can be said.
            Err(OsError(libc::ENOENT)) if self.is_reachable() => Ok(()),
            Err(error) => Err(self.obstacle("unlink", &path, error)),
        }
    }

    /// Memory that a segment really takes, in bytes.
    pub fn resident_bytes(&self, image: &SlotImage) -> u64 {
        if self.table().is_untouched(image.slot) {
            return 0;
        }
        let mut path = Path::new();
        self.segment_path(image, &mut path)
            .ok()
            .and_then(|()| file::status_of(&path).ok())
            .map_or(0, |status| status.allocated_bytes)
    }
}

/// How far the mapping of a segment has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Open,
    Look,
    Check,
    Map,
}

/// Whether a file can be that of a segment.
#[inline]
fn is_as_expected(status: &file::Status, image: &SlotImage) -> bool {
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
fn what_is_wrong(path: &Path, status: &file::Status, image: &SlotImage) -> Obstacle {
    let (path, owner) = (*path, status.uid);
    if !status.is_file() {
        return Obstacle::WrongKind {
            path,
            found: status.kind(),
            wanted: "a regular file",
            owner,
        };
    }
    if owner != image.cuid {
        return Obstacle::OtherCreator {
            path,
            owner,
            wanted: image.cuid,
        };
    }
    if status.links > 1 {
        return Obstacle::HardLinked { path, owner };
    }
    Obstacle::OtherLength {
        path,
        len_bytes: status.len_bytes,
        wanted_bytes: file_len(image),
    }
}

const RESERVE: &str = "reserve huge pages";
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_segments() {
        assert_eq!(parse_name(b"SYSV0000162e.32769"), Some((0x162e, 32769)));
        assert_eq!(parse_name(b"SYSVffffffff.0"), Some((-1, 0)));
        for other in [
            &b"SYSV0000162E.1"[..],
            b"SYSV0000162e.01",
            b"SYSV0000162e.",
            b"SYSV0000162e",
            b"SYSV162e.1",
            b"SYSV0000162e.-1",
            b"SYSV0000162e.2147483648",
            b"SYSV+000162e.1",
            b"sysv0000162e.1",
            b"",
        ] {
            assert_eq!(
                parse_name(other),
                None,
                "{}",
                String::from_utf8_lossy(other)
            );
        }
    }

    #[test]
    fn pages_never_overflow() {
        assert_eq!(pages_of(0), 0);
        assert_eq!(pages_of(1), 1);
        assert_eq!(pages_of(4097), 2);
        assert_eq!(pages_of(u64::MAX), 1 << 52);
        assert_eq!(page_rounded(u64::MAX), 0);
        assert_eq!(page_rounded(5000), 8192);
    }
}
