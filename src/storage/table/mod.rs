//! The shared table: its layout, its words, and what can happen to them.
//!
//! It knows no directory, no process and no rule. What a change needs to know of them it asks by way of the lock that it
//! holds ([`lock_word::Surroundings`]).

pub mod attach_record;
pub mod audit;
mod cell;
pub mod derived;
pub mod events;
pub mod grow;
pub mod identity;
mod journal;
pub mod key_index;
pub mod layout;
pub mod lock;
pub mod lock_word;
pub mod map;
pub mod parts;
pub mod rebuild;
pub mod seqlock;
pub mod slot;
pub mod slot_life;

pub use attach_record::Counted;
pub use identity::Identity;
pub use journal::Journal;
pub use lock_word::{Held, Surroundings};
pub use map::{Table, TableMap};
pub use slot::SlotImage;
