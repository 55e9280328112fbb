//! shmget, shmat, shmdt, shmctl.

use libc::{c_int, c_void, key_t, size_t};
use shmshim_core::os::errno;
use shmshim_core::os::usermem::{self, Frame};
use shmshim_core::registry;
use shmshim_core::sysv::{self, Command, flags};

use super::{Asked, IPC_64, is_plain, serve};
use crate::abi::{Plain, ShmInfo, ShmidDs, Shminfo};
use crate::trace::{Call, Told};

/// shmget(2).
#[inline(always)]
pub fn shmget(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    // The rest is called last, so that a lookup needs no frame.
    if is_plain() {
        match registry::shmget_at_once(key, size as u64, shmflg) {
            Some(Ok(id)) => return id,
            Some(Err(refused)) => {
                errno::set(refused.raw());
                return -1;
            }
            None => {}
        }
    }
    shmget_in_full(key, size, shmflg)
}

#[inline(never)]
extern "C" fn shmget_in_full(key: key_t, size: size_t, shmflg: c_int) -> c_int {
    let size = size as u64;
    let call = Call::Shmget { key, size, shmflg };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(key as u64);
        asked.answer(
            || registry::shmget(key, size, shmflg),
            |_, id| Ok(*id as u64),
        )
    });
    served.map_or(-1, |id| id as c_int)
}

/// shmat(2).
#[inline(never)]
pub extern "C" fn shmat(shmid: c_int, shmaddr: *const c_void, shmflg: c_int) -> *mut c_void {
    let addr = shmaddr as u64;
    let call = Call::Shmat {
        shmid,
        addr,
        shmflg,
    };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        asked.answer(|| registry::shmat(shmid, addr, shmflg), |_, addr| Ok(*addr))
    });
    served.map_or(libc::MAP_FAILED, |addr| addr as usize as *mut c_void)
}

/// shmdt(2).
#[inline(never)]
pub extern "C" fn shmdt(shmaddr: *const c_void) -> c_int {
    let addr = shmaddr as u64;
    let served = serve(Call::Shmdt { addr }, Frame::of(&0), libc::EINVAL, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(addr);
        asked.zero(|| registry::shmdt(addr))
    });
    served.map_or(-1, |_| 0)
}

/// shmctl(2).
#[inline]
pub fn shmctl(shmid: c_int, cmd: c_int, buf: *mut c_void) -> c_int {
    let local = 0;
    let frame = Frame::of(&local);
    if is_plain() && matches!(cmd & !IPC_64, flags::IPC_STAT | flags::SHM_STAT) {
        let answer = stat_at_once(shmid, cmd & !IPC_64, buf as u64, frame);
        if answer >= 0 {
            return answer;
        }
    }
    shmctl_in_full(shmid, cmd, buf, frame)
}

/// IPC_STAT or SHM_STAT, if it can be answered at once: the answer, else -1.
#[inline(never)]
extern "C" fn stat_at_once(shmid: c_int, cmd: c_int, buf: u64, frame: Frame) -> c_int {
    let is_index = cmd == flags::SHM_STAT;
    let command = if is_index {
        Command::ShmStat
    } else {
        Command::IpcStat
    };
    match registry::stat_at_once(shmid, command) {
        // A bad buffer is refused by the full function, which says why.
        Some(segment) if usermem::copy_out_near(frame, buf, ShmidDs::of(&segment).bytes()) => {
            if is_index {
                segment.id.raw()
            } else {
                0
            }
        }
        _ => -1,
    }
}

/// After a panic `ENOMEM`: programs take `EINVAL` as the news that a segment is gone.
#[inline(never)]
extern "C" fn shmctl_in_full(shmid: c_int, cmd: c_int, buf: *mut c_void, frame: Frame) -> c_int {
    let buf = buf as u64;
    let call = Call::Shmctl { shmid, cmd, buf };
    let served = serve(call, frame, libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(shmid as u64);
        control(shmid, cmd, buf, asked)
    });
    served.map_or(-1, |value| value as c_int)
}

/// What IPC_SET is given: the whole structure is read, before anything is asked of the segment. A function of its own, whose
/// frame is gone then.
#[inline(never)]
fn take_perm(asked: &mut Asked, buf: u64) -> Result<sysv::NewPerm, c_int> {
    let mut copied = [0; size_of::<ShmidDs>()];
    asked.take(buf, &mut copied)?;
    let new = ShmidDs::new_perm(&copied);
    asked.told = Told::NewPerm(new);
    Ok(new)
}

fn control(shmid: c_int, cmd: c_int, buf: u64, asked: &mut Asked) -> Result<u64, c_int> {
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(sysv::parse_shmctl(shmid, cmd & !IPC_64))?;
    match command {
        Command::IpcRmid => asked.zero(|| registry::remove(shmid)),
        Command::ShmLock => asked.zero(|| registry::lock(shmid)),
        Command::ShmUnlock => asked.zero(|| registry::unlock(shmid)),
        Command::IpcSet => {
            let new = take_perm(asked, buf)?;
            asked.zero(|| registry::set(shmid, new))
        }
        Command::IpcStat | Command::ShmStat | Command::ShmStatAny => {
            let is_index = command != Command::IpcStat;
            asked.answer(
                || registry::stat(shmid, command),
                |asked, segment| {
                    asked.give(buf, &ShmidDs::of(segment))?;
                    asked.told = Told::Segment(*segment);
                    Ok(if is_index { segment.id.raw() as u64 } else { 0 })
                },
            )
        }
        Command::IpcInfo => asked.answer(registry::limits, |asked, (limits, highest)| {
            asked.give(buf, &Shminfo::of(limits))?;
            asked.told = Told::Limits(*limits);
            Ok(*highest as u64)
        }),
        Command::ShmInfo => asked.answer(registry::usage, |asked, usage| {
            asked.give(buf, &ShmInfo::of(usage))?;
            asked.told = Told::Usage(*usage);
            Ok(usage.highest as u64)
        }),
    }
}
