//! Filters that the host has put on its own system calls.
//!
//! A program that confines itself with seccomp after it has started may be killed by any system call of ours that it
//! would not have made itself. So its filters are remembered when they are installed, and asked before each call of
//! ours what they would say: one that would kill (or trap, for all signals are blocked then) is not made, and fails
//! with `EPERM`. What a filter answers with an errno is made, and gets it.
//!
//! A filter of one thread alone is taken for one of the whole process: a call too few is made, never one too many.

use super::pages::{self, PageVec};
use super::usermem;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The newest filter, which names the one before it. All that an unconfined program pays for is to see that there is none.
static NEWEST: AtomicPtr<Filter> = AtomicPtr::new(core::ptr::null_mut());

/// Strict mode (read, write, exit and sigreturn alone), as a filter: a program that ends without an answer is deadly.
static STRICT: Filter = Filter::new(PageVec::new());

/// How long an instruction of classic BPF (`struct sock_filter`) is.
const INSTRUCTION_BYTES: usize = 8;

struct Filter {
    program: PageVec<u8>,
    before: AtomicPtr<Filter>,
}

// SAFETY: the instructions are never changed once the filter is made.
unsafe impl Sync for Filter {}

impl Filter {
    const fn new(program: PageVec<u8>) -> Filter {
        let before = AtomicPtr::new(core::ptr::null_mut());
        Filter { program, before }
    }
}

/// A copy of a filter that is about to be installed: once it is, copying may be forbidden.
pub struct Prepared(Option<&'static Filter>);

/// Copies the filter whose `struct sock_fprog` is at `addr`. What cannot be read the kernel will refuse.
pub fn prepare_filter(addr: u64) -> Prepared {
    let copy = copy_program(addr).and_then(|program| pages::leak(Filter::new(program)).ok());
    Prepared(copy)
}

fn copy_program(addr: u64) -> Option<PageVec<u8>> {
    // `struct sock_fprog`: how many instructions in 16 bits, and behind the gap where they are.
    let mut head = [[0u8; size_of::<usize>()]; 2];
    if !usermem::copy_in(addr, head.as_flattened_mut()) {
        return None;
    }
    let [[low, high, ..], instructions] = head;
    let len = usize::from(u16::from_ne_bytes([low, high])) * INSTRUCTION_BYTES;
    let instructions = usize::from_ne_bytes(instructions) as u64;
    let mut program = PageVec::new();
    program.resize(len, 0).ok()?;
    usermem::copy_in(instructions, &mut program).then_some(program)
}

impl Prepared {
    /// Strict mode, and a filter that could not be copied: taken for one that allows nothing.
    pub const STRICT_MODE: Prepared = Prepared(None);

    /// The kernel has `agreed` to it, and it is in force; or has not.
    #[cold]
    pub fn end(self, agreed: bool) {
        if agreed {
            let filter = self.0.unwrap_or(&STRICT);
            let _ = NEWEST.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| {
                // What stands before the strict one is never asked, so it may as well be itself.
                filter.before.store(before, Ordering::Relaxed);
                Some(core::ptr::from_ref(filter).cast_mut())
            });
        } else if let Some(filter) = self.0 {
            pages::unleak(filter);
        }
    }
}

/// Whether making this call would end the process or raise SIGSYS.
#[inline]
pub(super) fn forbids(number: libc::c_long, args: &[usize; 6]) -> bool {
    !NEWEST.load(Ordering::Relaxed).is_null() && ask(number, args)
}

/// `extern "C"`: see [`super::spin::until_changed`].
#[cold]
extern "C" fn ask(number: libc::c_long, args: &[usize; 6]) -> bool {
    let data = Data::new(number, args);
    let mut filter: *const Filter = NEWEST.load(Ordering::Acquire);
    // SAFETY: filters are published whole and never freed.
    while let Some(one) = unsafe { filter.as_ref() } {
        if is_deadly(run(&one.program, &data)) {
            return true;
        }
        filter = one.before.load(Ordering::Acquire);
    }
    false
}

/// `struct seccomp_data`: the call's number, the architecture, where it is made (not said), the six arguments.
struct Data([u8; 64]);

impl Data {
    fn new(number: libc::c_long, args: &[usize; 6]) -> Data {
        let head = [number as u32, ARCHITECTURE, 0, 0].map(u32::to_ne_bytes);
        let args = args.map(|arg| (arg as u64).to_ne_bytes());
        let filled = head.iter().flatten().chain(args.iter().flatten());
        let mut data = Data([0; 64]);
        for (place, byte) in data.0.iter_mut().zip(filled) {
            *place = *byte;
        }
        data
    }

    fn word(&self, offset: u32) -> Option<u32> {
        let bytes = self.0.get(offset as usize..)?.first_chunk()?;
        (offset % 4 == 0).then(|| u32::from_ne_bytes(*bytes))
    }
}

/// `linux/audit.h`: the number of the ELF machine, with a bit for little endian and one for 64 bits.
const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    62 | 0xc000_0000
} else if cfg!(target_arch = "aarch64") {
    183 | 0xc000_0000
} else if cfg!(target_arch = "riscv64") {
    243 | 0xc000_0000
} else if cfg!(target_arch = "loongarch64") {
    258 | 0xc000_0000
} else if cfg!(target_arch = "x86") {
    3 | 0x4000_0000
} else if cfg!(target_arch = "arm") {
    40 | 0x4000_0000
} else {
    0
};

/// SECCOMP_RET_KILL_PROCESS, _KILL_THREAD, _TRAP: everything below SECCOMP_RET_ERRNO, as the kernel ranks them.
fn is_deadly(answer: u32) -> bool {
    const ERRNO: i32 = 0x0005_0000;
    ((answer & 0xffff_0000) as i32) < ERRNO
}

/// Runs a filter as the kernel does. What cannot be understood is deadly (0, SECCOMP_RET_KILL_THREAD).
fn run(program: &[u8], data: &Data) -> u32 {
    const DEADLY: u32 = 0;
    let (mut a, mut x) = (0u32, 0u32);
    let mut memory = [0u32; 16];
    let mut at = 0usize;
    // Jumps go forward only, so there are no more steps than instructions.
    while let Some(&[c0, c1, jump_true, jump_false, k0, k1, k2, k3]) = program
        .get(at.saturating_mul(INSTRUCTION_BYTES)..)
        .and_then(|rest| rest.first_chunk::<INSTRUCTION_BYTES>())
    {
        let code = u16::from_ne_bytes([c0, c1]);
        let k = u32::from_ne_bytes([k0, k1, k2, k3]);
        at += 1;
        let operand = if code & 0x08 != 0 { x } else { k };
        match code & 0x07 {
            // BPF_LD, BPF_LDX: immediate, absolute word, memory, length.
            class @ (0x00 | 0x01) => {
                let value = match code & 0xe0 {
                    0x00 => Some(k),
                    0x20 if class == 0 => data.word(k),
                    0x60 => memory.get(k as usize).copied(),
                    0x80 => Some(size_of::<Data>() as u32),
                    _ => None,
                };
                match (value, class) {
                    (Some(value), 0) => a = value,
                    (Some(value), _) => x = value,
                    (None, _) => return DEADLY,
                }
            }
            // BPF_ST, BPF_STX.
            class @ (0x02 | 0x03) => match memory.get_mut(k as usize) {
                Some(place) => *place = if class == 0x02 { a } else { x },
                None => return DEADLY,
            },
            // BPF_ALU.
            0x04 => match compute(code, a, operand) {
                Some(answer) => a = answer,
                None => return DEADLY,
            },
            // BPF_JMP.
            0x05 => {
                let taken = match code & 0xf0 {
                    0x00 => {
                        at = at.saturating_add(k as usize);
                        continue;
                    }
                    0x10 => a == operand,
                    0x20 => a > operand,
                    0x30 => a >= operand,
                    0x40 => a & operand != 0,
                    _ => return DEADLY,
                };
                at += usize::from(if taken { jump_true } else { jump_false });
            }
            // BPF_RET: a constant or A.
            0x06 => return if code & 0x18 == 0x10 { a } else { k },
            // BPF_MISC: TAX, TXA.
            _ => {
                if code & 0x80 == 0 {
                    x = a;
                } else {
                    a = x;
                }
            }
        }
    }
    DEADLY
}

/// What an instruction of the class BPF_ALU makes of the accumulator; `None` for one that the kernel would not take.
fn compute(code: u16, a: u32, operand: u32) -> Option<u32> {
    match code & 0xf0 {
        0x00 => Some(a.wrapping_add(operand)),
        0x10 => Some(a.wrapping_sub(operand)),
        0x20 => Some(a.wrapping_mul(operand)),
        0x30 => a.checked_div(operand),
        0x40 => Some(a | operand),
        0x50 => Some(a & operand),
        0x60 => Some(a.checked_shl(operand).unwrap_or(0)),
        0x70 => Some(a.checked_shr(operand).unwrap_or(0)),
        0x80 => Some(a.wrapping_neg()),
        0xa0 => Some(a ^ operand),
        _ => None,
    }
}

/// What a filter of these bytes answers to a call.
#[cfg(feature = "fuzzing")]
pub(crate) fn answer(program: &[u8], number: libc::c_long, args: &[usize; 6]) -> u32 {
    run(program, &Data::new(number, args))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const KILL_PROCESS: u32 = 0x8000_0000;

    fn ins(code: u16, jump_true: u8, jump_false: u8, k: u32) -> [u8; INSTRUCTION_BYTES] {
        let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), k.to_ne_bytes());
        [c0, c1, jump_true, jump_false, k0, k1, k2, k3]
    }

    #[test]
    fn a_list_of_allowed_calls_is_understood() {
        let program = [
            ins(0x20, 0, 0, 4),
            ins(0x15, 1, 0, ARCHITECTURE),
            ins(0x06, 0, 0, KILL_PROCESS),
            ins(0x20, 0, 0, 0),
            ins(0x15, 1, 0, libc::SYS_munmap as u32),
            ins(0x06, 0, 0, KILL_PROCESS),
            ins(0x06, 0, 0, ALLOW),
        ];
        let none = [0; 6];
        assert!(!is_deadly(run(
            program.as_flattened(),
            &Data::new(libc::SYS_munmap, &none)
        )));
        assert!(is_deadly(run(
            program.as_flattened(),
            &Data::new(libc::SYS_openat, &none)
        )));
    }

    #[test]
    fn arguments_are_looked_at() {
        // Kill when the low word of the second argument has bit 1 set, else EACCES.
        let offset = 16 + 8 + if cfg!(target_endian = "little") { 0 } else { 4 };
        let program = [
            ins(0x20, 0, 0, offset),
            ins(0x45, 0, 1, 2),
            ins(0x06, 0, 0, 0),
            ins(0x06, 0, 0, 0x0005_0000 | libc::EACCES as u32),
        ];
        let call = |arg| Data::new(libc::SYS_mmap, &[0, arg, 0, 0, 0, 0]);
        assert!(is_deadly(run(program.as_flattened(), &call(2))));
        assert!(!is_deadly(run(program.as_flattened(), &call(4))));
    }

    #[test]
    fn what_runs_off_its_end_or_is_unknown_is_deadly() {
        let data = Data::new(0, &[0; 6]);
        assert!(is_deadly(run(&[], &data)));
        assert!(is_deadly(run(&ins(0x05, 0, 0, 9), &data)));
        assert!(is_deadly(run(&ins(0x20, 0, 0, 64), &data)));
        assert!(is_deadly(run(&ins(0x30, 0, 0, 0), &data)));
    }

    #[test]
    fn answers_are_ranked_as_the_kernel_does() {
        for deadly in [KILL_PROCESS, 0, 0x0003_0000] {
            assert!(is_deadly(deadly));
        }
        // ERRNO, USER_NOTIF, TRACE, LOG, ALLOW.
        for harmless in [0x0005_0001, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, ALLOW] {
            assert!(!is_deadly(harmless));
        }
    }
}
