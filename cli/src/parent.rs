//! The parent of a program that something is to be done after: it is to its own caller what the program would be. It ends as
//! the program ends, stops when it stops, and passes on the signals that are sent to it.
//!
//! Both are in one process group, so what the terminal sends (`^C`, `^Z`, a hang-up) reaches the program by itself; only
//! what is sent to the parent is passed on. A signal that was ignored when the command was started stays ignored,
//! as under `nohup`.

use std::io;
use std::process::ExitCode;

use nix::sys::resource::{Resource, setrlimit};
use rustix::process::{Pid, WaitOptions, waitpid};
use shmshim_core::os::signal;
use signal_hook::consts::{
    SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGSTOP,
    SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU,
    SIGXFSZ,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::raise;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::error::{Error, Outcome, RUN_FAILED};

/// What may be sent to a command to have the program do something, and the signals of real time. Not those that no process can
/// catch, SIGCHLD, and those that a process raises by an error of its own.
const PASSED_ON: [i32; 22] = [
    SIGABRT,
    SIGALRM,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGIO,
    SIGPIPE,
    SIGPROF,
    libc::SIGPWR,
    SIGQUIT,
    libc::SIGSTKFLT,
    SIGTERM,
    SIGTSTP,
    SIGTTIN,
    SIGTTOU,
    SIGURG,
    SIGUSR1,
    SIGUSR2,
    SIGVTALRM,
    SIGWINCH,
    SIGXCPU,
    SIGXFSZ,
];
/// What ends a program that does nothing about it.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
/// What ends a write that fails anyway, with an error that can be told.
const OF_WRITES: [i32; 2] = [SIGPIPE, SIGXFSZ];

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With an exit status.
    Exit(u8),
    /// By the signal with this number.
    Killed(i32),
}

/// Receives the signals of this process from its making on.
pub struct Parent {
    signals: SignalsInfo<WithOrigin>,
    /// Those that are passed on.
    passed_on: Vec<i32>,
}

impl Parent {
    /// To be made before the program is started: from then on no signal ends this process.
    pub fn new() -> Outcome<Parent> {
        let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
        let passed_on: Vec<i32> = PASSED_ON
            .into_iter()
            .chain(real_time)
            .filter(|&number| !is_ignored(number))
            .collect();
        let wanted = passed_on.iter().chain([&SIGCHLD]);
        let signals = SignalsInfo::<WithOrigin>::new(wanted).map_err(failed)?;
        Ok(Parent { signals, passed_on })
    }

    /// Waits for the end of the program, which is a child of this process.
    pub fn wait(&mut self, child: Pid) -> Outcome<End> {
        let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
        loop {
            let status = match waitpid(Some(child), options) {
                Ok(waited) => waited.map(|(_, status)| status),
                Err(rustix::io::Errno::INTR) => None,
                Err(error) => return Err(failed(error.into())),
            };
            if let Some(status) = status {
                if status.stopped() {
                    // As the program was stopped, until this process is continued.
                    let _ = raise(SIGSTOP);
                    self.go_on(child);
                    continue;
                }
                let killed = status.terminating_signal().map(End::Killed);
                let exited = status.exit_status().map(|status| End::Exit(status as u8));
                if let Some(end) = killed.or(exited) {
                    // What came until now was for the program.
                    self.signals.pending().for_each(drop);
                    return Ok(end);
                }
            }
            for origin in self.signals.wait() {
                pass_on(&origin, child);
            }
        }
    }

    /// The program has ended: from now on signals do with this process what they do with any. Returns one that came since then
    /// and would have ended it.
    pub fn release(mut self) -> Option<i32> {
        for &number in &self.passed_on {
            if !OF_WRITES.contains(&number) {
                signal::restore_default(number);
            }
        }
        self.is_interrupted()
    }

    /// This process was continued, and the program as well, unless the signal came to this process alone. Later it would undo
    /// the next stop.
    fn go_on(&mut self, child: Pid) {
        if is_stopped(child) {
            send(child, SIGCONT);
        }
        for origin in self.signals.pending() {
            if origin.signal != SIGCONT {
                pass_on(&origin, child);
            }
        }
    }

    /// A signal that came since this was asked before, if it is one that ends a program.
    pub fn is_interrupted(&mut self) -> Option<i32> {
        let mut came = self.signals.pending().map(|origin| origin.signal);
        came.find(|number| ENDING.contains(number))
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(
        RUN_FAILED,
        format!("the program cannot be waited for: {error}"),
    )
}

fn pass_on(origin: &Origin, child: Pid) {
    let is_sent = matches!(origin.cause, Cause::Sent(_));
    let sender = origin.process.map_or(0, |process| process.pid);
    // A SIGPIPE of its own this process sends to itself.
    let is_ours = sender == child.as_raw_nonzero().get() || sender as u32 == std::process::id();
    if !is_sent || is_ours || origin.signal == SIGCHLD {
        return;
    }
    // A shell continues the whole group; a second SIGCONT would have a handler run twice.
    if origin.signal == SIGCONT && !is_stopped(child) {
        return;
    }
    send(child, origin.signal);
}

fn send(child: Pid, number: i32) {
    let _ = signal::send(child.as_raw_nonzero().get(), number);
}

fn is_stopped(child: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", child.as_raw_nonzero()))
        .ok()
        .and_then(|text| {
            text.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with(['T', 't']))
        })
        .unwrap_or(false)
}

/// Ends this process as the program ended. Nothing is dropped any more.
pub fn leave(end: End) -> ExitCode {
    match end {
        End::Exit(status) => ExitCode::from(status),
        End::Killed(number) => {
            // Its core is the program's, not this one's.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            signal::end_by(number);
            ExitCode::from(128u8.saturating_add(number as u8))
        }
    }
}

/// Whether this process was told to ignore a signal.
fn is_ignored(number: i32) -> bool {
    // This one the runtime ignores in every program; what is started gets it as it is by default.
    number != SIGPIPE && signal::is_ignored(number)
}
