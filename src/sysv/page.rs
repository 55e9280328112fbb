//! Sizes in pages.

/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// Pages that `bytes` bytes take up, the last one whole.
pub const fn pages_of(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE)
}

/// `bytes` rounded up to whole pages. What cannot be rounded up becomes the last page
/// boundary there is.
pub const fn page_align(bytes: u64) -> u64 {
    match bytes.checked_next_multiple_of(PAGE_SIZE) {
        Some(aligned) => aligned,
        None => u64::MAX - (PAGE_SIZE - 1),
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
