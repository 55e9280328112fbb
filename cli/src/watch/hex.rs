//! The bytes of a segment, with changes lit up.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::memory::{Byte, Memory, WHOLE};
use super::target::{Access, Target};
use super::{Canvas, Reaction, View};
use crate::bytes;
use crate::error::{Error, Outcome};
use crate::segment::Which;

/// The bytes of a segment.
pub struct Hex {
    target: Target,
    memory: Memory,
    /// The first byte that is shown.
    top: u64,
    /// How many bytes a line and the screen had when it was drawn last.
    line: u64,
    screen: u64,
    fade: u64,
    is_text: bool,
    /// The offset to go to, as far as it is typed.
    asked: Option<String>,
}

impl Hex {
    /// The bytes of this segment, from a place on.
    pub fn new(access: Access, which: &Which, offset: u64) -> Outcome<Hex> {
        Ok(Hex {
            target: Target::new(access, which)?,
            memory: Memory::default(),
            top: offset,
            line: 16,
            screen: 16 * 22,
            fade: 0,
            is_text: false,
            asked: None,
        })
    }

    /// The last place that can be the first on the screen.
    fn last_top(&self) -> u64 {
        let len = self.target.segment().size;
        let lines = len.div_ceil(self.line) * self.line;
        lines.saturating_sub(self.screen)
    }

    fn go_to(&mut self, offset: u64) {
        self.top = (offset - offset % self.line).min(self.last_top());
    }

    /// Takes a key while an offset is typed.
    fn answer(&mut self, key: KeyEvent) -> Outcome<Reaction> {
        let Some(text) = &mut self.asked else {
            return Ok(Reaction::Unknown);
        };
        match key.code {
            KeyCode::Char(letter) => text.push(letter),
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Enter => {
                let text = self.asked.take().unwrap_or_default();
                let offset = bytes::offset(text.trim()).ok_or_else(|| {
                    Error::usage(format!("{text:?} is no offset: write 4096 or 0x1000"))
                })?;
                self.go_to(offset);
            }
            KeyCode::Esc => self.asked = None,
            _ => return Ok(Reaction::Unknown),
        }
        Ok(Reaction::Done)
    }

    /// How many bytes fit into a line.
    fn fitting(&self, width: u16) -> u64 {
        let width = u64::from(width);
        match (self.is_text, width) {
            (true, 76..) => 64,
            (true, 44..) => 32,
            (true, _) => 16,
            (false, 78..) => 16,
            (false, 45..) => 8,
            (false, _) => 4,
        }
    }

    fn row(&self, offset: u64, style: &dyn Fn(Byte) -> Style, quiet: Style) -> Line<'static> {
        let mut spans = vec![Span::styled(format!("{offset:08x}"), quiet)];
        let bytes: Vec<_> = (offset..offset + self.line)
            .map(|at| self.memory.at(at))
            .collect();
        if !self.is_text {
            for (at, byte) in bytes.iter().enumerate() {
                spans.push(Span::raw(if at % 8 == 0 { "  " } else { " " }));
                spans.push(match byte {
                    Some(byte) => Span::styled(format!("{:02x}", byte.value), style(*byte)),
                    None => Span::raw("  "),
                });
            }
        }
        spans.push(Span::raw("  |"));
        for byte in bytes.into_iter().flatten() {
            let shown = match byte.value {
                b' '..=b'~' => char::from(byte.value),
                _ => '.',
            };
            spans.push(Span::styled(shown.to_string(), style(byte)));
        }
        spans.push(Span::raw("|"));
        Line::from(spans)
    }
}

impl View for Hex {
    fn refresh(&mut self) -> Outcome<()> {
        if !self.target.refresh()? {
            return Ok(());
        }
        let (start, len) = match self.target.segment().size {
            size @ 0..=WHOLE => (0, size),
            _ => (self.top, self.screen),
        };
        let bytes = self.target.read(start, len)?;
        self.memory.update(start, bytes);
        Ok(())
    }

    fn title(&self) -> String {
        let changes = match self.memory.changes() {
            0 => String::new(),
            1 => ", 1 byte changed".to_owned(),
            changes => format!(", {changes} bytes changed"),
        };
        self.target.title() + &changes
    }

    fn keys(&self) -> String {
        match &self.asked {
            Some(text) => format!("go to offset: {text}_   Enter go  Esc back"),
            None => {
                "q quit  p pause  \u{2191}\u{2193} PgUp PgDn scroll  g go to  n next change  a ASCII"
                    .to_owned()
            }
        }
    }

    fn draw(&mut self, canvas: &mut Canvas<'_, '_>) {
        self.line = self.fitting(canvas.area.width);
        self.screen = self.line * u64::from(canvas.area.height).max(1);
        self.fade = canvas.fade;
        self.go_to(self.top);
        let (look, fade) = (canvas.look, canvas.fade as f64);
        let style = |byte: Byte| match byte.age {
            Some(age) => look.changed(age as f64 / fade),
            None => Style::new(),
        };
        let end = (self.top + self.screen).min(self.target.segment().size);
        let rows = (self.top..end).step_by(self.line as usize);
        let rows: Vec<_> = rows.map(|at| self.row(at, &style, look.quiet())).collect();
        canvas
            .frame
            .render_widget(Paragraph::new(rows), canvas.area);
    }

    fn key(&mut self, key: KeyEvent) -> Outcome<Reaction> {
        if self.asked.is_some() {
            return self.answer(key);
        }
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.go_to(self.top.saturating_sub(self.line)),
            KeyCode::Down | KeyCode::Char('j') => self.go_to(self.top + self.line),
            KeyCode::PageUp => self.go_to(self.top.saturating_sub(self.screen)),
            KeyCode::PageDown => self.go_to(self.top + self.screen),
            KeyCode::Home => self.go_to(0),
            KeyCode::End => self.go_to(self.last_top()),
            KeyCode::Char('g') => self.asked = Some(String::new()),
            KeyCode::Char('a') => self.is_text = !self.is_text,
            KeyCode::Char('n') => {
                // Behind what is on the screen first.
                let end = self.top + self.screen - 1;
                match self.memory.next_change(end, self.fade) {
                    Some(place) => self.go_to(place),
                    None => return Err(Error::absent("nothing has changed in the last seconds")),
                }
            }
            _ => return Ok(Reaction::Unknown),
        }
        Ok(Reaction::Done)
    }

    fn is_asking(&self) -> bool {
        self.asked.is_some()
    }
}
