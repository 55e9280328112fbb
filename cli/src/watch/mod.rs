//! The full-screen view: a list of segments with what happens to them, or the bytes of one.
//!
//! A [`View`] reads, draws and takes keys. This file has the loop around it, [`terminal`] the terminal.

mod events;
mod hex;
mod list;
mod look;
mod memory;
mod target;
mod terminal;
mod values;

use std::time::{Duration, Instant};

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::Frame;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};

use crate::error::{Error, Outcome};
use crate::output::print;

pub use hex::Hex;
pub use list::List;
pub use target::Access;
pub use values::{Typed, Values};

use look::Look;
use terminal::{Input, Screen};

/// How long a change is lit.
const LIT: Duration = Duration::from_secs(3);

/// What a frame is drawn with.
pub struct Canvas<'f, 'b> {
    frame: &'f mut Frame<'b>,
    /// What the view may draw on.
    area: Rect,
    look: Look,
    /// How many refreshes ago a change stops to be lit.
    fade: u64,
}

/// What a key has led to.
pub enum Reaction {
    /// It means nothing here.
    Unknown,
    /// The view has changed.
    Done,
    /// Another view is to be shown over this one.
    Open(Box<dyn View>),
}

/// Something that is watched.
pub trait View {
    /// Reads anew.
    fn refresh(&mut self) -> Outcome<()>;
    /// What the first line says.
    fn title(&self) -> String;
    /// What the last line says of the keys.
    fn keys(&self) -> String;
    /// Draws what lies between.
    fn draw(&mut self, canvas: &mut Canvas<'_, '_>);
    /// Takes a key.
    fn key(&mut self, key: KeyEvent) -> Outcome<Reaction>;
    /// Whether it takes letters as a text at the moment.
    fn is_asking(&self) -> bool {
        false
    }
}

/// Watches until the user ends it.
pub fn run(view: Box<dyn View>, interval: Duration) -> Outcome<()> {
    let mut screen = Screen::take()?;
    let mut watch = Watch::new(view, interval);
    watch.refresh();
    loop {
        screen.draw(|frame| watch.draw(frame))?;
        match screen.wait(watch.time_left())? {
            Input::End => return Ok(()),
            Input::Redraw | Input::Nothing => {}
            Input::Key(key) => {
                if watch.key(key)? {
                    return Ok(());
                }
            }
        }
        if watch.time_left().is_zero() {
            watch.refresh();
        }
    }
}

/// Prints one frame as text, as wide and high as COLUMNS and LINES say, else 80 by 24.
pub fn once(view: Box<dyn View>, interval: Duration) -> Outcome<()> {
    let size = |name: &str, default: u16| {
        let set = std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok());
        set.filter(|size| (1..=1000).contains(size))
            .unwrap_or(default)
    };
    let refused = |error: std::io::Error| Error::refused(format!("nothing can be drawn: {error}"));
    let backend = TestBackend::new(size("COLUMNS", 80), size("LINES", 24));
    let mut terminal = ratatui::Terminal::new(backend).map_err(refused)?;
    let mut watch = Watch::new(view, interval);
    watch.top().refresh()?;
    let drawn = terminal.draw(|frame| watch.draw(frame)).map_err(refused)?;
    let mut text = String::new();
    for row in drawn
        .buffer
        .content()
        .chunks(usize::from(drawn.area.width.max(1)))
    {
        let line: String = row.iter().map(|cell| cell.symbol()).collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    print(&text)
}

/// The views, and when they were read.
struct Watch {
    first: Box<dyn View>,
    /// Views that were opened over the first.
    above: Vec<Box<dyn View>>,
    interval: Duration,
    refreshed: Instant,
    is_paused: bool,
    /// Why the last refresh failed, and what the last key has to say.
    error: Option<Error>,
    notice: Option<Error>,
    look: Look,
}

impl Watch {
    fn new(view: Box<dyn View>, interval: Duration) -> Watch {
        Watch {
            first: view,
            above: Vec::new(),
            interval,
            refreshed: Instant::now(),
            is_paused: false,
            error: None,
            notice: None,
            look: Look::new(),
        }
    }

    fn top(&mut self) -> &mut dyn View {
        match self.above.last_mut() {
            Some(top) => top.as_mut(),
            None => self.first.as_mut(),
        }
    }

    fn time_left(&self) -> Duration {
        match self.is_paused {
            true => self.interval,
            false => self.interval.saturating_sub(self.refreshed.elapsed()),
        }
    }

    /// Reads anew. What cannot be read is said on the screen: it may come back.
    fn refresh(&mut self) {
        self.error = self.top().refresh().err();
        self.refreshed = Instant::now();
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [top, area, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let look = self.look;
        let ticks = LIT.as_secs_f64() / self.interval.as_secs_f64().max(0.001);
        let fade = ticks.ceil().max(2.0) as u64;
        let paused = if self.is_paused { "[paused] " } else { "" };
        let (title, keys) = (self.top().title(), self.top().keys());
        look::bar(frame, top, &format!("{paused}{title}"), look.bar());
        let mut canvas = Canvas {
            frame,
            area,
            look,
            fade,
        };
        self.top().draw(&mut canvas);
        let back = if self.above.is_empty() {
            ""
        } else {
            "  Esc back"
        };
        match self.error.as_ref().or(self.notice.as_ref()) {
            Some(error) => look::bar(frame, bottom, &error.sentence, look.alarm()),
            None => look::bar(frame, bottom, &format!("{keys}{back}"), look.bar()),
        }
    }

    /// Takes a key. `true`: it ends the command.
    fn key(&mut self, key: KeyEvent) -> Outcome<bool> {
        self.notice = None;
        if !self.top().is_asking() {
            match key.code {
                KeyCode::Char('q') => return Ok(true),
                KeyCode::Char('p' | ' ') => {
                    self.is_paused = !self.is_paused;
                    return Ok(false);
                }
                KeyCode::Esc | KeyCode::Backspace if self.above.pop().is_some() => {
                    self.refresh();
                    return Ok(false);
                }
                _ => {}
            }
        }
        match self.top().key(key) {
            Ok(Reaction::Open(view)) => {
                self.above.push(view);
                self.refresh();
            }
            // What scrolls may show what was not read yet.
            Ok(Reaction::Done) if !self.is_paused => self.error = self.top().refresh().err(),
            Ok(_) => {}
            Err(error) => self.notice = Some(error),
        }
        Ok(false)
    }
}
