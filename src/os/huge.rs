//! Huge pages: what the machine has of them, where a hugetlbfs is mounted, and mappings of its files.

use super::file::{self, Fd};
use super::map::Place;
use super::pages::PageVec;
use super::path::Path;
use super::{OsError, OsResult, dir, map, raw};
use core::ffi::CStr;

/// Where the kernel shows what is mounted.
pub const MOUNTS: &CStr = c"/proc/self/mountinfo";
/// What `statfs` says of a hugetlbfs.
const HUGETLBFS: u64 = 0x9584_58f6;
/// Too much for a small stack; every line that matters is far shorter.
const TEXT_BYTES: usize = 8192;

/// Writes the log2 of each huge page size that the machine has into `out`, the default one first. Returns how many.
pub fn page_sizes_log2(out: &mut [u32]) -> OsResult<usize> {
    let mut count = 0;
    let mut add = |log2: u32| {
        if let Some(place) = out.get_mut(count) {
            *place = log2;
            count += 1;
        }
    };
    let Some(default) = default_size_log2()? else {
        return Ok(0);
    };
    add(default);
    let path = Path::from_bytes(b"/sys/kernel/mm/hugepages").unwrap_or_default();
    match file::open(&path, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
        Ok(fd) => dir::for_each_entry(&fd, |name| {
            let kib = name
                .strip_prefix(b"hugepages-")
                .and_then(|rest| rest.strip_suffix(b"kB"));
            if let Some(log2) = kib.and_then(kib_log2).filter(|&log2| log2 != default) {
                add(log2);
            }
            true
        })?,
        // Without a /sys the default size is all that can be known.
        Err(OsError(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => {}
        Err(error) => return Err(error),
    }
    Ok(count)
}

/// `None`: the kernel has no huge pages.
fn default_size_log2() -> OsResult<Option<u32>> {
    let mut found = None;
    for_each_line(c"/proc/meminfo", &mut |line| {
        let size = line
            .strip_prefix(b"Hugepagesize:")
            .and_then(|rest| rest.trim_ascii().strip_suffix(b"kB"));
        found = size.and_then(|digits| kib_log2(digits.trim_ascii()));
        size.is_none()
    })?;
    Ok(found)
}

fn kib_log2(digits: &[u8]) -> Option<u32> {
    let kib: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    kib.checked_mul(1024)
        .filter(|bytes| bytes.is_power_of_two())
        .map(u64::trailing_zeros)
}

/// The group whose members may use huge pages without a capability (`vm.hugetlb_shm_group`).
pub fn allowed_group() -> OsResult<Option<u32>> {
    let mut group = None;
    for_each_line(c"/proc/sys/vm/hugetlb_shm_group", &mut |line| {
        group = core::str::from_utf8(line.trim_ascii())
            .ok()
            .and_then(|digits| digits.parse().ok());
        false
    })?;
    Ok(group)
}

/// Whether an error says that something is not there for this process, now or later.
pub fn is_out_of_reach(error: OsError) -> bool {
    matches!(
        error.0,
        libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::ELOOP
    )
}

/// A hugetlbfs that is mounted somewhere.
#[derive(Default)]
pub struct Mount {
    /// Where.
    pub point: Path,
    /// Nothing can be made there.
    pub read_only: bool,
}

/// Finds the `nth` hugetlbfs with pages of that size. `Ok(false)`: there are not so many. One whose path is longer
/// than ours can be is left out, and so is one that another file system has been mounted over, or that is
/// [out of reach](is_out_of_reach). One that could not be looked at for another reason is left out, too, with the reason
/// in `unseen`.
pub fn nth_hugetlbfs(
    size_log2: u32,
    nth: usize,
    mount: &mut Mount,
    unseen: &mut Option<OsError>,
) -> OsResult<bool> {
    let mut before = 0;
    let mut found = false;
    for_each_line(MOUNTS, &mut |line| {
        let system = match parse_mount(line, mount) {
            Some(log2) if log2 == size_log2 => file::file_system_of(&mount.point),
            _ => return true,
        };
        match system {
            Ok(system) if system.magic == HUGETLBFS => {
                found = before == nth;
                before += 1;
            }
            Err(error) if !is_out_of_reach(error) => {
                unseen.get_or_insert(error);
            }
            _ => {}
        }
        !found
    })?;
    Ok(found)
}

/// Reads a line of mountinfo. Returns the log2 of the page size if it is about a hugetlbfs.
pub(crate) fn parse_mount(line: &[u8], mount: &mut Mount) -> Option<u32> {
    // "101 80 0:51 / /dev/hugepages rw,relatime shared:1 - hugetlbfs none rw,pagesize=2M"
    let mut fields = line.split(|&byte| byte == b' ');
    let point = fields.nth(4)?;
    let of_mount = fields.next()?;
    let mut behind = fields.skip_while(|field| *field != b"-").skip(1);
    if behind.next()? != b"hugetlbfs" {
        return None;
    }
    let of_system = behind.nth(1)?;
    let is_read_only = |options: &[u8]| options.split(|&byte| byte == b',').next() == Some(b"ro");
    let size = of_system
        .split(|&byte| byte == b',')
        .find_map(|option| option.strip_prefix(b"pagesize="))?;
    let (digits, kib_each) = match size.split_last()? {
        (b'K', digits) => (digits, 1u64),
        (b'M', digits) => (digits, 1 << 10),
        (b'G', digits) => (digits, 1 << 20),
        _ => return None,
    };
    let number: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    let bytes = number.checked_mul(kib_each)?.checked_mul(1024)?;
    unescape(point, &mut mount.point)?;
    mount.read_only = is_read_only(of_mount) || is_read_only(of_system);
    bytes.is_power_of_two().then(|| bytes.trailing_zeros())
}

/// A path as the kernel shows it: blanks, line ends and backslashes stand there as three octal digits.
fn unescape(text: &[u8], path: &mut Path) -> Option<()> {
    *path = Path::new();
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        let mut byte = first;
        if let (
            b'\\',
            &[
                high @ b'0'..=b'3',
                middle @ b'0'..=b'7',
                low @ b'0'..=b'7',
                ..,
            ],
        ) = (first, behind)
        {
            byte = (high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0');
            rest = behind.get(3..)?;
        }
        path.push(&[byte])?;
    }
    Some(())
}

/// Calls `each` with every line of a file of the kernel's, until it answers `false`. A line that is longer than
/// the buffer is left out.
fn for_each_line(path: &CStr, each: &mut dyn FnMut(&[u8]) -> bool) -> OsResult<()> {
    let mut text = PageVec::new();
    text.reserve(TEXT_BYTES)?;
    while text.len() < TEXT_BYTES && text.insert(text.len(), 0u8) {}
    let fd = file::open_following(path, libc::O_RDONLY)?;
    // Bytes in the buffer that belong to a line whose end has not come yet.
    let mut held = 0;
    let mut too_long = false;
    loop {
        let more = match text.get_mut(held..) {
            Some(room) if !room.is_empty() => file::read(&fd, room)?,
            _ => {
                (held, too_long) = (0, true);
                continue;
            }
        };
        let mut rest = text.get(..held + more).unwrap_or(&[]);
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = rest.split_at(end);
            if !too_long && !each(line) {
                return Ok(());
            }
            too_long = false;
            rest = behind.get(1..).unwrap_or(&[]);
        }
        if more == 0 {
            return Ok(());
        }
        let (filled, left) = (held + more, rest.len());
        text.copy_within(filled - left..filled, 0);
        held = left;
    }
}

/// Sets huge pages aside for the whole of a file on a hugetlbfs. They stay with the file until it is gone.
pub fn reserve(fd: &Fd, len_bytes: u64) -> OsResult<()> {
    // A shared mapping reserves, whatever may be done through it, and ending it gives nothing back.
    map_once(len_bytes, libc::MAP_SHARED, fd.number() as usize)
}

/// Whether so many bytes of huge pages could be reserved at this moment.
pub fn could_reserve(size_log2: u32, len_bytes: u64) -> bool {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    let size = (size_log2 << libc::MAP_HUGE_SHIFT) as i32;
    map_once(len_bytes, flags | size, usize::MAX).is_ok()
}

fn map_once(len_bytes: u64, flags: i32, fd: usize) -> OsResult<()> {
    let len = usize::try_from(len_bytes).map_err(|_| OsError(libc::ENOMEM))?;
    let protection = libc::PROT_NONE as usize;
    // SAFETY: a new mapping at an address that the kernel chooses disturbs nothing.
    let addr = unsafe { raw::call(raw::number::MMAP, [0, len, protection, flags as usize, fd])? };
    // SAFETY: that mapping.
    unsafe { raw::call(libc::SYS_munmap, [addr, len]) }.map(|_| ())
}

/// Maps a segment of huge pages into the host's address space: the attach itself. What is reserved for its file
/// is used, and nothing is reserved here; a page that is not to be had raises SIGBUS when it is touched.
pub fn map_segment(
    fd: &Fd,
    len_bytes: u64,
    place: Place,
    write: bool,
    exec: bool,
) -> OsResult<u64> {
    map::map_segment_as(libc::MAP_NORESERVE, fd, len_bytes, place, write, exec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_of_huge_pages_is_told_from_others() {
        for (line, expected) in [
            (
                &b"101 80 0:51 / /dev/hugepages rw,relatime - hugetlbfs none rw,pagesize=2M"[..],
                Some(("/dev/hugepages", 21, false)),
            ),
            (
                b"55 80 0:55 / /1g rw shared:3 master:2 - hugetlbfs x rw,mode=1777,pagesize=1024M,size=9",
                Some(("/1g", 30, false)),
            ),
            (
                b"55 80 0:55 / /a\\040b\\134c\\09 ro,noexec - hugetlbfs none rw,seclabel,pagesize=64K",
                Some(("/a b\\c\\09", 16, true)),
            ),
            (
                b"55 80 0:55 / /x rw,ro - hugetlbfs none ro,pagesize=1G",
                Some(("/x", 30, true)),
            ),
            (
                b"25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=2k",
                None,
            ),
            (
                b"1 2 0:3 / /hugetlbfs rw - tmpfs hugetlbfs rw,pagesize=2M",
                None,
            ),
            (b"1 2 0:3 / /x rw - hugetlbfs none rw", None),
            (b"1 2 0:3 / /x rw - hugetlbfs none rw,pagesize=3M", None),
            (b"1 2 0:3 / /x rw - hugetlbfs none rw,pagesize=", None),
            (b"1 2 0:3 / /x rw hugetlbfs none rw,pagesize=2M", None),
            (b"", None),
        ] {
            let mut mount = Mount::default();
            let found = parse_mount(line, &mut mount)
                .map(|log2| (mount.point.to_string(), log2, mount.read_only));
            let expected = expected.map(|(point, log2, ro)| (point.to_string(), log2, ro));
            assert_eq!(found, expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn lines_come_whole_whatever_lies_before_them() {
        use std::io::Write;
        let mut path = std::env::temp_dir();
        path.push(format!("shmshim-lines-{}", std::process::id()));
        let mut file = std::fs::File::create(&path).unwrap();
        let long = vec![b'x'; TEXT_BYTES + 100];
        let just_fits = vec![b'y'; TEXT_BYTES - 1];
        for line in [&b"first"[..], &long, b"", &just_fits, b"last"] {
            file.write_all(line).unwrap();
            file.write_all(b"\n").unwrap();
        }
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let mut lines = Vec::new();
        let read = for_each_line(&name, &mut |line| {
            lines.push(line.to_vec());
            true
        });
        std::fs::remove_file(&path).unwrap();
        assert_eq!(read, Ok(()));
        assert_eq!(lines, [&b"first"[..], b"", &just_fits, b"last"]);
    }
}
