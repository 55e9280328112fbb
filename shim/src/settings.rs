//! What a user may ask of the library beside its work: `SHMSHIM_TRACE`, `SHMSHIM_FAIL`, `SHMSHIM_REPORT`, `SHMSHIM_GUARD`.
//!
//! They are read once, at the first call, and not at all in a process that runs with more rights than its caller. A program
//! with none of them pays one load for each call.

use core::sync::atomic::{
    AtomicU8,
    Ordering::{Acquire, Relaxed, Release},
};

use shmshim_core::os::env;

use crate::{fail, guard, report, trace};

const UNREAD: u8 = 0;
const BEING_READ: u8 = 1;
const OFF: u8 = 2;
const ON: u8 = 3;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);

/// Whether any of them is asked for.
#[inline]
pub fn is_on() -> bool {
    match STATE.load(Acquire) {
        OFF => false,
        UNREAD => read(),
        state => state == ON,
    }
}

/// Whether it is known already that none is.
#[inline(always)]
pub fn is_known_off() -> bool {
    STATE.load(Relaxed) == OFF
}

#[cold]
#[inline(never)]
fn read() -> bool {
    // Only one reads; a call of another thread meanwhile goes without.
    if STATE
        .compare_exchange(UNREAD, BEING_READ, Acquire, Relaxed)
        .is_err()
    {
        return false;
    }
    // SAFETY: this thread has just become the one that reads, and the others do not look before `ON`.
    let is_on = !env::is_secure()
        && unsafe {
            trace::read();
            report::read();
            fail::read();
            guard::read();
            trace::is_set() || report::is_set() || fail::is_set() || guard::is_set()
        };
    // Pairs with: the load in `is_on`.
    STATE.store(if is_on { ON } else { OFF }, Release);
    is_on
}
