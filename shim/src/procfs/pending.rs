//! Limits that the host has opened for writing, and what it wrote.
//!
//! The host writes into a memory file. Where it does so through `write(2)` we see the call, and the limit changes
//! then and there, or the write fails with `EINVAL`, as on the kernel. Where libc writes for it (`fprintf`, the
//! `echo` of bash) no symbol is called that we could intercept. So we keep the file mapped, without a descriptor,
//! and look into it at every moment at which the host could find out: at its next call of System V IPC, before
//! it opens one of the files, before it forks or executes another program, and when it exits.
//!
//! A process that never opened a limit for writing pays one load for all this.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use shmshim_core::os::{errno, process, usermem};
use spin::Mutex;

use super::limits::Limit;
use super::sys;
use crate::panic_guard;

/// Limits that are kept in sight; with one more, the oldest is forgotten.
const ROOM: usize = 8;

/// Bytes of what was written that count. There are four numbers at most, of 21 bytes at most, and white space before them.
const TEXT_BYTES: usize = 128;

/// What was written, with NULs behind it.
type Text = [u8; TEXT_BYTES];

/// One limit opened for writing.
struct Opened {
    limit: Limit,
    /// Where its file is mapped.
    page: usize,
    /// Device and inode of its file.
    identity: (u64, u64),
    /// The process that opened it. A child inherits the mapping, but not the task.
    pid: i32,
    /// What it held when it was last looked at.
    seen: Text,
}

struct Table {
    opened: [Option<Opened>; ROOM],
    next: usize,
}

// Not in .bss: that would be one mapping more in every process.
#[unsafe(link_section = ".data.shmshim_pending")]
static TABLE: Mutex<Table> = Mutex::new(Table {
    opened: [const { None }; ROOM],
    next: 0,
});

/// Whether anything has ever stood in the table.
static ANY: AtomicBool = AtomicBool::new(false);

/// Does `with` to the table. `None` when it is in use: by another thread for longer than a few lines of code take, or by
/// the very code that a signal handler has interrupted.
fn table<T>(with: impl FnOnce(&mut Table) -> Option<T>) -> Option<T> {
    for _ in 0..100 {
        if let Some(mut table) = TABLE.try_lock() {
            return with(&mut table);
        }
        process::yield_now();
    }
    None
}

/// Whether any limit has been opened for writing.
#[inline(always)]
pub fn any() -> bool {
    ANY.load(Relaxed)
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
        for at in 0..ROOM {
            let written = table(|table| table.opened.get_mut(at)?.as_mut()?.news());
            if let Some((limit, text)) = written {
                let text = text.split(|byte| *byte == 0).next().unwrap_or(&[]);
                // Nobody waits for an answer any more.
                let _ = limit.set(text);
            }
        }
    });
    errno::set(kept);
}

impl Opened {
    /// What its file holds.
    fn now(&self) -> Text {
        let mut text = [0; TEXT_BYTES];
        // The host may have cut it off to nothing: then there is no page to read.
        // What was there when it was read last may have been cut off since.
        usermem::forget_pages();
        let _ = usermem::copy_in(self.page as u64, &mut text);
        usermem::forget_pages();
        text
    }

    /// What it holds if that has changed since it was last looked at.
    fn news(&mut self) -> Option<(Limit, Text)> {
        let now = self.now();
        if self.pid != process::pid() || now == self.seen {
            return None;
        }
        self.seen = now;
        Some((self.limit, now))
    }
}

/// Remembers that the host is given `fd` to write the limit.
pub fn remember(limit: Limit, fd: c_int) -> Result<(), c_int> {
    ANY.store(true, Relaxed);
    let mut opened = Opened {
        limit,
        page: sys::map(fd).map_err(|error| error.0)?,
        identity: sys::identity(fd).map_err(|error| error.0)?,
        pid: process::pid(),
        seen: [0; TEXT_BYTES],
    };
    // What the host can read there it has not written.
    opened.seen = opened.now();
    let oldest = table(|table| {
        let at = table.next % ROOM;
        table.next = table.next.wrapping_add(1);
        table.opened.get_mut(at)?.replace(opened)
    });
    if let Some(oldest) = oldest {
        // SAFETY: it came from `map`, and no thread finds it in the table any more.
        unsafe { sys::unmap(oldest.page) };
    }
    Ok(())
}

/// A `write(2)` of the host. `None`: not to one of the limits.
pub fn write(fd: c_int, addr: usize, count: usize) -> Option<Result<usize, c_int>> {
    let identity = sys::identity(fd).ok()?;
    let (limit, position, written, text) = table(|table| {
        let mut each = table.opened.iter_mut().flatten();
        let opened = each.find(|opened| opened.identity == identity)?;
        let position = sys::position(fd).ok()?;
        let written = sys::write(fd, addr, count);
        opened.seen = opened.now();
        Some((opened.limit, position, written, opened.seen))
    })?;
    Some(match written {
        Ok(written) if position == 0 => {
            let set = limit.set(text.get(..written).unwrap_or(&text));
            set.map(|()| written).map_err(|error| {
                sys::rewind(fd);
                error.errno
            })
        }
        // The kernel takes what is written behind the beginning for nothing.
        written => written.map_err(|error| error.0),
    })
}
