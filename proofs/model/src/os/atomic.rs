//! The model checker's atomics, in front of each write of which a process can die.

use crate::checker::atomic as model;
use crate::mortal;

pub use crate::checker::atomic::{Ordering, fence};

/// What `src/storage` says for the model.
pub const fn real_or_model(_real: u32, model: u32) -> u32 {
    model
}

/// A turn of a loop that waits for somebody: there are two at most here, so nobody has to be let through.
pub fn spin_loop() {}

macro_rules! word {
    ($name:ident, $value:ty) => {
        /// A word of shared memory.
        pub enum $name {
            /// Every value that a load may see is tried.
            Explored(model::$name, Looks),
            /// A load sees what was stored last: see [`super::map::leave_plain`].
            Plain(core::sync::atomic::$name),
        }

        impl $name {
            pub fn new(value: $value) -> $name {
                $name::Explored(model::$name::new(value), Looks::new())
            }

            pub fn plain(value: $value) -> $name {
                $name::Plain(value.into())
            }

            pub fn load(&self, order: Ordering) -> $value {
                if mortal::is_dead() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.look();
                        word.load(order)
                    }
                    $name::Plain(word) => word.load(order),
                }
            }

            pub fn store(&self, value: $value, order: Ordering) {
                if !mortal::lives_to_write() {
                    return;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.store(value, order);
                    }
                    $name::Plain(word) => word.store(value, order),
                }
            }

            pub fn swap(&self, value: $value, order: Ordering) -> $value {
                if !mortal::lives_to_write() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.swap(value, order)
                    }
                    $name::Plain(word) => word.swap(value, order),
                }
            }

            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                if !mortal::lives_to_write() {
                    return Ok(current);
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.compare_exchange(current, new, success, failure)
                    }
                    $name::Plain(word) => word.compare_exchange(current, new, success, failure),
                }
            }
        }
    };
}

word!(AtomicU32, u32);
word!(AtomicU64, u64);

/// Who has looked at a word.
///
/// Loom keeps the last access to a word and no other. A writer that looks at the word before it writes to it (as with
/// every version here) would hide that somebody else has looked at it meanwhile, and the order in which the store
/// comes before that look would never be tried. So each thread's looks leave a mark of their own, which each writer
/// meets. The marks are relaxed: they order nothing.
pub struct Looks {
    #[cfg(not(feature = "shuttle"))]
    marks: [(std::sync::atomic::AtomicBool, model::AtomicBool); mortal::THREADS],
}

#[cfg(feature = "shuttle")]
impl Looks {
    fn new() -> Looks {
        Looks {}
    }

    fn look(&self) {}

    fn meet(&self) {}
}

#[cfg(not(feature = "shuttle"))]
impl Looks {
    fn new() -> Looks {
        Looks {
            marks: std::array::from_fn(|_| (false.into(), model::AtomicBool::new(false))),
        }
    }

    fn look(&self) {
        let (used, mark) = &self.marks[mortal::thread_number()];
        used.store(true, Ordering::Relaxed);
        mark.store(true, Ordering::Relaxed);
    }

    fn meet(&self) {
        let me = mortal::thread_number();
        for (number, (used, mark)) in self.marks.iter().enumerate() {
            if number != me && used.load(Ordering::Relaxed) {
                mark.store(true, Ordering::Relaxed);
            }
        }
    }
}
