//! Two numbers of 32 bits in a word of 64, as the blocks have them.

/// Both in one word.
#[inline(always)]
pub(super) fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The lower one.
#[inline(always)]
pub(super) fn low(word: u64) -> u32 {
    word as u32
}

/// The upper one.
#[inline(always)]
pub(super) fn high(word: u64) -> u32 {
    (word >> 32) as u32
}
