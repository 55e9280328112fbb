//! The calls of System V IPC, and those that change mappings, as they come through libc's `syscall`: by number, and on 32-bit
//! x86 the former by `ipc` as well.
//!
//! They are served by the functions behind the exported ones. UCX, which MPI's libraries bring along, writes over the first
//! instructions of `shmat`, `shmdt`, `munmap` and their like, and comes here from its own versions of them: by the exported
//! symbols it would arrive there again.

use core::ffi::{c_int, c_long, c_void};

use libc::{key_t, size_t};
use shmshim_core::os::raw::{number, sysv};
use shmshim_core::registry::{self, may_touch};
use shmshim_core::sysv::sem::Operation;

use crate::{calls, memory};

/// What the call answers, if it is one of ours; `errno` is set as `syscall` sets it.
#[inline]
pub fn serve(number: c_long, args: [c_long; 6]) -> Option<c_long> {
    let [a, b, c, d, e, _] = args;
    Some(match number {
        sysv::SHMGET => c_long::from(calls::shmget(a as key_t, b as size_t, c as c_int)),
        sysv::SHMAT => calls::shmat(a as c_int, b as *const c_void, c as c_int) as c_long,
        sysv::SHMDT => c_long::from(calls::shmdt(a as *const c_void)),
        sysv::SHMCTL => c_long::from(calls::shmctl(a as c_int, b as c_int, c as *mut c_void)),
        sysv::SEMGET => c_long::from(calls::semget(a as key_t, b as c_int, c as c_int)),
        #[cfg(not(target_arch = "x86"))]
        sysv::SEMOP => c_long::from(calls::semop(a as c_int, b as *mut Operation, c as size_t)),
        sysv::SEMTIMEDOP => c_long::from(calls::semtimedop_by_number(
            a as c_int,
            b as *mut Operation,
            c as size_t,
            d as usize as u64,
            calls::TimeForm::Wide,
        )),
        sysv::SEMCTL => c_long::from(calls::semctl(
            a as c_int, b as c_int, c as c_int, d as usize,
        )),
        sysv::MSGGET => c_long::from(calls::msgget(a as key_t, b as c_int)),
        sysv::MSGSND => c_long::from(calls::msgsnd_by_number(
            a as c_int,
            b as *const c_void,
            c as size_t,
            d as c_int,
        )),
        sysv::MSGRCV => {
            calls::msgrcv_by_number(a as c_int, b as *mut c_void, c as size_t, d, e as c_int)
                as c_long
        }
        sysv::MSGCTL => c_long::from(calls::msgctl(a as c_int, b as c_int, c as *mut c_void)),
        #[cfg(target_arch = "x86")]
        libc::SYS_ipc => return ipc::serve(args),
        _ => return None,
    })
}

/// Libc's `syscall`, with all its arguments.
pub type Syscall =
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// The arguments as addresses and lengths.
#[inline]
fn unsigned(args: &[c_long; 6]) -> [u64; 6] {
    args.map(|arg| arg as usize as u64)
}

/// Whether the call may change an attach: then it is [`on_attach`] that makes it.
#[inline]
pub fn concerns_attach(number: c_long, args: &[c_long; 6]) -> bool {
    let [a, b, c, d, e, _] = unsigned(args);
    match number {
        libc::SYS_mprotect => {
            memory::changes();
            false
        }
        libc::SYS_munmap => memory::changes() && may_touch(a, b),
        libc::SYS_madvise => may_touch(a, b),
        libc::SYS_mremap if memory::changes() => {
            may_touch(a, b.max(1)) || d & libc::MREMAP_FIXED as u64 != 0 && may_touch(e, c)
        }
        number::MMAP => memory::replaces(d as c_int) && memory::changes() && may_touch(a, b),
        _ => false,
    }
}

/// Makes such a call, and the core follows.
#[cold]
#[inline(never)]
pub extern "C" fn on_attach(number: c_long, args: &[c_long; 6], syscall: Syscall) -> c_long {
    let [a, b, c, d, e, f] = *args;
    // SAFETY: the host asked for it.
    let real = || unsafe { syscall(number, a, b, c, d, e, f) };
    if memory::is_in_real_call() {
        return real();
    }
    let [a, b, c, d, e, _] = unsigned(args);
    let address = || match real() {
        -1 => u64::MAX,
        address => address as usize as u64,
    };
    let status = || real() as c_int;
    match number {
        libc::SYS_munmap => c_long::from(memory::around(-1, status, |real| {
            registry::munmap(a, b, real)
        })),
        libc::SYS_madvise => c_long::from(memory::around(-1, status, |real| {
            registry::madvise(a, b, c as c_int, real)
        })),
        libc::SYS_mremap => memory::around(u64::MAX, address, |real| {
            registry::mremap(a, b, c, d as c_int, e, real)
        }) as c_long,
        _ => memory::around(u64::MAX, address, |real| registry::mmap_fixed(a, b, real)) as c_long,
    }
}

/// ipc(2): all calls of System V IPC under one number.
#[cfg(target_arch = "x86")]
pub mod ipc {
    use super::*;
    use crate::remarks::say;
    use shmshim_core::os::{errno, usermem};
    use shmshim_core::sysv::{flags, msg, sem};

    const SEMOP: c_long = 1;
    const SEMGET: c_long = 2;
    const SEMCTL: c_long = 3;
    const SEMTIMEDOP: c_long = 4;
    const MSGSND: c_long = 11;
    const MSGRCV: c_long = 12;
    const MSGGET: c_long = 13;
    const MSGCTL: c_long = 14;
    const SHMAT: c_long = 21;
    const SHMDT: c_long = 22;
    const SHMGET: c_long = 23;
    const SHMCTL: c_long = 24;

    /// In the command of a ctl call: the structures of today, not those of Linux 2.2.
    const IPC_64: c_int = 0x100;

    #[inline(never)]
    pub(super) extern "C" fn serve_in_c(args: &[c_long; 6], answer: &mut c_long) -> bool {
        let [call, first, second, third, pointer, fifth] = *args;
        let (id, sops) = (first as c_int, pointer as *mut Operation);
        *answer = match call & 0xffff {
            SEMGET => c_long::from(calls::semget(
                first as key_t,
                second as c_int,
                third as c_int,
            )),
            SEMOP => c_long::from(calls::semop(id, sops, second as size_t)),
            SEMTIMEDOP => c_long::from(calls::semtimedop(
                id,
                sops,
                second as size_t,
                fifth as *const libc::timespec,
            )),
            SEMCTL => control_sem(id, second as c_int, third as c_int, pointer),
            MSGGET => c_long::from(calls::msgget(first as key_t, second as c_int)),
            MSGSND => c_long::from(calls::msgsnd_by_number(
                id,
                pointer as *const c_void,
                second as size_t,
                third as c_int,
            )),
            MSGRCV => receive(
                call >> 16,
                id,
                second as size_t,
                third as c_int,
                pointer,
                fifth,
            ),
            MSGCTL => control("MSGCTL", id, second as c_int, || {
                let buf = pointer as *mut c_void;
                c_long::from(calls::msgctl(id, second as c_int & !IPC_64, buf))
            }),
            SHMGET => c_long::from(calls::shmget(
                first as key_t,
                second as size_t,
                third as c_int,
            )),
            SHMAT => attach(call >> 16, first as c_int, second as c_int, third, pointer),
            SHMDT => c_long::from(calls::shmdt(pointer as *const c_void)),
            SHMCTL => control("SHMCTL", id, second as c_int, || {
                let buf = pointer as *mut c_void;
                c_long::from(calls::shmctl(id, second as c_int & !IPC_64, buf))
            }),
            _ => return false,
        };
        true
    }

    #[inline]
    pub(super) fn serve(args: [c_long; 6]) -> Option<c_long> {
        let mut answer = 0;
        serve_in_c(&args, &mut answer).then_some(answer)
    }

    /// The address is written where the third argument points to.
    fn attach(version: c_long, shmid: c_int, shmflg: c_int, to: c_long, at: c_long) -> c_long {
        if version == 1 {
            return refuse(libc::EINVAL);
        }
        let address = calls::shmat(shmid, at as *const c_void, shmflg);
        if address == libc::MAP_FAILED {
            return -1;
        }
        // As on the kernel it stays attached if the address cannot be told.
        if !usermem::copy_in(to as u32 as u64 & !7, &mut [0; 8]) {
            return refuse(libc::EFAULT);
        }
        // SAFETY: memory of the caller's, who has asked for it.
        unsafe { (to as *mut usize).write_unaligned(address as usize) };
        0
    }

    /// A word of the caller's.
    fn word_at(at: c_long) -> Option<c_long> {
        let mut word = [0; size_of::<c_long>()];
        usermem::copy_in(at as u32 as u64, &mut word).then(|| c_long::from_ne_bytes(word))
    }

    /// The argument of semctl stands where the pointer leads.
    fn control_sem(semid: c_int, number: c_int, cmd: c_int, at: c_long) -> c_long {
        if at == 0 {
            return refuse(libc::EINVAL);
        }
        let Some(arg) = word_at(at) else {
            return refuse(libc::EFAULT);
        };
        control("SEMCTL", semid, cmd, || {
            c_long::from(calls::semctl(semid, number, cmd & !IPC_64, arg as usize))
        })
    }

    /// In version 0 the message's address and type stand where the pointer leads.
    fn receive(
        version: c_long,
        msqid: c_int,
        size: size_t,
        flags: c_int,
        pointer: c_long,
        fifth: c_long,
    ) -> c_long {
        let (message, mtype) = match version {
            0 if pointer == 0 => return refuse(libc::EINVAL),
            0 => match (word_at(pointer), word_at(pointer.wrapping_add(4))) {
                (Some(message), Some(mtype)) => (message, mtype),
                _ => return refuse(libc::EFAULT),
            },
            _ => (pointer, fifth),
        };
        calls::msgrcv_by_number(msqid, message as *mut c_void, size, mtype, flags) as c_long
    }

    fn control(name: &str, id: c_int, cmd: c_int, serve: impl FnOnce() -> c_long) -> c_long {
        // The numbers of those that copy a structure; from 11 on they are others for each kind.
        let has_old_form = match (name, cmd) {
            (_, flags::IPC_SET | flags::IPC_STAT | flags::IPC_INFO) => true,
            ("SHMCTL", flags::SHM_STAT | flags::SHM_STAT_ANY) => true,
            ("SEMCTL", sem::flags::SEM_STAT | sem::flags::SEM_STAT_ANY) => true,
            ("MSGCTL", msg::flags::MSG_STAT | msg::flags::MSG_STAT_ANY) => true,
            _ => false,
        };
        if has_old_form {
            // Divergence: the caller's buffer has the structure of Linux 2.2, which is shorter.
            say(&|line| {
                line.put(format_args!(
                    "ipc({name}, {id}, {cmd}, …) without IPC_64 is not served: it asks for the structures of Linux 2.2"
                ));
            });
            return refuse(libc::EINVAL);
        }
        serve()
    }

    fn refuse(error: c_int) -> c_long {
        errno::set(error);
        -1
    }
}
