//! The terminal while the full screen is shown: taken over, given back at the end, at errors, and while the command is
//! stopped.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP};

use crate::error::{Error, Outcome};

/// The longest time for which a signal is not noticed.
const NAP: Duration = Duration::from_millis(100);

/// The terminal. It is given back when this is dropped.
pub struct Screen {
    terminal: DefaultTerminal,
    ended: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

/// What has happened at the terminal.
pub enum Input {
    /// A key other than those for the end.
    Key(KeyEvent),
    /// The screen has another size or was not ours for a while: it must be drawn.
    Redraw,
    /// The user or a signal ends the command.
    End,
    /// Nothing within the time.
    Nothing,
}

impl Screen {
    /// Takes the terminal over. It takes one.
    pub fn take() -> Outcome<Screen> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(Error::usage(
                "watch needs a terminal for its input and output: use show, dump or who where there is none, or --once",
            ));
        }
        let ended = Arc::<AtomicBool>::default();
        let stopped = Arc::<AtomicBool>::default();
        for signal in [SIGTERM, SIGHUP, SIGINT] {
            // The second one ends the command wherever it is.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&ended))
                .map_err(refused)?;
            signal_hook::flag::register(signal, Arc::clone(&ended)).map_err(refused)?;
        }
        signal_hook::flag::register(SIGTSTP, Arc::clone(&stopped)).map_err(refused)?;
        Ok(Screen {
            terminal: ratatui::try_init().map_err(refused)?,
            ended,
            stopped,
        })
    }

    /// Draws.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> Outcome<()> {
        self.terminal.draw(draw).map(drop).map_err(refused)
    }

    /// Waits this long for something to happen.
    pub fn wait(&mut self, time: Duration) -> Outcome<Input> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(Input::End);
        }
        if self.stopped.swap(false, Ordering::Relaxed) {
            return self.stop();
        }
        // crossterm reads a terminal that is gone for ever: it is only asked while there is one.
        if is_gone(Duration::ZERO)? {
            return Ok(Input::End);
        }
        if !event::poll(Duration::ZERO).map_err(refused)? {
            return Ok(match is_gone(time.min(NAP))? {
                true => Input::End,
                false => Input::Nothing,
            });
        }
        Ok(match event::read().map_err(refused)? {
            Event::Key(key) if key.kind == KeyEventKind::Release => Input::Nothing,
            Event::Key(key) if is_control(&key, 'c') => Input::End,
            Event::Key(key) if is_control(&key, 'z') => self.stop()?,
            Event::Key(key) if is_control(&key, 'l') => {
                self.terminal.clear().map_err(refused)?;
                Input::Redraw
            }
            Event::Key(key) => Input::Key(key),
            _ => Input::Redraw,
        })
    }

    /// Stops, as `^Z` does with other programs, and takes the terminal again when the shell goes on with the command.
    fn stop(&mut self) -> Outcome<Input> {
        ratatui::try_restore().map_err(refused)?;
        signal_hook::low_level::emulate_default_handler(SIGTSTP).map_err(refused)?;
        self.terminal = ratatui::try_init().map_err(refused)?;
        self.terminal.clear().map_err(refused)?;
        Ok(Input::Redraw)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone cannot be given back.
        let _ = self.terminal.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Waits this long for input, and says whether none can come any more.
fn is_gone(time: Duration) -> Outcome<bool> {
    let input = io::stdin();
    let mut waited_for = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
    let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
    match poll(&mut waited_for, PollTimeout::from(millis)) {
        // A signal, which the caller asks for next.
        Err(Errno::EINTR) => return Ok(false),
        other => other.map_err(|errno| refused(errno.into()))?,
    };
    let ends = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    let found = waited_for.iter().find_map(PollFd::revents);
    Ok(found.is_some_and(|found| found.intersects(ends)))
}

fn is_control(key: &KeyEvent, letter: char) -> bool {
    key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char(letter)
}

fn refused(error: io::Error) -> Error {
    Error::refused(format!("the terminal cannot be used: {error}"))
}
