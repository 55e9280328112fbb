//! The supervisor: takes the notified calls of all that is supervised, has each client's agent serve them, and does in the
//! clients what the agents ask for. It never waits for an agent, so a client that has to wait keeps no other waiting.

mod agents;
mod calls;

use crate::client::Client;
use crate::message::Socket;
use crate::report::{Event, Report};
use crate::sys::{self, Notification};
use crate::thread::Listener;
use crate::trace;
use libc::c_int;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the end of the program is kept back until its agents have dropped what it had attached, and calls until those of
/// processes that have ended are over.
const MOST_FOR_AGENTS: Duration = Duration::from_secs(1);

/// The supervisor.
pub struct Supervisor {
    listener: Listener,
    /// Says that children of this process have changed.
    children: SignalFd,
    report: Report,
    /// The program that was asked for.
    program: Pid,
    /// Its end, and until when to keep that back.
    end: Option<(Event, Instant)>,
    /// It has ended.
    is_over: bool,
    /// The command was killed.
    is_alone: bool,
    clients: HashMap<u64, Client>,
    next_key: u64,
    by_pid: HashMap<Pid, u64>,
    /// Which process a thread belongs to, as far as it has been asked.
    process_of: HashMap<Pid, Pid>,
    /// Agents that drop what their clients had.
    ending: Vec<Socket>,
    /// Calls that are held back while an agent works for a process that has ended.
    held_back: Vec<(Notification, Instant)>,
}

/// Where a message came from.
#[derive(Clone, Copy)]
enum Source {
    Agent(u64),
    Process(u64),
    Ending(usize),
}

impl Supervisor {
    /// One for `program`, this process's child, and all that comes of it.
    pub fn new(listener: Listener, children: SignalFd, report: Report, program: Pid) -> Supervisor {
        Supervisor {
            listener,
            children,
            report,
            program,
            end: None,
            is_over: false,
            is_alone: false,
            clients: HashMap::new(),
            next_key: 0,
            by_pid: HashMap::new(),
            process_of: HashMap::new(),
            ending: Vec::new(),
            held_back: Vec::new(),
        }
    }

    /// Works until nothing is left that is supervised.
    pub fn run(mut self) {
        loop {
            while let Some(call) = self.listener.take_early() {
                self.take(call);
            }
            self.take_held_back();
            self.report_end();
            let (is_called, is_over, has_children, sources) = self.wait();
            if has_children {
                self.look_at_children();
            }
            // The dead first: what they had must not count for the calls that follow.
            for source in sources {
                match source {
                    Source::Process(key) => self.note_death(key),
                    Source::Agent(key) => self.hear(key),
                    Source::Ending(_) => {}
                }
            }
            if is_called {
                if let Some(call) = self.listener.take() {
                    self.take(call);
                }
            } else if is_over
                && self.end.is_none()
                && self.clients.is_empty()
                && self.ending.is_empty()
            {
                // A process leaves its filter before it can be waited for.
                while !self.is_over {
                    self.look_at_children();
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.report_end();
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> (bool, bool, bool, Vec<Source>) {
        let mut polled = vec![
            PollFd::new(self.listener.fd().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        // A signal that kills the command is meant for the program.
        let is_watched = !self.is_over && !self.is_alone;
        if is_watched {
            polled.push(PollFd::new(self.report.fd().as_fd(), PollFlags::empty()));
        }
        let mut sources = Vec::new();
        for (&key, client) in &self.clients {
            if !client.is_dead {
                polled.push(PollFd::new(client.pidfd.as_fd(), PollFlags::POLLIN));
                sources.push(Source::Process(key));
            }
        }
        for (&key, client) in &self.clients {
            if let Some(agent) = &client.agent {
                polled.push(PollFd::new(agent.fd().as_fd(), PollFlags::POLLIN));
                sources.push(Source::Agent(key));
            }
        }
        for (at, agent) in self.ending.iter().enumerate() {
            polled.push(PollFd::new(agent.fd().as_fd(), PollFlags::empty()));
            sources.push(Source::Ending(at));
        }
        let held_back = self.held_back.first().map(|(_, until)| *until);
        let end = self.end.map(|(_, until)| until);
        let timeout = match held_back.into_iter().chain(end).min() {
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
            }
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut polled, timeout);
        let seen: Vec<PollFlags> = polled
            .iter()
            .map(|one| one.revents().unwrap_or(PollFlags::empty()))
            .collect();
        let (fixed, rest) = seen.split_at(2 + usize::from(is_watched));
        let said: Vec<Source> = sources
            .into_iter()
            .zip(rest)
            .filter_map(|(source, seen)| (!seen.is_empty()).then_some(source))
            .collect();
        for source in said.iter().rev() {
            if let Source::Ending(at) = source {
                self.ending.swap_remove(*at);
            }
        }
        let is_called = fixed
            .first()
            .is_some_and(|seen| seen.contains(PollFlags::POLLIN));
        let is_over = fixed
            .first()
            .is_some_and(|seen| seen.contains(PollFlags::POLLHUP));
        let has_children = fixed.get(1).is_some_and(|seen| !seen.is_empty());
        if fixed.get(2).is_some_and(|seen| !seen.is_empty()) {
            self.is_alone = true;
            sys::kill(self.program, libc::SIGKILL);
        }
        (is_called, is_over, has_children, said)
    }

    /// What has become of the program; and orphans that have ended are taken note of.
    fn look_at_children(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        let options = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WALL;
        while let Ok(Some((pid, status))) = sys::wait(Pid::from_raw(-1), options) {
            if pid != self.program {
                continue;
            }
            if libc::WIFCONTINUED(status) {
                self.report.signal(libc::SIGCONT);
            } else if libc::WIFSTOPPED(status) && status >> 16 == 0 {
                self.report.signal(libc::SIGSTOP);
            }
            let Some(event) = end_of(status) else {
                continue;
            };
            self.end = Some((event, Instant::now() + MOST_FOR_AGENTS));
            self.is_over = true;
            if let Some(key) = self.by_pid.get(&pid).copied() {
                self.note_death(key);
            }
        }
    }

    /// Reports the program's end, once no agent is dropping what it had.
    fn report_end(&mut self) {
        let Some((event, until)) = self.end else {
            return;
        };
        let is_busy = !self.ending.is_empty() || self.clients.values().any(|client| client.is_dead);
        if !is_busy || Instant::now() >= until {
            self.report.say(event);
            self.end = None;
        }
    }

    /// Notes which clients have ended by now: one that the caller of a call has waited for has.
    fn note_deaths(&mut self) {
        let living: Vec<(&u64, &Client)> = self
            .clients
            .iter()
            .filter(|(_, client)| !client.is_dead)
            .collect();
        let mut polled: Vec<PollFd> = living
            .iter()
            .map(|(_, client)| PollFd::new(client.pidfd.as_fd(), PollFlags::POLLIN))
            .collect();
        let _ = poll(&mut polled, PollTimeout::ZERO);
        let dead: Vec<u64> = living
            .iter()
            .zip(&polled)
            .filter(|(_, seen)| seen.any() == Some(true))
            .map(|((key, _), _)| **key)
            .collect();
        for key in dead {
            self.note_death(key);
        }
    }

    fn note_death(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        client.is_dead = true;
        client.waiting.clear();
        client.asleep.clear();
        let pid = client.pid;
        if self.by_pid.get(&pid) == Some(&key) {
            self.by_pid.remove(&pid);
        }
        self.process_of.retain(|_, process| *process != pid);
        self.go_on(key);
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if trace::is_on() {
            trace::say(&|line| line.put(format_args!("shmshim-static: {what}")));
        }
    }
}

/// The end that a child's raw status tells of.
fn end_of(status: c_int) -> Option<Event> {
    if libc::WIFEXITED(status) {
        Some(Event::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Event::Killed(libc::WTERMSIG(status)))
    } else {
        None
    }
}
