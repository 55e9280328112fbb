//! msgget, msgsnd, msgrcv, msgctl.
//!
//! msgsnd and msgrcv are cancellation points: see `cancel.rs`. So they go by steps. What they must remember lies on the frame
//! of the function that sleeps, needs no drop, and is touched by `extern "C"` functions alone.
//!
//! A call may come from a handler that has interrupted a sleep of the same thread: that sleep leaves its queue first.

use core::ffi::{c_long, c_void};
use core::mem::MaybeUninit;

use libc::{c_int, key_t, size_t, ssize_t};
use shmshim_core::os::usermem::{self, Frame};
use shmshim_core::registry::leave_sleeps;
use shmshim_core::registry::msg::{self as registry, Receiving, Sending, Sleep, Step, Woken};
use shmshim_core::registry::{Blocked, Listener, Outcome};
use shmshim_core::sysv::msg::{self, MsgCommand};

use super::{Asked, IPC_64, is_plain, serve};
use crate::abi::{Msginfo, MsqidDs};
use crate::cancel;
use crate::trace::{self, Call, SHOWN_BYTES, Told};

/// msgget(2).
#[inline(never)]
pub extern "C" fn msgget(key: key_t, flags: c_int) -> c_int {
    leave_sleeps();
    if is_plain() {
        if let Some(id) = registry::msgget_at_once(key, flags) {
            return id;
        }
    }
    msgget_in_full(key, flags)
}

#[inline(never)]
extern "C" fn msgget_in_full(key: key_t, flags: c_int) -> c_int {
    let call = Call::Msgget { key, flags };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(key as u64);
        asked.answer(|| registry::msgget(key, flags), |_, id| Ok(*id as u64))
    });
    served.map_or(-1, |id| id as c_int)
}

/// A call that may sleep, on its way.
struct OnItsWay<T> {
    asked: Asked,
    call: T,
    sleep: Option<Sleep>,
}

/// A message's type, which has the width of a word in the caller's memory.
#[cfg_attr(target_pointer_width = "64", expect(clippy::useless_conversion))]
fn wide(mtype: c_long) -> i64 {
    i64::from(mtype)
}

/// What a step answers when the caller is to sleep. No call does.
const ASLEEP: isize = isize::MIN;

/// Where a message has its text: behind its type.
const TEXT_OFFSET: u64 = size_of::<c_long>() as u64;

/// Defines a call that goes by steps: as a cancellation point, and as none. Their frames need no cleanup.
macro_rules! by_steps {
    ($name:ident, $by_number:ident($($arg:ident: $type:ty),*) -> $answer:ty;
     $call:ty, $begin:ident, $go_on:ident) => {
        /// As libc's.
        ///
        /// # Safety
        /// As libc's.
        #[inline]
        pub unsafe fn $name($($arg: $type),*) -> $answer {
            // SAFETY: nothing here needs cleanup.
            unsafe { cancel::test() };
            let mut way = MaybeUninit::<OnItsWay<$call>>::uninit();
            let mut answer = $begin(&mut way, $($arg),*);
            while answer == ASLEEP {
                // SAFETY: what sleeps was written by the first step.
                let way = unsafe { way.assume_init_mut() };
                // SAFETY: nothing here needs cleanup.
                let was_signal = unsafe { cancel::sleep(&way.sleep) };
                answer = $go_on(way, was_signal);
            }
            answer as $answer
        }

        /// The same through `syscall`, which is no cancellation point.
        pub extern "C" fn $by_number($($arg: $type),*) -> $answer {
            let mut way = MaybeUninit::<OnItsWay<$call>>::uninit();
            let mut answer = $begin(&mut way, $($arg),*);
            while answer == ASLEEP {
                // SAFETY: as above.
                let way = unsafe { way.assume_init_mut() };
                answer = $go_on(way, cancel::plain_sleep(&way.sleep));
            }
            answer as $answer
        }
    };
}

by_steps!(msgsnd, msgsnd_by_number(msqid: c_int, message: *const c_void, size: size_t, flags: c_int) -> c_int;
    Sending, begin_to_send, go_on_sending);
by_steps!(msgrcv, msgrcv_by_number(msqid: c_int, message: *mut c_void, size: size_t, mtype: c_long, flags: c_int) -> ssize_t;
    Receiving, begin_to_receive, go_on_receiving);

/// Makes the first step: `begin` is what comes before it.
#[inline(always)]
fn set_out<T>(
    way: &mut MaybeUninit<OnItsWay<T>>,
    call: Call,
    begin: impl FnOnce(&mut Asked) -> Result<T, c_int>,
    go_on: extern "C" fn(&mut OnItsWay<T>, bool) -> isize,
) -> isize {
    leave_sleeps();
    let mut asked = Asked::new(call, Frame::of(&0));
    if asked.is_over() {
        return -1;
    }
    match asked.run(libc::ENOMEM, begin) {
        Ok(call) => {
            let sleep = None;
            go_on(way.write(OnItsWay { asked, call, sleep }), false)
        }
        Err(error) => {
            asked.end(Err(error));
            -1
        }
    }
}

/// Why a sleep was over.
fn by(was_signal: bool) -> Woken {
    match was_signal {
        true => Woken::BySignal,
        false => Woken::Other,
    }
}

/// Makes a step: `tell` makes of its result what the caller gets.
#[inline(always)]
fn go_on<T, D>(
    way: &mut OnItsWay<T>,
    step: impl FnOnce(&mut T, Listener<'_>) -> Outcome<Step<D>>,
    tell: impl FnOnce(&mut Asked, &D) -> Result<u64, c_int>,
) -> isize {
    let OnItsWay { asked, call, sleep } = way;
    *sleep = None;
    let made = asked.run(libc::ENOMEM, |asked| {
        let listener = |why: &Blocked| asked.falls_asleep(why);
        match step(
            call,
            if trace::is_on() {
                Some(&listener)
            } else {
                None
            },
        ) {
            Ok(Step::Sleep(until)) => {
                *sleep = Some(until);
                Ok(0)
            }
            Ok(Step::Done(done)) => asked.answer(|| Ok(done), tell),
            Err(error) => Err(asked.refuse(error.errno, &error.why)),
        }
    });
    match (made, sleep.is_some()) {
        (Ok(_), true) => ASLEEP,
        _ => asked.end(made).map_or(-1, |value| value as isize),
    }
}

#[inline(never)]
extern "C" fn begin_to_send(
    way: &mut MaybeUninit<OnItsWay<Sending>>,
    msqid: c_int,
    message: *const c_void,
    size: size_t,
    flags: c_int,
) -> isize {
    let (message, size) = (message as u64, size as isize as i64);
    let call = Call::Msgsnd {
        msqid,
        message,
        size,
        flags,
    };
    let begin = |asked: &mut Asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(msqid as u64);
        let mut mtype = [0; size_of::<c_long>()];
        asked.take(message, &mut mtype)?;
        let mtype = wide(c_long::from_ne_bytes(mtype));
        if trace::is_on() {
            tell_message(asked, message, mtype, size as u64);
        }
        let text = message.wrapping_add(TEXT_OFFSET);
        match Sending::begin(msqid, mtype, text, size as u64, flags) {
            Ok(sending) => Ok(sending),
            Err(error) => Err(asked.refuse(error.errno, &error.why)),
        }
    };
    set_out(way, call, begin, go_on_sending)
}

#[inline(never)]
extern "C" fn go_on_sending(way: &mut OnItsWay<Sending>, was_signal: bool) -> isize {
    go_on(
        way,
        |sending, asleep| sending.step(by(was_signal), asleep),
        |_, ()| Ok(0),
    )
}

#[inline(never)]
extern "C" fn begin_to_receive(
    way: &mut MaybeUninit<OnItsWay<Receiving>>,
    msqid: c_int,
    message: *mut c_void,
    size: size_t,
    mtype: c_long,
    flags: c_int,
) -> isize {
    let (message, size) = (message as u64, size as isize as i64);
    let mtype = wide(mtype);
    let call = Call::Msgrcv {
        msqid,
        message,
        size,
        mtype,
        flags,
    };
    let begin = |asked: &mut Asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(msqid as u64);
        let text = message.wrapping_add(TEXT_OFFSET);
        match Receiving::begin(msqid, text, size as u64, mtype, flags) {
            Ok(receiving) => Ok(receiving),
            Err(error) => Err(asked.refuse(error.errno, &error.why)),
        }
    };
    set_out(way, call, begin, go_on_receiving)
}

/// The text has been copied. A bad buffer is noticed when the message is gone, as on the kernel.
#[inline(never)]
extern "C" fn go_on_receiving(way: &mut OnItsWay<Receiving>, was_signal: bool) -> isize {
    let Call::Msgrcv { message, .. } = way.asked.call else {
        return -1;
    };
    go_on(
        way,
        |receiving, asleep| receiving.step(by(was_signal), asleep),
        |asked, received| {
            let mtype = received.mtype as c_long;
            asked.give_bytes(message, &mtype.to_ne_bytes())?;
            if trace::is_on() {
                tell_message(asked, message, received.mtype, received.len);
            }
            Ok(received.len)
        },
    )
}

/// For the trace: what lies in the caller's message.
#[cold]
#[inline(never)]
fn tell_message(asked: &mut Asked, message: u64, mtype: i64, len: u64) {
    let mut first = [0; SHOWN_BYTES];
    let text = message.wrapping_add(TEXT_OFFSET);
    let shown = first.get_mut(..len as usize);
    let is_there = match shown {
        Some(shown) => usermem::copy_in(text, shown),
        None => usermem::copy_in(text, &mut first),
    };
    if is_there {
        asked.told = Told::Message { mtype, len, first };
    }
}

/// msgctl(2). After a panic `ENOMEM`: programs take `EINVAL` as the news that a queue is gone.
#[inline(never)]
pub extern "C" fn msgctl(msqid: c_int, cmd: c_int, buf: *mut c_void) -> c_int {
    leave_sleeps();
    let buf = buf as u64;
    let call = Call::Msgctl { msqid, cmd, buf };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(msqid as u64);
        control(asked, msqid, cmd, buf)
    });
    served.map_or(-1, |value| value as c_int)
}

fn control(asked: &mut Asked, msqid: c_int, cmd: c_int, buf: u64) -> Result<u64, c_int> {
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(msg::parse_msgctl(msqid, cmd & !IPC_64))?;
    match command {
        MsgCommand::IpcRmid => asked.zero(|| registry::msg_remove(msqid)),
        MsgCommand::IpcSet => {
            // The whole structure is read, before anything is asked of the queue.
            let mut copied = [0; size_of::<MsqidDs>()];
            asked.take(buf, &mut copied)?;
            let new = MsqidDs::new_queue(&copied);
            asked.told = Told::NewQueue(new);
            asked.zero(|| registry::msg_set(msqid, new))
        }
        MsgCommand::IpcStat | MsgCommand::MsgStat | MsgCommand::MsgStatAny => {
            let is_index = command != MsgCommand::IpcStat;
            asked.answer(
                || registry::msg_stat(msqid, command),
                |asked, queue| {
                    asked.give(buf, &MsqidDs::of(queue))?;
                    asked.told = Told::Queue(*queue);
                    Ok(if is_index {
                        queue.perm.id.raw() as u64
                    } else {
                        0
                    })
                },
            )
        }
        MsgCommand::IpcInfo => asked.answer(registry::msg_usage, |asked, usage| {
            asked.give(buf, &Msginfo::of(&usage.limits))?;
            asked.told = Told::MsgLimits(usage.limits);
            Ok(usage.highest as u64)
        }),
        MsgCommand::MsgInfo => asked.answer(registry::msg_usage, |asked, usage| {
            asked.give(buf, &Msginfo::with_usage(usage))?;
            asked.told = Told::MsgUsage(*usage);
            Ok(usage.highest as u64)
        }),
    }
}
