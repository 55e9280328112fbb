//! The command: starts a supervisor, which starts the program, and is to its own caller what the program would be. It ends as
//! the program ends, stops when it stops, and passes on the signals that are sent to it. Should the supervisor be killed, it
//! ends all that was supervised.
//!
//! ```text
//!   command          in the caller's process group; waits
//!     supervisor     in a group of its own: no terminal stops or ends it; stays until all that is supervised has ended
//!       program      in the caller's process group
//!       agents
//! ```
//!
//! All that is supervised descends from the supervisor, and stays below it when its parent ends; so the supervisor may trace it
//! where a process may trace its descendants only (`kernel.yama.ptrace_scope`).

use crate::filter;
use crate::message::{Kind, Socket};
use crate::proc;
use crate::report::{self, Event, Report, Reports};
use crate::supervisor::Supervisor;
use crate::sys;
use crate::thread::Listener;
use libc::rlimit;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{
    ForkResult, Pid, close, dup2_stderr, dup2_stdin, dup2_stdout, execvp, geteuid, getpgrp, setpgid,
};
use shmshim_core::os::{signal, startup};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsFd;

/// What a command exits with that could not do its work; the program not executable; not found.
const FAILED: i32 = 125;
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What the supervisor has open by itself, and enough for some processes.
const LEAST_DESCRIPTORS: u64 = 32;

/// Why a program was not run, and the command's exit code for that.
#[derive(PartialEq, Eq, Debug)]
pub struct Refused {
    /// The exit code.
    pub code: i32,
    /// One sentence.
    pub why: String,
}

fn refused(why: impl Into<String>) -> Refused {
    Refused {
        code: FAILED,
        why: why.into(),
    }
}

/// Runs a program and all that it starts under a supervisor, and returns its exit code. If it is killed by a signal, so is this
/// process. Standard input and output are the program's.
pub fn run(program: &[CString]) -> Result<i32, Refused> {
    let Some(name) = program.first() else {
        return Err(refused("no program is named"));
    };
    may_trace()?;
    let limit = raise_descriptor_limit()?;
    let fail = |error: Errno| refused(format!("cannot start a supervisor: {}", error.desc()));
    let (reports, report) = report::channel().map_err(fail)?;
    let mask = SigSet::thread_get_mask().map_err(fail)?;
    let group = getpgrp();
    // Those that this process had already, before it executed this command.
    let earlier = proc::children();
    let _ = prctl::set_child_subreaper(true);
    match sys::fork().map_err(fail)? {
        ForkResult::Child => {
            drop(reports);
            supervise(program, report, (mask, limit), group);
            sys::leave(0)
        }
        ForkResult::Parent { child } => {
            drop(report);
            wait(&reports, name, child, &earlier)
        }
    }
}

/// Whether this machine lets a supervisor trace its descendants.
fn may_trace() -> Result<(), Refused> {
    let scope = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    match scope.trim() {
        "3" => Err(refused(
            "this machine lets no process trace another (kernel.yama.ptrace_scope is 3)",
        )),
        "2" if !geteuid().is_root() => Err(refused(
            "this machine lets root alone trace processes (kernel.yama.ptrace_scope is 2)",
        )),
        _ => Ok(()),
    }
}

/// Raises the number of descriptors that this process may have, and so the supervisor, as far as it may. Returns what the
/// program is to have.
fn raise_descriptor_limit() -> Result<rlimit, Refused> {
    let own = sys::descriptor_limit();
    let most = fs::read_to_string("/proc/sys/fs/nr_open").unwrap_or_default();
    let most = most.trim().parse().unwrap_or(0).max(own.rlim_max);
    for (rlim_cur, rlim_max) in [(most, most), (own.rlim_max, own.rlim_max)] {
        // Root may raise what is the most for others.
        if sys::set_descriptor_limit(&rlimit { rlim_cur, rlim_max }).is_ok() {
            break;
        }
    }
    match sys::descriptor_limit().rlim_cur {
        few @ ..LEAST_DESCRIPTORS => Err(refused(format!(
            "the supervisor may open {few} files at most, and needs {LEAST_DESCRIPTORS}: raise the hard limit (ulimit -Hn)"
        ))),
        _ => Ok(own),
    }
}

// ---- the supervisor's process

fn supervise(program: &[CString], report: Report, own: (SigSet, rlimit), group: Pid) {
    let _ = setpgid(Pid::from_raw(0), Pid::from_raw(0));
    let _ = prctl::set_child_subreaper(true);
    let _ = SigSet::all().thread_block();
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let (Ok(children), Ok((ours, theirs))) =
        (SignalFd::with_flags(&children, flags), Socket::pair())
    else {
        return;
    };
    let child = match sys::fork() {
        Ok(ForkResult::Child) => {
            drop(ours);
            start(program, &report, &theirs, own, group)
        }
        Ok(ForkResult::Parent { child }) => child,
        Err(_) => return,
    };
    drop(theirs);
    let Some(listener) = ours.receive().and_then(|message| message.fd) else {
        // The child has said why.
        return;
    };
    // A reader of what the program writes is to see its end.
    let stays = std::env::var_os("SHMSHIM_TRACE").is_some_and(|value| value == "stderr");
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null);
        let _ = dup2_stdout(&null);
        if !stays {
            let _ = dup2_stderr(&null);
        }
    }
    sys::make_bells();
    report.say(Event::Started(child.as_raw()));
    Supervisor::new(Listener::new(listener), children, report, child).run();
}

/// In the child: becomes the program, with the signal mask and the limit of descriptors that are its own.
fn start(
    program: &[CString],
    report: &Report,
    link: &Socket,
    (mask, limit): (SigSet, rlimit),
    group: Pid,
) -> ! {
    let _ = setpgid(Pid::from_raw(0), group);
    let code = filter::program();
    // Without CAP_SYS_ADMIN a filter takes the promise that no program here gains rights.
    let filter = match sys::install_filter(&code) {
        Err(Errno::EACCES) => prctl::set_no_new_privs().and_then(|()| sys::install_filter(&code)),
        answer => answer,
    };
    let listener = match filter {
        Ok(listener) => listener,
        Err(error) => {
            report.say(Event::NoFilter(error as i32));
            sys::leave(FAILED)
        }
    };
    if link
        .send_all(Kind::Result, &[], &[], Some(listener.as_fd()))
        .is_err()
    {
        sys::leave(FAILED);
    }
    drop(listener);
    let _ = sys::set_descriptor_limit(&limit);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None);
    as_it_was();
    if let Some(name) = program.first() {
        let Err(error) = execvp(name, program);
        report.say(Event::NoProgram(error as i32));
    }
    sys::leave(NOT_FOUND)
}

/// Takes back what the runtime has changed before `main`.
fn as_it_was() {
    if !startup::ignored_pipe() {
        signal::restore_default(libc::SIGPIPE);
    }
    for number in 0..=2 {
        if startup::was_closed(number) {
            let _ = close(number as i32);
        }
    }
}

// ---- the command's own process

/// Waits for the program's end. Signals that the terminal sends to the whole group the program gets itself.
fn wait(
    reports: &Reports,
    name: &CString,
    supervisor: Pid,
    earlier: &[Pid],
) -> Result<i32, Refused> {
    let signals = passed_on()?;
    let mut program = None;
    let mut why = None;
    loop {
        let mut polled = [
            PollFd::new(reports.fd().as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut polled, PollTimeout::NONE);
        let [has_event, has_signal] = polled.map(|one| one.any().unwrap_or(false));
        if has_signal {
            while let Ok(Some(signal)) = signals.read_signal() {
                let is_from_kernel = signal.ssi_code > 0;
                let is_supervisors = signal.ssi_pid == supervisor.as_raw() as u32;
                if let Some(pid) = program.filter(|_| !is_from_kernel && !is_supervisors) {
                    sys::kill(pid, signal.ssi_signo as i32);
                }
            }
        }
        if !has_event {
            continue;
        }
        match reports.next() {
            Some(Event::Started(pid)) => program = Some(Pid::from_raw(pid)),
            Some(Event::NoFilter(error)) => {
                return Err(refused(why_no_filter(Errno::from_raw(error))));
            }
            Some(Event::NoProgram(error)) => {
                why = Some(no_program(name, Errno::from_raw(error)));
            }
            Some(Event::Exited(code)) => return why.map_or(Ok(code), Err),
            Some(Event::Killed(signal)) => {
                sys::forbid_core_dump();
                sys::die_of(signal);
                return Ok(128 + signal);
            }
            None => {
                end_orphans(earlier);
                return Err(why.unwrap_or_else(|| {
                    refused("the supervisor was killed, without which the program could not go on: it was ended")
                }));
            }
        }
    }
}

/// Signals that are sent to the command and meant for the program. From now on they come by this alone.
fn passed_on() -> Result<SignalFd, Refused> {
    let set = SigSet::from_iter([
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGCONT,
        Signal::SIGWINCH,
        Signal::SIGALRM,
    ]);
    let fail = |error: Errno| refused(format!("cannot wait for the program: {}", error.desc()));
    set.thread_block().map_err(fail)?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).map_err(fail)
}

fn no_program(name: &CString, error: Errno) -> Refused {
    let name = name.to_string_lossy();
    Refused {
        code: match error {
            Errno::ENOENT => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        },
        why: format!("cannot run {name}: {}", error.desc()),
    }
}

/// Ends what a killed supervisor has left to this process. Without one, all calls that the filter brings fail with `ENOSYS`,
/// `fork` and `execve` among them.
fn end_orphans(earlier: &[Pid]) {
    loop {
        let orphans: Vec<Pid> = proc::children()
            .into_iter()
            .filter(|pid| !earlier.contains(pid))
            .collect();
        if orphans.is_empty() {
            return;
        }
        for &pid in &orphans {
            sys::kill(pid, libc::SIGKILL);
        }
        for pid in orphans {
            let _ = sys::wait(pid, libc::__WALL);
        }
    }
}

fn why_no_filter(error: Errno) -> String {
    match error {
        Errno::EBUSY => "the system calls of this process are supervised already, by a container's runtime or by \
            shmshim-static itself; programs that a supervised one starts are supervised without it"
            .into(),
        Errno::EINVAL => "this kernel's seccomp has no notification that signals leave alone (Linux 5.19 or later)".into(),
        Errno::ENOSYS => "this kernel has no seccomp".into(),
        error => format!("the kernel refuses a seccomp filter: {}", error.desc()),
    }
}
