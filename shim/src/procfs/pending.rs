//! Limits that the host has opened for writing, and what it wrote.
//!
//! The host writes into a memory file. Where it does so through `write(2)` we see the call, and the limit changes
//! then and there, or the write fails with `EINVAL`, as on the kernel. Where libc writes for it (`fprintf`, the
//! `echo` of bash) no symbol is called that we could intercept. So we keep the file mapped, without a descriptor,
//! and look into it at every moment at which the host could find out: at its next call to one of the four, before
//! it opens one of the files, before it forks or executes another program, and when it exits.
//!
//! A process that never opened a limit for writing pays one load for all this.

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicPtr, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use shmshim_core::os::{errno, pages, process, usermem};
use shmshim_core::registry;
use shmshim_core::sysv::LimitName;
use spin::Mutex;

use super::content;
use super::sys;
use crate::panic_guard;

/// Limits that are kept in sight; with one more, the oldest is looked at a last time and forgotten.
const ROOM: usize = 8;

/// Bytes of what was written that are looked at. A number has 21 at most, and white space before it counts.
const TEXT_BYTES: usize = 128;

/// One limit opened for writing.
#[derive(Clone, Copy)]
struct Opened {
    name: LimitName,
    /// Where its file is mapped.
    page: usize,
    /// Device and inode of its file.
    identity: (u64, u64),
    /// Whether the host can read it too: then it holds the value from the beginning, and a write lies over that.
    readable: bool,
    /// Who opened it. A child inherits the mapping, but not the task.
    pid: i32,
    /// What it held when it was last looked at.
    seen: Text,
}

/// A text of few bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    fn of(bytes: &[u8]) -> Text {
        let mut text = Text {
            bytes: [0; TEXT_BYTES],
            len: bytes.len().min(TEXT_BYTES),
        };
        for (to, from) in text.bytes.iter_mut().zip(bytes) {
            *to = *from;
        }
        text
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

struct Table {
    opened: [Option<Opened>; ROOM],
    next: usize,
}

/// Made when the first limit is opened: most programs never do, and what they never use is not to take up a page of
/// every process.
static TABLE: AtomicPtr<Mutex<Table>> = AtomicPtr::new(core::ptr::null_mut());

fn make_table() -> Result<(), c_int> {
    if !TABLE.load(Acquire).is_null() {
        return Ok(());
    }
    let made = pages::leak(Mutex::new(Table {
        opened: [None; ROOM],
        next: 0,
    }))
    .map_err(|error| error.0)?;
    let made = (&raw const *made).cast_mut();
    // Where another thread was faster, this one's stays mapped: a page, once. Pairs with: the loads.
    let _ = TABLE.compare_exchange(core::ptr::null_mut(), made, AcqRel, Acquire);
    Ok(())
}

/// How many stand in the table. Only grows.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Does `with` to the table. `None` when there is none, or it is in use: by another thread for longer than a few lines of code take,
/// or by the very code that a signal handler has interrupted.
fn table<T>(with: impl FnOnce(&mut Table) -> T) -> Option<T> {
    // SAFETY: null, or what `pages::leak` gave for ever.
    let table = unsafe { TABLE.load(Acquire).as_ref() }?;
    for _ in 0..100 {
        if let Some(mut table) = table.try_lock() {
            return Some(with(&mut table));
        }
        process::yield_now();
    }
    None
}

/// Whether any limit has been opened for writing.
#[inline(always)]
pub fn any() -> bool {
    COUNT.load(Relaxed) != 0
}

/// Puts in force what the host has written without our seeing it.
#[inline]
pub fn apply() {
    if any() {
        apply_now();
    }
}

#[cold]
#[inline(never)]
extern "C" fn apply_now() {
    let kept = errno::get();
    panic_guard::catch(|| {
        let me = process::pid();
        for at in 0..ROOM {
            let written = table(|table| {
                let opened = table.opened.get_mut(at)?.as_mut()?;
                (opened.pid == me).then(|| opened.news()).flatten()
            });
            if let Some(Some((name, text))) = written {
                // Nobody waits for an answer any more.
                let _ = registry::set_limit(name, text.bytes());
            }
        }
    });
    errno::set(kept);
}

impl Opened {
    /// What its file holds. The host may have cut it off to nothing: then there is no page to read.
    fn now(&self) -> Text {
        let mut bytes = [0; TEXT_BYTES];
        if !usermem::copy_in(self.page as u64, &mut bytes) {
            return Text::of(&[]);
        }
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(TEXT_BYTES);
        Text::of(bytes.get(..end).unwrap_or(&[]))
    }

    /// What has been written since it was last looked at.
    fn news(&mut self) -> Option<(LimitName, Text)> {
        let now = self.now();
        let before = core::mem::replace(&mut self.seen, now);
        if now == before {
            return None;
        }
        let written = if self.readable {
            written_over(before.bytes(), now.bytes())
        } else {
            now.bytes()
        };
        Some((self.name, Text::of(written)))
    }
}

/// What was written over the beginning of `before`, when `now` is the result. Exact when it ended with a newline
/// or ran past the end; else a last digit that equals the one it covered is taken for the old one.
fn written_over<'a>(before: &[u8], now: &'a [u8]) -> &'a [u8] {
    let line = now.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    match line {
        Some(line) if line < now.len() => return now.get(..line).unwrap_or(now),
        _ => {}
    }
    if now.len() > before.len() {
        return now;
    }
    let same = now.iter().rev().zip(before.iter().rev());
    let kept = same.take_while(|(now, before)| now == before).count();
    now.get(..now.len() - kept).unwrap_or(now)
}

/// Remembers that the host has been given `fd`, whose file holds `text`, to write the limit.
pub fn remember(name: LimitName, fd: c_int, readable: bool, text: &[u8]) -> Result<(), c_int> {
    apply();
    make_table()?;
    let opened = Opened {
        name,
        page: sys::map(fd).map_err(|error| error.0)?,
        identity: sys::identity(fd).map_err(|error| error.0)?,
        readable,
        pid: process::pid(),
        seen: Text::of(text),
    };
    let oldest = table(|table| {
        let at = table.next % ROOM;
        table.next = table.next.wrapping_add(1);
        let slot = table.opened.get_mut(at)?;
        if slot.is_none() {
            COUNT.fetch_add(1, Relaxed);
        }
        slot.replace(opened)
    });
    if let Some(Some(oldest)) = oldest {
        // SAFETY: it came from `map`, and nobody finds it in the table any more.
        unsafe { sys::unmap(oldest.page) };
    }
    Ok(())
}

/// A `write(2)` of the host. `None`: not to one of the limits.
pub fn write(fd: c_int, addr: usize, count: usize) -> Option<Result<usize, c_int>> {
    let identity = sys::identity(fd).ok()?;
    let (at, opened) = table(|table| {
        let mut each = table.opened.iter().enumerate();
        each.find_map(|(at, opened)| {
            Some((at, (*opened)?)).filter(|(_, opened)| opened.identity == identity)
        })
    })??;
    let position = sys::position(fd).ok()?;
    if count == 0 {
        return None;
    }
    let written = match sys::write_hosts(fd, addr, count) {
        Ok(written) => written,
        Err(error) => return Some(Err(error.0)),
    };
    let answer = if position == 0 {
        let text = opened.now();
        let text = text.bytes.get(..written).unwrap_or(&text.bytes);
        registry::set_limit(opened.name, text)
    } else {
        // The kernel takes what is written behind the beginning for nothing.
        Ok(())
    };
    // From here on the file holds what it would hold if it had just been opened.
    let value = if opened.readable {
        content::limit(opened.name).ok()
    } else {
        None
    };
    let shown = value.as_ref().map_or(&[][..], |value| value.bytes());
    let after = sys::position(fd).unwrap_or(written);
    sys::truncate(fd, 0);
    sys::seek(fd, 0);
    let _ = sys::write_all(fd, shown);
    sys::seek(fd, if answer.is_ok() { after } else { 0 });
    table(|table| match table.opened.get_mut(at) {
        Some(Some(slot)) if slot.identity == identity => slot.seen = Text::of(shown),
        _ => {}
    });
    Some(match answer {
        Ok(()) => Ok(written),
        Err(failure) => Err(failure.errno),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_told_from_what_it_covers() {
        let rows: [(&str, &str, &str); 7] = [
            // before, now, written
            (
                "18446744073692774399\n",
                "4096\n744073692774399\n",
                "4096\n",
            ),
            ("4096\n", "1006\n", "100"),
            ("4096\n", "32768", "32768"),
            ("4096\n", "32768\n", "32768\n"),
            ("0\n", "1\n", "1"),
            ("4096\n", "8192\n", "8192"),
            ("4096\n", "7\n96\n", "7\n"),
        ];
        for (before, now, written) in rows {
            let got = written_over(before.as_bytes(), now.as_bytes());
            assert_eq!(got, written.as_bytes(), "{before:?} {now:?}");
        }
    }
}
