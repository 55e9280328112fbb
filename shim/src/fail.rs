//! `SHMSHIM_FAIL`: calls that fail because the user wants to see what the program does then.
//!
//! ```text
//! SHMSHIM_FAIL=shmget:ENOSPC:3                       the third shmget of each process
//! SHMSHIM_FAIL=shmat:ENOMEM:p0.01,seed=7             one shmat in a hundred, the same ones in each run
//! SHMSHIM_FAIL=shmctl:EPERM:every:10,shmdt:EINVAL    each tenth shmctl, each shmdt
//! SHMSHIM_FAIL=semop:EINTR:p0.1                      one semop in ten (semtimedop is another call)
//! ```

use core::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64,
    Ordering::{Relaxed, Release},
};

use shmshim_core::os::{OsError, env, file, process};

use crate::trace::Call;
use crate::trace::line::Line;

/// Why such a call fails.
pub const WHY: &str = "asked for by SHMSHIM_FAIL";

/// Rules that there can be.
const MOST: usize = 16;

const ALWAYS: u32 = 0;
const NTH: u32 = 1;
const EVERY: u32 = 2;
const CHANCE: u32 = 3;

/// One rule: which call fails how, and when.
struct Rule {
    /// The index of the call + 1; 0: no rule.
    call: AtomicU32,
    errno: AtomicI32,
    /// One of the four above.
    when: AtomicU32,
    /// Which call, every how many, or how many of 2³².
    number: AtomicU32,
}

struct Rules {
    rules: [Rule; MOST],
    /// How often each call was made.
    counts: [AtomicU32; CALLS.len()],
    random: AtomicU64,
    is_set: AtomicBool,
}

// In the library's data, not in .bss: that could be one mapping more in every process.
#[cfg_attr(target_os = "linux", unsafe(link_section = ".data.shmshim_fail"))]
static RULES: Rules = Rules {
    rules: [const {
        Rule {
            call: AtomicU32::new(0),
            errno: AtomicI32::new(0),
            when: AtomicU32::new(0),
            number: AtomicU32::new(0),
        }
    }; MOST],
    counts: [const { AtomicU32::new(0) }; CALLS.len()],
    random: AtomicU64::new(0),
    is_set: AtomicBool::new(false),
};

const CALLS: [&str; 12] = [
    "shmget",
    "shmat",
    "shmdt",
    "shmctl",
    "semget",
    "semop",
    "semtimedop",
    "semctl",
    "msgget",
    "msgsnd",
    "msgrcv",
    "msgctl",
];

/// Whether there are rules.
pub fn is_set() -> bool {
    RULES.is_set.load(Relaxed)
}

/// The errno that this call is to fail with, if it is to fail.
pub fn wanted(call: &Call) -> Option<i32> {
    if !is_set() {
        return None;
    }
    let index = CALLS.iter().position(|name| *name == call.name())?;
    let made = RULES
        .counts
        .get(index)?
        .fetch_add(1, Relaxed)
        .wrapping_add(1);
    let mut rules = RULES.rules.iter();
    let rule = rules.find(|rule| {
        let number = rule.number.load(Relaxed);
        rule.call.load(Relaxed) == index as u32 + 1
            && match rule.when.load(Relaxed) {
                ALWAYS => true,
                NTH => made == number,
                EVERY => made % number.max(1) == 0,
                _ => random() < number,
            }
    })?;
    Some(rule.errno.load(Relaxed))
}

/// The next of a series of numbers that begins with the seed (splitmix64).
fn random() -> u32 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = RULES.random.fetch_add(STEP, Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ mixed >> 31) >> 32) as u32
}

/// Reads the variable.
pub fn read() {
    let mut text = [0; 512];
    let Some(length) = env::get(c"SHMSHIM_FAIL", &mut text) else {
        if env::is_set(c"SHMSHIM_FAIL") {
            complain(b"its value");
        }
        return;
    };
    let text = text.get(..length).unwrap_or(&[]);
    RULES.random.store(
        process::coarse_nanos() ^ (process::pid() as u64) << 32,
        Relaxed,
    );
    let mut rules = RULES.rules.iter();
    for item in text
        .split(|byte| *byte == b',')
        .filter(|item| !item.is_empty())
    {
        if parse(item, &mut rules).is_none() {
            return complain(item);
        }
    }
    let any = RULES.rules.iter().any(|rule| rule.call.load(Relaxed) != 0);
    RULES.is_set.store(any, Release);
}

/// Enters one item of the list. `None`: it cannot be read, or there is no room for so many.
fn parse<'a>(item: &[u8], rules: &mut impl Iterator<Item = &'a Rule>) -> Option<()> {
    if let Some(seed) = item.strip_prefix(b"seed=") {
        RULES.random.store(number(seed)?, Relaxed);
        return Some(());
    }
    let mut parts = item.splitn(3, |byte| *byte == b':');
    let call = parts.next()?;
    let call = CALLS.iter().position(|name| name.as_bytes() == call)?;
    let errno = OsError::named(parts.next()?)?;
    let (when, many) = match parts.next() {
        None => (ALWAYS, 0),
        Some(text) => when(text)?,
    };
    let rule = rules.next()?;
    rule.errno.store(errno.0, Relaxed);
    rule.when.store(when, Relaxed);
    rule.number.store(many, Relaxed);
    rule.call.store(call as u32 + 1, Relaxed);
    Some(())
}

fn when(text: &[u8]) -> Option<(u32, u32)> {
    if let Some(chance) = text.strip_prefix(b"p") {
        let chance: f64 = core::str::from_utf8(chance).ok()?.parse().ok()?;
        let of_all = (0.0..=1.0)
            .contains(&chance)
            .then_some(chance * 4_294_967_296.0)?;
        return Some((CHANCE, of_all.min(4_294_967_295.0) as u32));
    }
    let (when, text) = match text.strip_prefix(b"every:") {
        Some(text) => (EVERY, text),
        None => (NTH, text),
    };
    let number = u32::try_from(number(text)?).ok()?;
    (number > 0).then_some((when, number))
}

fn number(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cold]
#[inline(never)]
fn complain(item: &[u8]) {
    let item =
        std::path::Path::new(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(item));
    let mut line = Line::new();
    line.put(format_args!(
        "shmshim: SHMSHIM_FAIL makes no call fail: {} cannot be read; a list of CALL:ERRNO[:WHEN] is, \
         where WHEN is 3, every:3 or p0.01, and seed=N",
        item.display()
    ));
    file::write_fd(libc::STDERR_FILENO, line.end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_when_a_call_is_to_fail() {
        assert_eq!(when(b"3"), Some((NTH, 3)));
        assert_eq!(when(b"every:10"), Some((EVERY, 10)));
        assert_eq!(when(b"p0.25"), Some((CHANCE, 1 << 30)));
        assert_eq!(when(b"p1"), Some((CHANCE, u32::MAX)));
        for bad in [
            &b"0"[..],
            b"",
            b"p",
            b"p2",
            b"p-1",
            b"every:",
            b"every:0",
            b"third",
        ] {
            assert_eq!(when(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_rule() {
        for bad in [
            "shmget",
            "shmget:EFOO",
            "open:ENOENT",
            "seed=x",
            "shmget:ENOSPC:x",
            "seed",
        ] {
            let parsed = parse(bad.as_bytes(), &mut RULES.rules.iter());
            assert_eq!(parsed, None, "{bad}");
        }
    }
}
