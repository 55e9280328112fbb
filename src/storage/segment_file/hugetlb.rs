//! Where segments of huge pages lie: on a hugetlbfs that is mounted somewhere.
//!
//! ```text
//!   /dev/hugepages/.shmshim-uid1000-dev0.25-ino5/     0700, owned by the effective uid; 1777 in system scope
//!     segments/SYSV0000162e.32769                     one file per segment, as in the namespace's own directory
//! ```
//!
//! Such a directory is made and checked by the rules of [`Place`], as if the mount point were
//! a base. Its name is that of the namespace's directory with device and inode of that behind it, so that two
//! namespaces with different bases never meet there.
//!
//! Nothing in the table says which mount a segment lies on, for programs may see different ones: the slot has the
//! page size, and the file is looked for on every mount of that size. What was found once is remembered, so that a
//! program whose filters forbid to look around can still unlink what it has attached.
//!
//! The huge pages of a segment are reserved when its file is made; they belong to the file from then on.

use super::name::push_file_name;
use crate::os::file::Status;
use crate::os::huge::Mount;
use crate::os::path::{CAPACITY, Path};
use crate::os::signal_mask::Blocked;
use crate::os::{OsError, dir, file, huge, pages, process};
use crate::storage::error::{StorageError, Stored, beyond_limits};
use crate::storage::runtime_dir::{Choice, Place, RuntimeDir, Scope};
use crate::storage::table::SlotImage;
use core::fmt::Write;
use once_cell::race::OnceRef;

/// A `segments` directory of this process's namespace on a hugetlbfs.
struct Home {
    size_log2: u32,
    segments: Path,
    /// It is on a mount that nothing can be made on.
    read_only: bool,
}

/// Those that a namespace has been found to have so far: seldom more than one or two mounts.
#[derive(Default)]
pub struct Homes([OnceRef<'static, Home>; 8]);

impl Homes {
    fn known(&self, size_log2: u32) -> impl Iterator<Item = &'static Home> + '_ {
        self.0
            .iter()
            .filter_map(OnceRef::get)
            .filter(move |home| home.size_log2 == size_log2)
    }

    /// Remembers that `home.point` is a home.
    #[inline(never)]
    fn remember(&self, size_log2: u32, home: &Mount) {
        if self
            .known(size_log2)
            .any(|known| known.segments == home.point)
        {
            return;
        }
        let Ok(home) = pages::leak(Home {
            size_log2,
            segments: home.point,
            read_only: home.read_only,
        }) else {
            return;
        };
        if !self.0.iter().any(|place| place.set(home).is_ok()) {
            pages::unleak(home);
        }
    }
}

impl Drop for Homes {
    fn drop(&mut self) {
        for home in self.0.iter().filter_map(OnceRef::get) {
            pages::unleak(home);
        }
    }
}

/// The files of segments of huge pages.
#[derive(Clone, Copy)]
pub struct HugeFiles<'n> {
    directory: &'n RuntimeDir,
    homes: &'n Homes,
}

fn is_dir(path: &Path) -> bool {
    file::status_of(path).is_ok_and(|status| status.is_dir())
}

impl<'n> HugeFiles<'n> {
    /// Those of this runtime directory.
    pub(super) fn new(directory: &'n RuntimeDir, homes: &'n Homes) -> HugeFiles<'n> {
        HugeFiles { directory, homes }
    }

    /// Makes sure that there is a directory for new segments of huge pages of that size. `Ok(false)`: no hugetlbfs
    /// with such pages is mounted.
    pub fn ensure_home(&self, size_log2: u32) -> Stored<bool> {
        self.new_home(size_log2, &mut Path::new())
    }

    fn new_home(&self, size_log2: u32, segments: &mut Path) -> Stored<bool> {
        let usable = |home: &&Home| !home.read_only && is_dir(&home.segments);
        if let Some(known) = self.homes.known(size_log2).find(usable) {
            *segments = known.segments;
            return Ok(true);
        }
        self.search(size_log2, None, segments)
    }

    /// The path of the file of a segment of huge pages that is about to be made.
    #[cold]
    #[inline(never)]
    pub(super) fn new_segment_path(&self, image: &SlotImage, log2: u32) -> Stored<Path> {
        let mut path = Path::new();
        if self.new_home(log2, &mut path)? && push_file_name(&mut path, image).is_some() {
            return Ok(path);
        }
        Err(nowhere(image))
    }

    /// The path of the file of a segment of huge pages, wherever it lies. If it is gone, the path of where it could
    /// be; if there is nowhere it could be, an error.
    #[cold]
    #[inline(never)]
    pub(super) fn segment_path(&self, image: &SlotImage, log2: u32) -> Stored<Path> {
        let mut path = Path::new();
        for known in self.homes.known(log2) {
            path = known.segments;
            if has_file(&mut path, image) {
                return Ok(path);
            }
        }
        if self.search(log2, Some(image), &mut path)? && push_file_name(&mut path, image).is_some()
        {
            return Ok(path);
        }
        Err(nowhere(image))
    }

    /// Unlinks the file of a segment of huge pages where this process has seen such files before, with no other
    /// system call than that. Returns whether it was there.
    #[cold]
    #[inline(never)]
    pub(super) fn unlink_known(&self, image: &SlotImage, log2: u32) -> bool {
        self.homes.known(log2).any(|known| {
            let mut path = known.segments;
            push_file_name(&mut path, image).is_some()
                && self
                    .directory
                    .open_parent(&path)
                    .and_then(|dir| dir::unlink_in(dir.as_ref(), &path))
                    .is_ok()
        })
    }

    /// Calls `each` with every `segments` directory of this namespace on a hugetlbfs and the log2 of the page size
    /// there. One that is not as we would have made it is not ours.
    pub fn for_each_home(&self, each: &mut dyn FnMut(&Path, u32) -> Stored<()>) -> Stored<()> {
        let mut sizes = [0u32; 16];
        let count = match huge::page_sizes_log2(&mut sizes) {
            Ok(count) => count,
            // Without huge pages there are no files of such.
            Err(error) if huge::is_out_of_reach(error) => 0,
            Err(error) => {
                let doing = "find out which huge pages there are";
                return Err(StorageError::Call { doing, error });
            }
        };
        for &log2 in sizes.get(..count).unwrap_or(&[]) {
            self.visit(log2, false, &mut |home| match home {
                Ok(segments) => each(segments, log2).map(|()| false),
                // A mount that could not be checked must not be passed over: without a slot its segments would be lost for
                // good. One that is not for us is.
                Err(error) => match error.os_error() {
                    Some(failed) if !huge::is_out_of_reach(failed) => Err(*error),
                    _ => Ok(false),
                },
            })?;
        }
        Ok(())
    }

    /// Puts the path of a `segments` directory with pages of that size into `segments`: of the one that has the file of
    /// `image`, else of any; without an image one is made if need be. A mount that cannot be used is passed over, and is the
    /// answer if no other can.
    #[inline(never)]
    fn search(
        &self,
        size_log2: u32,
        image: Option<&SlotImage>,
        segments: &mut Path,
    ) -> Stored<bool> {
        let _blocked = Blocked::all();
        beyond_limits(|| {
            let (mut met, mut found) = (None, false);
            self.visit(size_log2, image.is_none(), &mut |home| {
                match home {
                    Ok(home) => {
                        found = true;
                        *segments = *home;
                    }
                    Err(error) => {
                        met.get_or_insert(*error);
                        return Ok(false);
                    }
                }
                let Some(image) = image else { return Ok(true) };
                let is_there = has_file(segments, image);
                segments.pop();
                Ok(is_there)
            })?;
            met.filter(|_| !found).map_or(Ok(found), Err)
        })
    }

    /// Calls `each` with the `segments` directory on each mount with pages of that size, or with what is in the way, until
    /// it answers `Ok(true)`. With `make` a directory is made where there is none.
    ///
    /// It is a long way down from here to the last system call, and the stack may be small: nothing large is kept.
    #[inline(never)]
    fn visit(
        &self,
        size_log2: u32,
        make: bool,
        each: &mut dyn FnMut(Result<&Path, &StorageError>) -> Stored<bool>,
    ) -> Stored<()> {
        let mut mount = Mount::default();
        for nth in 0.. {
            let mut unseen = None;
            let there = huge::nth_hugetlbfs(size_log2, nth, &mut mount, &mut unseen);
            if let Some(error) = unseen {
                let doing = "look at a mounted hugetlbfs";
                each(Err(&StorageError::Call { doing, error }))?;
            }
            match there {
                Ok(true) if make && mount.read_only => continue,
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    each(Err(&cannot_read_mounts(error)))?;
                    break;
                }
            }
            let home = self.check_home(&mut mount.point, make);
            if matches!(home, Ok(false)) {
                continue;
            }
            if home.is_ok() {
                self.homes.remember(size_log2, &mount);
            }
            if each(home.as_ref().map(|_| &mount.point))? {
                break;
            }
        }
        Ok(())
    }

    /// Checks this namespace's directory on the mount at `path`, and has that lead to the segments in it.
    /// `Ok(false)`: there is none, and none was to be made.
    #[inline(never)]
    fn check_home(&self, path: &mut Path, make: bool) -> Stored<bool> {
        let scope = self.directory.scope();
        let mut place = Place {
            base: *path,
            directory: *path,
            scope,
            euid: match scope {
                Scope::User => self.directory.opened_by(),
                Scope::System => process::euid(),
            },
            choice: Choice::Mount,
        };
        self.push_directory_name(&mut place.directory)?;
        place.check_base()?;
        let found = match place.check_directory()? {
            None if make => make_home(&place)?,
            found => found,
        };
        let Some(found) = found else {
            return Ok(false);
        };
        place.check_parts(&found)?;
        *path = place.inside(b"segments");
        Ok(true)
    }

    /// Puts the name of this namespace's directory on a hugetlbfs behind the mount point.
    #[inline(never)]
    fn push_directory_name(&self, path: &mut Path) -> Stored<()> {
        let directory = self.directory.path();
        let failed = |error| StorageError::system("stat", directory, error);
        let status = file::status_of(directory).map_err(failed)?;
        if !self.directory.reaches().map_err(failed)? {
            // Another namespace may lie there now.
            return Err(failed(OsError(libc::ENOENT)));
        }
        let (major, minor) = device_numbers(status.device);
        let _ = path.push(b"/").and_then(|()| path.push(directory.name()));
        let pushed = write!(path, "-dev{major}.{minor}-ino{}", status.inode);
        // Room for the longest name that is made below it.
        if pushed.is_err() || path.as_bytes().len() + 64 >= CAPACITY {
            return Err(StorageError::system(
                "use",
                path,
                OsError(libc::ENAMETOOLONG),
            ));
        }
        Ok(())
    }
}

#[inline(never)]
fn make_home(place: &Place) -> Stored<Option<Status>> {
    // Crash here: as for the namespace's own directory, what is left has a name that no program opens.
    place.make(|_, _| Ok(()))?;
    place.check_directory()
}

#[cold]
#[inline(never)]
fn cannot_read_mounts(error: OsError) -> StorageError {
    let mounts = Path::from_bytes(huge::MOUNTS.to_bytes()).unwrap_or_default();
    StorageError::system("read", &mounts, error)
}

/// Puts the name of a segment's file behind `path`, and looks whether there is one.
fn has_file(path: &mut Path, image: &SlotImage) -> bool {
    push_file_name(path, image).is_some() && file::status_of(path).is_ok()
}

/// No mount of the right page size has a directory for this segment's namespace.
#[cold]
#[inline(never)]
fn nowhere(image: &SlotImage) -> StorageError {
    let mut name = Path::new();
    let _ = push_file_name(&mut name, image);
    StorageError::system(
        "find on any mounted hugetlbfs",
        &name,
        OsError(libc::ENODEV),
    )
}

/// Major and minor number of a device, the same for programs of any word size.
fn device_numbers(device: u64) -> (u32, u32) {
    if cfg!(target_pointer_width = "64") {
        (libc::major(device), libc::minor(device))
    } else {
        ((device >> 32) as u32, device as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_of_any_size_have_their_own_names() {
        for number in [
            0,
            7,
            999_999_999,
            1_000_000_000,
            1_000_000_007,
            12_000_000_000_000_000_003,
            u64::MAX,
        ] {
            let mut path = Path::new();
            assert_eq!(write!(path, "{number}"), Ok(()));
            assert_eq!(path.as_bytes(), number.to_string().as_bytes());
        }
    }
}
