//! Types that C does not have: an enumeration whose variants have members, and one that is hidden in a value that cannot be.

use std::num::NonZeroU32;

pub enum State {
    Idle,
    Running(u32),
    Waiting { seconds: u64, reason: u8 },
}

pub struct Slot {
    pub state: State,
    pub next: Option<NonZeroU32>,
    pub name: [u8; 4],
}

#[used]
#[unsafe(no_mangle)]
pub static SLOTS: [Slot; 3] = [
    Slot {
        state: State::Idle,
        next: None,
        name: *b"anna",
    },
    Slot {
        state: State::Running(9),
        next: None,
        name: [0; 4],
    },
    Slot {
        state: State::Waiting {
            seconds: 60,
            reason: 2,
        },
        next: NonZeroU32::new(5),
        name: [1, 2, 3, 4],
    },
];

fn main() {}
