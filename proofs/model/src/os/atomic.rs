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

thread_local! {
    static IN_ORDER: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// In the story told from now on a load of any word sees what was stored last: other threads run in front of it, but what one has
/// seen of a plain word orders nothing for the checker, and it would show older values of the others.
pub fn in_order(are: bool) {
    IN_ORDER.set(are);
}

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

            pub const fn plain(value: $value) -> $name {
                $name::Plain(core::sync::atomic::$name::new(value))
            }

            /// What was stored last.
            pub fn get(&self) -> $value {
                match self {
                    $name::Explored(word, _) => word.fetch_or(0, Ordering::SeqCst),
                    $name::Plain(word) => word.load(Ordering::SeqCst),
                }
            }

            /// Puts a value there that no story has written.
            pub fn put(&self, value: $value) {
                match self {
                    $name::Explored(word, _) => word.store(value, Ordering::SeqCst),
                    $name::Plain(word) => word.store(value, Ordering::SeqCst),
                }
            }

            pub fn load(&self, order: Ordering) -> $value {
                if mortal::is_dead() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        if IN_ORDER.get() {
                            return word.fetch_or(0, Ordering::AcqRel);
                        }
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
                    $name::Explored(word, _) if IN_ORDER.get() => {
                        word.swap(value, Ordering::AcqRel);
                    }
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

            pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                if !mortal::lives_to_write() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.fetch_add(value, order)
                    }
                    $name::Plain(word) => word.fetch_add(value, order),
                }
            }

            pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                self.fetch_add(value.wrapping_neg(), order)
            }

            pub fn fetch_or(&self, value: $value, order: Ordering) -> $value {
                if !mortal::lives_to_write() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.fetch_or(value, order)
                    }
                    $name::Plain(word) => word.fetch_or(value, order),
                }
            }

            pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                if !mortal::lives_to_write() {
                    return 0;
                }
                match self {
                    $name::Explored(word, looks) => {
                        looks.meet();
                        word.fetch_max(value, order)
                    }
                    $name::Plain(word) => word.fetch_max(value, order),
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

/// Stands for a word that is not there.
pub static NO_WORD: AtomicU32 = AtomicU32::plain(0);

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

/// What a process sets once: each its own.
pub struct OnceRef<'a, T>(core::marker::PhantomData<&'a T>, u8);

// SAFETY: a model checker runs all of its threads on one of the system's.
unsafe impl<T> Sync for OnceRef<'_, T> {}

impl<'a, T> OnceRef<'a, T> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> OnceRef<'a, T> {
        OnceRef(core::marker::PhantomData, 0)
    }

    fn key(&self) -> (usize, u32) {
        (core::ptr::from_ref(&self.1) as usize, mortal::me())
    }

    pub fn get(&self) -> Option<&'a T> {
        let address = mortal::thing_of(self.key())?;
        // SAFETY: what `set` was given for this process, in this story.
        Some(unsafe { &*(address as *const T) })
    }

    pub fn set(&self, value: &'a T) -> Result<(), ()> {
        if self.get().is_some() {
            return Err(());
        }
        mortal::put_thing(self.key(), core::ptr::from_ref(value) as usize);
        Ok(())
    }
}
