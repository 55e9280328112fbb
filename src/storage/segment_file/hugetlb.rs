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
use crate::os::{OsError, dir, file, helper_process, huge, pages, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::{Choice, Place, RuntimeDir, Scope};
use crate::storage::table::SlotImage;
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

/// Which home is wanted.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// One for new segments, made if need be.
    New,
    /// The one that has this segment's file, else any that there is.
    With(&'a SlotImage),
    /// Any that there is.
    Any,
}

/// What was found on one mount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// There is no such mount.
    NoMount,
    /// The mount is not for us.
    Nothing,
    /// What was wanted.
    Home,
    /// A home, without the file that was wanted.
    OtherHome,
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
        self.search(size_log2, Wanted::New, segments)
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
        if self.search(log2, Wanted::With(image), &mut path)?
            && push_file_name(&mut path, image).is_some()
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
        let mut segments = Path::new();
        for &log2 in sizes.get(..count).unwrap_or(&[]) {
            for nth in 0.. {
                let mut met = None;
                let found = self.look_at(log2, nth, Wanted::Any, &mut segments, &mut met);
                // A mount that is not for us is passed over. One that could not be checked must not be: without a slot
                // its segments would be lost for good.
                let failed = met.as_ref().and_then(StorageError::os_error);
                if let Some(error) =
                    met.filter(|_| failed.is_some_and(|error| !huge::is_out_of_reach(error)))
                {
                    return Err(error);
                }
                match found {
                    Found::NoMount => break,
                    Found::Nothing => {}
                    Found::Home | Found::OtherHome => each(&segments, log2)?,
                }
            }
        }
        Ok(())
    }

    /// Goes through the mounts with pages of that size until one has what is wanted, and puts the path of its
    /// `segments` directory into `segments`. A mount that cannot be used is passed over, and is the answer if no
    /// other can.
    ///
    /// It is a long way down from here to the last system call, and the stack may be small: nothing large is kept.
    #[inline(never)]
    fn search(&self, size_log2: u32, wanted: Wanted<'_>, segments: &mut Path) -> Stored<bool> {
        let _blocked = Blocked::all();
        helper_process::perform(
            || {
                let mut met = None;
                let mut other = None;
                for nth in 0.. {
                    match self.look_at(size_log2, nth, wanted, segments, &mut met) {
                        Found::NoMount => break,
                        Found::Nothing => {}
                        Found::Home => return Ok(true),
                        Found::OtherHome => other = Some(nth),
                    }
                }
                if let Some(nth) = other {
                    // The mounts may have changed meanwhile; then there is nothing.
                    let found = self.look_at(size_log2, nth, wanted, segments, &mut met);
                    if matches!(found, Found::Home | Found::OtherHome) {
                        return Ok(true);
                    }
                }
                met.map_or(Ok(false), Err)
            },
            |answer| answer.as_ref().err().and_then(StorageError::os_error),
        )
    }

    /// Looks at the `nth` mount with pages of that size. The first error is put into `met`.
    #[inline(never)]
    fn look_at(
        &self,
        size_log2: u32,
        nth: usize,
        wanted: Wanted<'_>,
        segments: &mut Path,
        met: &mut Option<StorageError>,
    ) -> Found {
        let mut mount = Mount::default();
        let mut unseen = None;
        let there = huge::nth_hugetlbfs(size_log2, nth, &mut mount, &mut unseen);
        if let Some(error) = unseen {
            let doing = "look at a mounted hugetlbfs";
            note(met, StorageError::Call { doing, error });
        }
        match there {
            Ok(true) => {}
            Ok(false) => return Found::NoMount,
            Err(error) => {
                note(met, cannot_read_mounts(error));
                return Found::NoMount;
            }
        }
        let make = matches!(wanted, Wanted::New);
        if make && mount.read_only {
            return Found::Nothing;
        }
        *segments = mount.point;
        match self.check_home(&mount.point, segments, make) {
            Ok(true) => {}
            Ok(false) => return Found::Nothing,
            Err(error) => {
                note(met, error);
                return Found::Nothing;
            }
        }
        mount.point = *segments;
        self.homes.remember(size_log2, &mount);
        match wanted {
            Wanted::With(image) if !has_file(&mut mount.point, image) => Found::OtherHome,
            _ => Found::Home,
        }
    }

    /// Checks this namespace's directory on a mount, and puts what lies in it behind the path of the mount point.
    /// `Ok(false)`: there is none, and none was to be made.
    #[inline(never)]
    fn check_home(&self, mount: &Path, segments: &mut Path, make: bool) -> Stored<bool> {
        self.push_directory_name(segments)?;
        let mut place = Place {
            base: *mount,
            directory: *segments,
            scope: self.directory.scope(),
            euid: match self.directory.scope() {
                Scope::User => self.directory.opened_by(),
                Scope::System => process::euid(),
            },
            choice: Choice::Mount,
        };
        place.check_base()?;
        let found = match place.check_directory()? {
            None if make => make_home(&place)?,
            found => found,
        };
        let Some(found) = found else {
            return Ok(false);
        };
        place.check_parts(&found)?;
        *segments = place.inside(b"segments");
        Ok(true)
    }

    /// Puts the name of this namespace's directory on a hugetlbfs behind the mount point.
    #[inline(never)]
    fn push_directory_name(&self, path: &mut Path) -> Stored<()> {
        let directory = self.directory.path();
        let failed = |error| StorageError::system("stat", directory, error);
        let status = file::status_of(directory).map_err(failed)?;
        if !self.directory.reaches().map_err(failed)? {
            // Somebody else's namespace may lie there now.
            return Err(failed(OsError(libc::ENOENT)));
        }
        let full = directory.as_bytes();
        let own = full.rsplit(|&byte| byte == b'/').next().unwrap_or(full);
        let (major, minor) = device_numbers(status.device);
        let pushed = path
            .push(b"/")
            .and_then(|()| path.push(own))
            .and_then(|()| path.push(b"-dev"))
            .and_then(|()| path.push_decimal(major))
            .and_then(|()| path.push(b"."))
            .and_then(|()| path.push_decimal(minor))
            .and_then(|()| path.push(b"-ino"))
            .and_then(|()| push_decimal64(path, status.inode));
        // Room for the longest name that is made below it.
        match pushed {
            Some(()) if path.as_bytes().len() + 64 < CAPACITY => Ok(()),
            _ => Err(too_long(path)),
        }
    }
}

#[inline(never)]
fn make_home(place: &Place) -> Stored<Option<Status>> {
    // Crash here: as for the namespace's own directory, what is left has a name that nobody looks up.
    place.make(|_, _| Ok(()))?;
    place.check_directory()
}

fn note(met: &mut Option<StorageError>, error: StorageError) {
    met.get_or_insert(error);
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

#[cold]
#[inline(never)]
fn too_long(path: &Path) -> StorageError {
    StorageError::system("use", path, OsError(libc::ENAMETOOLONG))
}

/// Major and minor number of a device, the same for programs of any word size.
fn device_numbers(device: u64) -> (u32, u32) {
    if cfg!(target_pointer_width = "64") {
        (libc::major(device), libc::minor(device))
    } else {
        ((device >> 32) as u32, device as u32)
    }
}

fn push_decimal64(path: &mut Path, number: u64) -> Option<()> {
    const BILLION: u64 = 1_000_000_000;
    if number < BILLION {
        return path.push_decimal(number as u32);
    }
    push_decimal64(path, number / BILLION)?;
    // The rest has nine digits, zeros in front included: without the 1 that is put before them.
    let mut rest = Path::new();
    rest.push_decimal((BILLION + number % BILLION) as u32)?;
    path.push(rest.as_bytes().get(1..)?)
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
            assert_eq!(push_decimal64(&mut path, number), Some(()));
            assert_eq!(path.as_bytes(), number.to_string().as_bytes());
        }
    }
}
