//! Sizes in pages.

/// Bytes in a page.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
#[inline(always)]
pub const fn page_size() -> u64 {
    4096
}

/// Where the kernel chooses: what [`set_page_size`] has said.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
static PAGE_SIZE: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(4096);

/// Bytes in a page.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
#[inline(always)]
pub fn page_size() -> u64 {
    PAGE_SIZE.load(core::sync::atomic::Ordering::Relaxed)
}

/// Says how many bytes a page of this machine has, a power of two: once, before any rule is asked.
pub fn set_page_size(bytes: u64) {
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
    PAGE_SIZE.store(bytes, core::sync::atomic::Ordering::Relaxed);
    debug_assert!(bytes == page_size());
}

/// Pages that `bytes` bytes take up, the last one whole.
pub fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(page_size())
}

/// `bytes` rounded up to whole pages. What cannot be rounded up becomes the last page
/// boundary there is.
pub fn page_align(bytes: u64) -> u64 {
    match bytes.checked_next_multiple_of(page_size()) {
        Some(aligned) => aligned,
        None => u64::MAX - (page_size() - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_whole_up_to_the_largest_size() {
        for (bytes, pages) in [
            (0, 0),
            (1, 1),
            (4095, 1),
            (4096, 1),
            (4097, 2),
            (u64::MAX - 4095, (1 << 52) - 1),
            (u64::MAX - 4094, 1 << 52),
            (u64::MAX, 1 << 52),
        ] {
            assert_eq!(pages_of(bytes), pages, "{bytes}");
        }
    }

    #[test]
    fn aligning_stops_at_the_last_page_boundary() {
        for (bytes, aligned) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (4097, 8192),
            (u64::MAX - 4095, u64::MAX - 4095),
            (u64::MAX, u64::MAX - 4095),
        ] {
            assert_eq!(page_align(bytes), aligned, "{bytes}");
        }
    }
}
