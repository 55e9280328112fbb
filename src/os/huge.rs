//! Huge pages: what the machine has of them, where a hugetlbfs is mounted, and mappings of its files.

use super::file::{self, Fd, parse};
use super::path::Path;
use super::{OsError, OsResult, dir, pages};
use core::ffi::CStr;

/// Where the kernel shows what is mounted.
pub const MOUNTS: &CStr = c"/proc/self/mountinfo";
/// What `statfs` says of a hugetlbfs.
const HUGETLBFS: u64 = 0x9584_58f6;

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
    let text = file::read_whole(c"/proc/meminfo")?;
    let mut lines = text.split(|&byte| byte == b'\n');
    let size = lines.find_map(|line| line.strip_prefix(b"Hugepagesize:"));
    Ok(size
        .and_then(|size| size.strip_suffix(b"kB"))
        .and_then(kib_log2))
}

fn kib_log2(digits: &[u8]) -> Option<u32> {
    let bytes = parse::<u64>(digits)?.checked_mul(1024)?;
    bytes.is_power_of_two().then(|| bytes.trailing_zeros())
}

/// The group whose members may use huge pages without a capability (`vm.hugetlb_shm_group`).
pub fn allowed_group() -> OsResult<Option<u32>> {
    let text = file::read_whole(c"/proc/sys/vm/hugetlb_shm_group")?;
    Ok(parse(&text))
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
    for line in file::read_whole(MOUNTS)?.split(|&byte| byte == b'\n') {
        if parse_mount(line, mount) != Some(size_log2) {
            continue;
        }
        match file::file_system_of(&mount.point) {
            Ok(system) if system.magic == HUGETLBFS && before == nth => return Ok(true),
            Ok(system) => before += usize::from(system.magic == HUGETLBFS),
            Err(error) if is_out_of_reach(error) => {}
            Err(error) => _ = unseen.get_or_insert(error),
        }
    }
    Ok(false)
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
    let (digits, unit_log2) = match size.split_last()? {
        (b'K', digits) => (digits, 10),
        (b'M', digits) => (digits, 20),
        (b'G', digits) => (digits, 30),
        _ => return None,
    };
    let bytes = parse::<u64>(digits)?.checked_mul(1 << unit_log2)?;
    unescape(point, &mut mount.point)?;
    mount.read_only = is_read_only(of_mount) || is_read_only(of_system);
    bytes.is_power_of_two().then(|| bytes.trailing_zeros())
}

/// A path as the kernel shows it: blanks, line ends and backslashes stand there as three octal digits.
fn unescape(text: &[u8], path: &mut Path) -> Option<()> {
    *path = Path::new();
    let mut rest = text;
    loop {
        let (byte, behind) = match rest {
            [] => return Some(()),
            [
                b'\\',
                a @ b'0'..=b'3',
                b @ b'0'..=b'7',
                c @ b'0'..=b'7',
                behind @ ..,
            ] => ((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'), behind),
            [byte, behind @ ..] => (*byte, behind),
        };
        path.push(&[byte])?;
        rest = behind;
    }
}

/// Sets huge pages aside for the whole of a file on a hugetlbfs. They stay with the file until it is gone.
pub fn reserve(fd: &Fd, len_bytes: u64) -> OsResult<()> {
    // A shared mapping reserves, whatever may be done through it, and ending it gives nothing back.
    map_once(len_bytes, libc::MAP_SHARED, fd.number())
}

/// Whether so many bytes of huge pages could be reserved at this moment.
pub fn could_reserve(size_log2: u32, len_bytes: u64) -> bool {
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
    let size = (size_log2 << libc::MAP_HUGE_SHIFT) as i32;
    map_once(len_bytes, flags | size, -1).is_ok()
}

fn map_once(len_bytes: u64, flags: i32, fd: i32) -> OsResult<()> {
    let len = usize::try_from(len_bytes).map_err(|_| OsError(libc::ENOMEM))?;
    let addr = pages::map(0, len, libc::PROT_NONE, flags, fd)?;
    pages::unmap(addr, len)
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
}
