//! The limits of a namespace for semaphores, and the text of the file that shows and changes them.

/// What a namespace allows. All are signed, as the kernel's: a negative one means what follows from the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SemLimits {
    /// SEMMSL: semaphores in a set.
    pub semmsl: i32,
    /// SEMMNS: semaphores in all sets.
    pub semmns: i32,
    /// SEMOPM: operations in a call of semop.
    pub semopm: i32,
    /// SEMMNI: sets.
    pub semmni: i32,
}

impl SemLimits {
    /// What every new namespace starts with.
    pub const KERNEL_DEFAULTS: SemLimits = SemLimits {
        semmsl: 32000,
        semmns: 1_024_000_000,
        semopm: 500,
        semmni: 32000,
    };
}
