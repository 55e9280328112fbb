//! The seccomp filter of all that is supervised: which system calls come to the supervisor. All others are answered from
//! the kernel's bitmap of calls that a filter always allows, and cost what they cost without a filter.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF, c_long, sock_filter};

/// `linux/audit.h`.
const ARCH_X86_64: u32 = 0xc000_003e;
const ARCH_I386: u32 = 0x4000_0003;
/// In the number of each call of a program for x32.
const X32_BIT: u32 = 0x4000_0000;
/// `ipc` of 32-bit x86.
const I386_IPC: u32 = 117;
/// `semget` to `msgctl` of 32-bit x86, with those of shared memory between them.
const I386_CALLS: (u32, u32) = (393, 402);
const I386_SEMTIMEDOP: u32 = 420;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// What a call is to the supervisor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Served from the namespace.
    Served,
    /// Makes a child, which may inherit attaches.
    Fork,
    /// Starts another program.
    Exec,
    /// May change the caller's credentials.
    Ids,
    /// Made by a program for another architecture: refused.
    Foreign,
}

const CALLS: [(c_long, Kind); 29] = [
    (libc::SYS_shmget, Kind::Served),
    (libc::SYS_shmat, Kind::Served),
    (libc::SYS_shmctl, Kind::Served),
    (libc::SYS_shmdt, Kind::Served),
    (libc::SYS_semget, Kind::Served),
    (libc::SYS_semop, Kind::Served),
    (libc::SYS_semtimedop, Kind::Served),
    (libc::SYS_semctl, Kind::Served),
    (libc::SYS_msgget, Kind::Served),
    (libc::SYS_msgsnd, Kind::Served),
    (libc::SYS_msgrcv, Kind::Served),
    (libc::SYS_msgctl, Kind::Served),
    (libc::SYS_fork, Kind::Fork),
    (libc::SYS_clone, Kind::Fork),
    (libc::SYS_clone3, Kind::Fork),
    (libc::SYS_execve, Kind::Exec),
    (libc::SYS_execveat, Kind::Exec),
    (libc::SYS_setuid, Kind::Ids),
    (libc::SYS_setgid, Kind::Ids),
    (libc::SYS_setreuid, Kind::Ids),
    (libc::SYS_setregid, Kind::Ids),
    (libc::SYS_setresuid, Kind::Ids),
    (libc::SYS_setresgid, Kind::Ids),
    (libc::SYS_setgroups, Kind::Ids),
    (libc::SYS_setfsuid, Kind::Ids),
    (libc::SYS_setfsgid, Kind::Ids),
    (libc::SYS_capset, Kind::Ids),
    (libc::SYS_unshare, Kind::Ids),
    (libc::SYS_setns, Kind::Ids),
];

/// What a call is that the filter brings.
pub fn kind_of(arch: u32, number: i32) -> Kind {
    let known = CALLS
        .iter()
        .find(|call| arch == ARCH_X86_64 && call.0 == c_long::from(number));
    known.map_or(Kind::Foreign, |call| call.1)
}

/// Whether this call may change its caller's credentials.
pub fn is_change_of_ids(number: i64) -> bool {
    CALLS.contains(&(number, Kind::Ids))
}

/// Where a jump of the filter leads.
#[derive(Clone, Copy)]
enum To {
    Next,
    Native,
    Allow,
    Notify,
}

/// A filter in the making: jumps have names until all is there.
#[derive(Default)]
struct Assembler(Vec<(u32, u32, To, To)>);

impl Assembler {
    fn load(&mut self, offset: u32) {
        self.0
            .push((BPF_LD | BPF_W | BPF_ABS, offset, To::Next, To::Next));
    }

    fn when(&mut self, test: u32, operand: u32, then: To, otherwise: To) {
        self.0
            .push((BPF_JMP | test | BPF_K, operand, then, otherwise));
    }

    /// The finished filter, of which the instruction at `native` is the first for x86-64's own calls.
    fn finish(self, native: usize) -> Vec<sock_filter> {
        let end = self.0.len();
        let distance = |at: usize, to: To| match to {
            To::Next => 0,
            To::Native => native - at - 1,
            To::Allow => end - at - 1,
            To::Notify => end - at,
        };
        let instruction = |(at, step): (usize, &(u32, u32, To, To))| sock_filter {
            code: step.0 as u16,
            k: step.1,
            jt: distance(at, step.2) as u8,
            jf: distance(at, step.3) as u8,
        };
        let answer = |verdict| sock_filter {
            code: (BPF_RET | BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: verdict,
        };
        let mut all: Vec<_> = self.0.iter().enumerate().map(instruction).collect();
        all.push(answer(SECCOMP_RET_ALLOW));
        all.push(answer(SECCOMP_RET_USER_NOTIF));
        all
    }
}

/// The filter.
pub fn program() -> Vec<sock_filter> {
    let mut code = Assembler::default();
    code.load(ARCH);
    code.when(BPF_JEQ, ARCH_X86_64, To::Native, To::Next);
    code.when(BPF_JEQ, ARCH_I386, To::Next, To::Allow);
    code.load(NUMBER);
    let (first, last) = I386_CALLS;
    code.when(BPF_JEQ, I386_SEMTIMEDOP, To::Notify, To::Next);
    code.when(BPF_JEQ, I386_IPC, To::Notify, To::Next);
    code.when(BPF_JGE, first, To::Next, To::Allow);
    code.when(BPF_JGE, last + 1, To::Allow, To::Notify);
    let native = code.0.len();
    code.load(NUMBER);
    for (number, kind) in CALLS {
        if kind == Kind::Served {
            code.when(BPF_JEQ, number as u32 | X32_BIT, To::Notify, To::Next);
        }
    }
    code.when(BPF_JGE, X32_BIT, To::Allow, To::Next);
    for (number, _) in CALLS {
        if number != libc::SYS_clone {
            code.when(BPF_JEQ, number as u32, To::Notify, To::Next);
        }
    }
    code.when(BPF_JEQ, libc::SYS_clone as u32, To::Next, To::Allow);
    code.load(FIRST_ARGUMENT);
    // A thread, or a child that shares its parent's memory, changes no count.
    code.when(BPF_JSET, libc::CLONE_VM as u32, To::Allow, To::Notify);
    code.finish(native)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would do with a call.
    fn verdict(code: &[sock_filter], arch: u32, number: u32, first: u32) -> u32 {
        let (mut at, mut word) = (0, 0u32);
        loop {
            let step = code[at];
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            at += 1;
            match u32::from(step.code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => {
                    word = match step.k {
                        NUMBER => number,
                        ARCH => arch,
                        FIRST_ARGUMENT => first,
                        other => panic!("no word at {other}"),
                    }
                }
                code if code == BPF_JMP | BPF_JEQ | BPF_K => at += jump(word == step.k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => at += jump(word >= step.k),
                code if code == BPF_JMP | BPF_JSET | BPF_K => at += jump(word & step.k != 0),
                code if code == BPF_RET | BPF_K => return step.k,
                code => panic!("no instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn the_filter_brings_what_is_served_and_lets_all_else_pass() {
        let code = program();
        for number in 0..600u32 {
            let kind = CALLS.iter().find(|call| call.0 == c_long::from(number));
            let expected = match kind {
                Some(_) => SECCOMP_RET_USER_NOTIF,
                None => SECCOMP_RET_ALLOW,
            };
            assert_eq!(verdict(&code, ARCH_X86_64, number, 0), expected, "{number}");
            let x32 = number | X32_BIT;
            let expected = match kind {
                Some((_, Kind::Served)) => SECCOMP_RET_USER_NOTIF,
                _ => SECCOMP_RET_ALLOW,
            };
            assert_eq!(verdict(&code, ARCH_X86_64, x32, 0), expected, "{number}");
            assert_eq!(kind_of(ARCH_X86_64, x32 as i32), Kind::Foreign);
        }
    }

    #[test]
    fn a_clone_that_shares_memory_passes() {
        let code = program();
        let clone = libc::SYS_clone as u32;
        let thread = (libc::CLONE_VM | libc::CLONE_THREAD) as u32;
        assert_eq!(
            verdict(&code, ARCH_X86_64, clone, thread),
            SECCOMP_RET_ALLOW
        );
        assert_eq!(
            verdict(&code, ARCH_X86_64, clone, libc::SIGCHLD as u32),
            SECCOMP_RET_USER_NOTIF
        );
    }

    #[test]
    fn the_calls_of_32_bit_programs_are_brought_as_foreign() {
        let code = program();
        let (brought, allowed) = (SECCOMP_RET_USER_NOTIF, SECCOMP_RET_ALLOW);
        for (number, expected) in [
            (392, allowed),
            (393, brought),
            (395, brought),
            (402, brought),
            (403, allowed),
            (420, brought),
            (421, allowed),
            (I386_IPC, brought),
            (libc::SYS_shmget as u32, allowed),
        ] {
            assert_eq!(verdict(&code, ARCH_I386, number, 0), expected, "{number}");
            assert_eq!(kind_of(ARCH_I386, number as i32), Kind::Foreign);
        }
    }
}
