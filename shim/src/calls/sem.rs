//! semget, semop, semtimedop, semctl.
//!
//! A call may come from a handler that has interrupted a sleep of the same thread: that sleep leaves its queue first.

use libc::{c_int, key_t, size_t};
use shmshim_core::os::errno;
use shmshim_core::os::pages::PageVec;
use shmshim_core::os::usermem::{self, Frame};
use shmshim_core::registry::{leave_sleeps, sem as registry};
use shmshim_core::sysv::sem::{self, Operation, SemCommand, flags};

use super::{Asked, IPC_64, is_plain, serve};
use crate::abi::{SemidDs, Seminfo};
use crate::trace::{self, Call, SHOWN_OPERATIONS, Told};

/// semget(2).
#[inline(never)]
pub extern "C" fn semget(key: key_t, count: c_int, flags: c_int) -> c_int {
    leave_sleeps();
    if is_plain() {
        if let Some(id) = registry::semget_at_once(key, count, flags) {
            return id;
        }
    }
    semget_in_full(key, count, flags)
}

#[inline(never)]
extern "C" fn semget_in_full(key: key_t, count: c_int, flags: c_int) -> c_int {
    let call = Call::Semget { key, count, flags };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(key as u64);
        asked.answer(
            || registry::semget(key, count, flags),
            |_, id| Ok(*id as u64),
        )
    });
    served.map_or(-1, |id| id as c_int)
}

/// semop(2). One operation that can be answered at once is: nothing there can panic or change `errno`.
#[inline(never)]
pub extern "C" fn semop(semid: c_int, sops: *mut Operation, nsops: size_t) -> c_int {
    leave_sleeps();
    let local = 0;
    let frame = Frame::of(&local);
    if nsops as u32 == 1 && is_plain() {
        let answer = one_at_once(semid, sops as u64, frame);
        if answer != NOT_AT_ONCE {
            return answer;
        }
    }
    let count = nsops as u32;
    if (2..=AT_ONCE as u32).contains(&count)
        && is_plain()
        && few_at_once(semid, sops as u64, count, frame)
    {
        return 0;
    }
    semop_in_full(semid, sops as u64, count, frame)
}

/// So many operations are tried at once.
const AT_ONCE: usize = 4;

/// Several operations, if they can be carried out at once. Whether they were. As below.
#[inline(never)]
extern "C" fn few_at_once(semid: c_int, sops: u64, count: u32, frame: Frame) -> bool {
    const BYTES: usize = size_of::<Operation>();
    let mut copied = [0; AT_ONCE * BYTES];
    let Some(bytes) = copied.get_mut(..count as usize * BYTES) else {
        return false;
    };
    if !usermem::copy_in_near(frame, sops, bytes) {
        return false;
    }
    let mut operations = [Operation::default(); AT_ONCE];
    for (to, bytes) in operations.iter_mut().zip(copied.chunks_exact(BYTES)) {
        *to = operation(bytes.try_into().unwrap_or_default());
    }
    let asked = operations.get(..count as usize);
    asked.and_then(|operations| registry::semop_at_once(semid, operations)) == Some(Ok(()))
}

/// What [`one_at_once`] answers when it has done nothing. No call does.
const NOT_AT_ONCE: c_int = c_int::MIN;

/// One operation, if it can be answered at once. A function of its own: its frame is gone when the call has to sleep.
#[inline(never)]
extern "C" fn one_at_once(semid: c_int, sops: u64, frame: Frame) -> c_int {
    let mut copied = [0; size_of::<Operation>()];
    if !usermem::copy_in_near(frame, sops, &mut copied) {
        return NOT_AT_ONCE;
    }
    match registry::semop_at_once(semid, &[operation(copied)]) {
        Some(Ok(())) => 0,
        Some(Err(error)) => {
            errno::set(error);
            -1
        }
        None => NOT_AT_ONCE,
    }
}

#[inline(never)]
extern "C" fn semop_in_full(semid: c_int, operations: u64, count: u32, frame: Frame) -> c_int {
    let call = Call::Semop {
        semid,
        operations,
        count,
    };
    let served = serve(call, frame, libc::ENOMEM, |asked| {
        operate(asked, semid, operations, count, None)
    });
    served.map_or(-1, |_| 0)
}

/// How a time limit lies in the caller's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TimeForm {
    /// `struct timespec`, two words.
    Words,
    /// Two times 64 bits, of the second of which 32-bit programs fill the low half.
    Wide,
}

/// semtimedop(2), weak in libc: a limit of two words.
#[inline(never)]
pub extern "C" fn semtimedop(
    semid: c_int,
    sops: *mut Operation,
    nsops: size_t,
    timeout: *const libc::timespec,
) -> c_int {
    semtimedop_by_number(semid, sops, nsops, timeout as u64, TimeForm::Words)
}

/// semtimedop of 32-bit programs that are built for times of 64 bits.
#[cfg(all(target_arch = "x86", target_env = "gnu"))]
#[inline(never)]
pub extern "C" fn semtimedop64(
    semid: c_int,
    sops: *mut Operation,
    nsops: size_t,
    timeout: *const core::ffi::c_void,
) -> c_int {
    semtimedop_by_number(semid, sops, nsops, timeout as u64, TimeForm::Wide)
}

/// semtimedop with a limit in either form.
#[inline(never)]
pub extern "C" fn semtimedop_by_number(
    semid: c_int,
    sops: *mut Operation,
    nsops: size_t,
    timeout: u64,
    form: TimeForm,
) -> c_int {
    if timeout == 0 {
        // Divergence: the trace of a call without a limit says semop.
        return semop(semid, sops, nsops);
    }
    leave_sleeps();
    let (operations, count) = (sops as u64, nsops as u32);
    let call = Call::Semtimedop {
        semid,
        operations,
        count,
        timeout,
    };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        operate(asked, semid, operations, count, Some((timeout, form)))
    });
    served.map_or(-1, |_| 0)
}

/// So many operations lie on the stack. More have pages of their own.
const FEW: usize = 16;

const NONE: Operation = Operation {
    number: 0,
    change: 0,
    flags: 0,
};

fn operation(copied: [u8; size_of::<Operation>()]) -> Operation {
    let [a, b, c, d, e, f] = copied;
    Operation {
        number: u16::from_ne_bytes([a, b]),
        change: i16::from_ne_bytes([c, d]),
        flags: i16::from_ne_bytes([e, f]),
    }
}

/// In the kernel's order: the limit is read, the operations are counted, then read; only then what was read is looked at.
fn operate(
    asked: &mut Asked,
    semid: c_int,
    sops: u64,
    count: u32,
    timeout: Option<(u64, TimeForm)>,
) -> Result<u64, c_int> {
    #[cfg(feature = "panic-test")]
    crate::panic_test::perhaps(semid as u64);
    let limit = match timeout {
        Some((at, form)) => Some(read_limit(asked, at, form)?),
        None => None,
    };
    if let Some((secs, nanos)) = limit {
        asked.told = Told::Limit(secs, nanos);
    }
    let count = count_operations(asked, count)?;
    if count <= FEW {
        let mut few = [NONE; FEW];
        return with_operations(
            asked,
            semid,
            sops,
            few.get_mut(..count).unwrap_or(&mut []),
            limit,
        );
    }
    let mut many = PageVec::new();
    many.resize(count, NONE)
        .map_err(|_| asked.refuse(libc::ENOMEM, &"there is no memory for so many operations"))?;
    with_operations(asked, semid, sops, &mut many, limit)
}

#[inline(never)]
fn count_operations(asked: &mut Asked, count: u32) -> Result<usize, c_int> {
    match registry::sem_limits() {
        Ok(limits) => {
            let count = sem::check_operations_count(u64::from(count), &limits);
            asked.ruling(count).map(|count| count as usize)
        }
        Err(error) => Err(asked.refuse(error.errno, &error.why)),
    }
}

fn read_limit(asked: &Asked, at: u64, form: TimeForm) -> Result<(i64, i64), c_int> {
    if cfg!(target_pointer_width = "64") || form == TimeForm::Wide {
        let mut copied = [[0; 8]; 2];
        asked.take(at, copied.as_flattened_mut())?;
        let [secs, nanos] = copied.map(i64::from_ne_bytes);
        // The upper half of the nanoseconds is padding where a word has 32 bits.
        let is_wide = cfg!(target_pointer_width = "64");
        return Ok((
            secs,
            if is_wide {
                nanos
            } else {
                i64::from(nanos as i32)
            },
        ));
    }
    let mut copied = [[0; 4]; 2];
    asked.take(at, copied.as_flattened_mut())?;
    let [secs, nanos] = copied.map(i32::from_ne_bytes);
    Ok((i64::from(secs), i64::from(nanos)))
}

fn with_operations(
    asked: &mut Asked,
    semid: c_int,
    sops: u64,
    operations: &mut [Operation],
    limit: Option<(i64, i64)>,
) -> Result<u64, c_int> {
    let bytes = size_of_val(operations);
    // SAFETY: the same memory as bytes; six to an operation, of which any pattern is one.
    let copied =
        unsafe { core::slice::from_raw_parts_mut(operations.as_mut_ptr().cast::<u8>(), bytes) };
    asked.take(sops, copied)?;
    if trace::is_on() {
        tell_operations(asked, operations, limit);
    }
    let limit = match limit {
        Some((secs, nanos)) => Some(asked.ruling(sem::check_limit(secs, nanos))?),
        None => None,
    };
    asked.answer_of_sleeper(|asleep| registry::semop(semid, operations, limit, asleep))
}

#[cold]
#[inline(never)]
fn tell_operations(asked: &mut Asked, operations: &[Operation], limit: Option<(i64, i64)>) {
    let mut first = [NONE; SHOWN_OPERATIONS];
    for (shown, operation) in first.iter_mut().zip(operations) {
        *shown = *operation;
    }
    asked.told = Told::Operations { first, limit };
}

/// semctl(2). Variadic in C: its fourth argument is taken always, as the word in which a `union semun` travels. A command
/// that has none does not look at it.
///
/// After a panic `ENOMEM`: programs take `EINVAL` as the news that a set is gone.
#[inline(never)]
pub extern "C" fn semctl(semid: c_int, number: c_int, cmd: c_int, arg: usize) -> c_int {
    leave_sleeps();
    if cmd & !IPC_64 == flags::GETVAL && is_plain() {
        if let Some(value) = registry::sem_value_at_once(semid, number) {
            return value;
        }
    }
    semctl_in_full(semid, number, cmd, arg)
}

#[inline(never)]
extern "C" fn semctl_in_full(semid: c_int, number: c_int, cmd: c_int, arg: usize) -> c_int {
    let call = Call::Semctl {
        semid,
        number,
        cmd,
        arg: if has_argument(cmd & !IPC_64) {
            arg as u64
        } else {
            0
        },
    };
    let served = serve(call, Frame::of(&0), libc::ENOMEM, |asked| {
        #[cfg(feature = "panic-test")]
        crate::panic_test::perhaps(semid as u64);
        control(asked, semid, number, cmd, arg)
    });
    served.map_or(-1, |value| value as c_int)
}

/// Whether the command looks at its argument: only then libc reads one.
fn has_argument(cmd: c_int) -> bool {
    !matches!(
        cmd,
        flags::IPC_RMID | flags::GETPID | flags::GETVAL | flags::GETNCNT | flags::GETZCNT
    )
}

fn control(
    asked: &mut Asked,
    semid: c_int,
    number: c_int,
    cmd: c_int,
    arg: usize,
) -> Result<u64, c_int> {
    let buf = arg as u64;
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(sem::parse_semctl(semid, cmd & !IPC_64))?;
    match command {
        SemCommand::IpcRmid => asked.zero(|| registry::sem_remove(semid)),
        SemCommand::IpcSet => {
            // The whole structure is read, before anything is asked of the set.
            let mut copied = [0; size_of::<SemidDs>()];
            asked.take(buf, &mut copied)?;
            let new = SemidDs::new_perm(&copied);
            asked.told = Told::NewPerm(new);
            asked.zero(|| registry::sem_set(semid, new))
        }
        SemCommand::IpcStat | SemCommand::SemStat | SemCommand::SemStatAny => {
            let is_index = command != SemCommand::IpcStat;
            asked.answer(
                || registry::sem_stat(semid, command),
                |asked, set| {
                    asked.give(buf, &SemidDs::of(set))?;
                    asked.told = Told::Set(*set);
                    Ok(if is_index {
                        set.perm.id.raw() as u64
                    } else {
                        0
                    })
                },
            )
        }
        SemCommand::IpcInfo => asked.answer(registry::sem_usage, |asked, usage| {
            asked.give(buf, &Seminfo::of(&usage.limits))?;
            asked.told = Told::SemLimits(usage.limits);
            Ok(usage.highest as u64)
        }),
        SemCommand::SemInfo => asked.answer(registry::sem_usage, |asked, usage| {
            asked.give(buf, &Seminfo::with_usage(usage))?;
            asked.told = Told::SemUsage(*usage);
            Ok(usage.highest as u64)
        }),
        SemCommand::Get(question) => asked.answer(
            || registry::sem_ask(semid, number, question),
            |_, value| Ok(*value as u64),
        ),
        // The kernel takes the low 32 bits of the word.
        SemCommand::SetVal => asked.zero(|| registry::sem_set_value(semid, number, arg as c_int)),
        SemCommand::GetAll => asked.answer(
            || registry::sem_values(semid),
            |asked, values| {
                asked.give_bytes(buf, bytes_of(values))?;
                Ok(0)
            },
        ),
        SemCommand::SetAll => set_all(asked, semid, buf),
    }
}

fn bytes_of(values: &[u16]) -> &[u8] {
    // SAFETY: the same memory, as bytes.
    unsafe { core::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The set says how many values are to be read.
fn set_all(asked: &mut Asked, semid: c_int, buf: u64) -> Result<u64, c_int> {
    let count = match registry::sem_count_to_set(semid) {
        Ok(count) => count as usize,
        Err(error) => return Err(asked.refuse(error.errno, &error.why)),
    };
    let mut few = [0; 64];
    let mut many = PageVec::new();
    let values = match few.get_mut(..count) {
        Some(few) => few,
        None => {
            many.resize(count, 0).map_err(|_| {
                asked.refuse(libc::ENOMEM, &"there is no memory for so many values")
            })?;
            &mut *many
        }
    };
    let bytes = size_of_val(values);
    // SAFETY: the same memory as bytes, of which any pattern is a value.
    let copied =
        unsafe { core::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), bytes) };
    asked.take(buf, copied)?;
    asked.zero(|| registry::sem_set_values(semid, values))
}
