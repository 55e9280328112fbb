//! The parent of a program that something is to be done after: it is to its own caller what the program would be. It ends as
//! the program ends, stops when it stops, and passes on the signals that are sent to it.
//!
//! Both are in one process group, so what the terminal sends (`^C`, `^Z`, a hang-up) reaches the program by itself; only
//! what is sent to the parent is passed on. A signal that was ignored when the command was started stays ignored,
//! as under `nohup`.

use std::io;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use signal_hook::consts::{
    SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU,
    SIGUSR1, SIGUSR2, SIGWINCH,
};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::emulate_default_handler;
use signal_hook::low_level::siginfo::{Cause, Origin};

use crate::error::{Error, Outcome, RUN_FAILED};

/// What may be sent to a command to have the program do something.
const PASSED_ON: [i32; 12] = [
    SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, SIGUSR1,
    SIGUSR2, SIGWINCH,
];
/// What ends a program that does nothing about it.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// How a program ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// With an exit status.
    Exit(u8),
    /// By a signal.
    Killed(Signal),
}

/// Receives the signals of this process from its making on.
pub struct Parent {
    signals: SignalsInfo<WithOrigin>,
}

impl Parent {
    /// To be made before the program is started: from then on no signal ends this process.
    pub fn new() -> Outcome<Parent> {
        let ignored = ignored_signals();
        let mut wanted: Vec<i32> = PASSED_ON
            .into_iter()
            .filter(|&signal| ignored >> (signal - 1) & 1 == 0)
            .collect();
        wanted.push(SIGCHLD);
        let signals = SignalsInfo::<WithOrigin>::new(wanted).map_err(failed)?;
        Ok(Parent { signals })
    }

    /// Waits for the end of the program, which is a child of this process.
    pub fn wait(&mut self, child: Pid) -> Outcome<End> {
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED;
        loop {
            match waitpid(child, Some(flags)) {
                Ok(WaitStatus::Exited(_, status)) => return Ok(End::Exit(status as u8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(End::Killed(signal)),
                Ok(WaitStatus::Stopped(_, signal)) => {
                    stop(signal);
                    self.go_on(child);
                    continue;
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(failed(error.into())),
            }
            for origin in self.signals.wait() {
                pass_on(&origin, child);
            }
        }
    }

    /// This process was continued, and the program as well, unless the signal came to this process alone. Later it would undo
    /// the next stop.
    fn go_on(&mut self, child: Pid) {
        if is_stopped(child) {
            let _ = kill(child, Signal::SIGCONT);
        }
        for origin in self.signals.pending() {
            if origin.signal != SIGCONT {
                pass_on(&origin, child);
            }
        }
    }

    /// Waits until a signal comes, or the time is over. Returns the signal if it is one that ends a program.
    pub fn is_interrupted(&mut self) -> Option<Signal> {
        let ending = self
            .signals
            .pending()
            .find(|origin| ENDING.contains(&origin.signal));
        ending.and_then(|origin| Signal::try_from(origin.signal).ok())
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
    let by_child = origin
        .process
        .is_some_and(|process| process.pid == child.as_raw());
    let Ok(signal) = Signal::try_from(origin.signal) else {
        return;
    };
    if !is_sent || by_child || signal == Signal::SIGCHLD {
        return;
    }
    // A shell continues the whole group; a second SIGCONT would have a handler run twice.
    if signal == Signal::SIGCONT && !is_stopped(child) {
        return;
    }
    let _ = kill(child, signal);
}

fn is_stopped(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|text| {
            text.rsplit_once(") ")
                .map(|(_, rest)| rest.starts_with(['T', 't']))
        })
        .unwrap_or(false)
}

/// Stops this process as the program was stopped, until it is continued.
fn stop(signal: Signal) {
    let _ = emulate_default_handler(signal as i32);
}

/// Ends this process as the program ended.
pub fn leave(end: End) -> ExitCode {
    match end {
        End::Exit(status) => ExitCode::from(status),
        End::Killed(signal) => {
            // Its core is the program's, not this one's.
            let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
            let _ = emulate_default_handler(signal as i32);
            ExitCode::from(128u8.saturating_add(signal as i32 as u8))
        }
    }
}

/// The signals that this process was told to ignore, a bit for each.
fn ignored_signals() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}
