//! What the machine says of its huge pages.

use super::file;
use super::path::Path;

/// Writes the log2 of each huge page size that the machine has into `out`, the default one first. Returns how many.
pub fn page_sizes_log2(out: &mut [u32]) -> usize {
    let mut count = 0;
    let mut add = |log2: u32, out: &mut [u32]| {
        if let Some(place) = out.get_mut(count) {
            *place = log2;
            count += 1;
        }
    };
    let default = default_size_log2();
    if let Some(log2) = default {
        add(log2, out);
    }
    let Some(path) = Path::from_bytes(b"/sys/kernel/mm/hugepages") else {
        return count;
    };
    if let Ok(dir) = file::open(&path, libc::O_RDONLY | libc::O_DIRECTORY, 0) {
        let _ = file::for_each_entry(&dir, |name| {
            let kib = name
                .strip_prefix(b"hugepages-")
                .and_then(|rest| rest.strip_suffix(b"kB"));
            if let Some(log2) = kib.and_then(kib_log2)
                && Some(log2) != default
            {
                add(log2, out);
            }
            true
        });
    }
    count
}

fn default_size_log2() -> Option<u32> {
    // Too much for a small stack.
    let mut text = super::pages::PageVec::new();
    text.reserve(8192).ok()?;
    while text.len() < 8192 && text.insert(text.len(), 0u8) {}
    let len = read_all(c"/proc/meminfo", &mut text)?;
    let line = text
        .get(..len)?
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Hugepagesize:"))?;
    kib_log2(line.trim_ascii().strip_suffix(b"kB")?.trim_ascii())
}

fn kib_log2(digits: &[u8]) -> Option<u32> {
    let kib: u64 = core::str::from_utf8(digits).ok()?.parse().ok()?;
    kib.checked_mul(1024)
        .filter(|bytes| bytes.is_power_of_two())
        .map(u64::trailing_zeros)
}

/// The group whose members may use huge pages without a capability (`vm.hugetlb_shm_group`).
pub fn allowed_group() -> Option<u32> {
    let mut text = [0u8; 16];
    let len = read_all(c"/proc/sys/vm/hugetlb_shm_group", &mut text)?;
    core::str::from_utf8(text.get(..len)?.trim_ascii())
        .ok()?
        .parse()
        .ok()
}

fn read_all(path: &core::ffi::CStr, out: &mut [u8]) -> Option<usize> {
    let fd = file::open_following(path, libc::O_RDONLY).ok()?;
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..) {
        match file::read(&fd, rest) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(_) => return None,
        }
    }
    Some(filled)
}
