//! What the supervisor tells the command that has started it.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{pipe2, read, write};
use std::os::fd::OwnedFd;

/// What has become of the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// It has this process id.
    Started(i32),
    /// It was stopped by this signal.
    Stopped(i32),
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
pub struct Report(OwnedFd);

/// The command's end of it.
pub struct Reports(OwnedFd);

/// Both ends.
pub fn channel() -> nix::Result<(Reports, Report)> {
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Reports(reading), Report(writing)))
}

impl Report {
    /// Tells of an event.
    pub fn say(&self, event: Event) {
        let (kind, value) = match event {
            Event::Started(value) => (1, value),
            Event::Stopped(value) => (2, value),
            Event::Exited(value) => (3, value),
            Event::Killed(value) => (4, value),
            Event::NoFilter(value) => (5, value),
            Event::NoProgram(value) => (6, value),
        };
        let mut bytes = [0; 8];
        let (first, second) = bytes.split_at_mut(4);
        first.copy_from_slice(&i32::to_ne_bytes(kind));
        second.copy_from_slice(&value.to_ne_bytes());
        // Refused when the command has been killed.
        let _ = write(&self.0, &bytes);
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
            2 => Event::Stopped(value),
            3 => Event::Exited(value),
            4 => Event::Killed(value),
            5 => Event::NoFilter(value),
            6 => Event::NoProgram(value),
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
            Event::Stopped(20),
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
