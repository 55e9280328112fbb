//! What the supervisor tells the command that has started it.

use crate::sys;
use libc::c_int;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2, read, write};
use std::os::fd::OwnedFd;

/// What has become of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It has this process id.
    Started(i32),
    /// It has ended with this code.
    Exited(i32),
    /// It was killed by this signal.
    Killed(i32),
    /// It could not be supervised: the errno of `seccomp`.
    NoFilter(i32),
    /// It could not be executed: the errno.
    NoProgram(i32),
}

/// The way to the command.
pub struct Report {
    way: OwnedFd,
    command: Pid,
}

/// The command's end of it.
pub struct Reports(OwnedFd);

/// Both ends. This process is the command.
pub fn channel() -> nix::Result<(Reports, Report)> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    let report = Report {
        way: writing,
        command: Pid::this(),
    };
    Ok((Reports(reading), report))
}

impl Report {
    /// Tells of an event.
    pub fn say(&self, event: Event) {
        let (kind, value) = match event {
            Event::Started(value) => (1, value),
            Event::Exited(value) => (2, value),
            Event::Killed(value) => (3, value),
            Event::NoFilter(value) => (4, value),
            Event::NoProgram(value) => (5, value),
        };
        let mut bytes = [0; 8];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&i32::to_ne_bytes(kind));
        second.copy_from_slice(&value.to_ne_bytes());
        // Refused when the command has been killed.
        let _ = write(&self.way, &bytes);
    }

    /// The descriptor: in an error once the command has ended.
    pub fn fd(&self) -> &OwnedFd {
        &self.way
    }

    /// Sends the command a signal: it stops when the program stops, and goes on with it.
    pub fn signal(&self, signal: c_int) {
        // Once it has ended, its process id may be another's.
        if Pid::parent() == self.command {
            sys::kill(self.command, signal);
        }
    }
}

impl Reports {
    /// The descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Waits for the next event. `None`: the supervisor is gone.
    pub fn next(&self) -> Option<Event> {
        let mut bytes = [0; 8];
        loop {
            match read(&self.0, &mut bytes) {
                Ok(8) => break,
                Err(Errno::EINTR) => {}
                _ => return None,
            }
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        let value = i32::from_ne_bytes([e, f, g, h]);
        Some(match i32::from_ne_bytes([a, b, c, d]) {
            1 => Event::Started(value),
            2 => Event::Exited(value),
            3 => Event::Killed(value),
            4 => Event::NoFilter(value),
            5 => Event::NoProgram(value),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_arrive_as_they_were_told() {
        let (reports, report) = channel().unwrap();
        let events = [
            Event::Started(7),
            Event::Exited(3),
            Event::Killed(9),
            Event::NoFilter(16),
            Event::NoProgram(2),
        ];
        for event in events {
            report.say(event);
        }
        for event in events {
            assert_eq!(reports.next(), Some(event));
        }
        drop(report);
        assert_eq!(reports.next(), None);
    }
}
