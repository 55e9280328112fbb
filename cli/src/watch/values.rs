//! A segment's bytes as a structure, with members that change lit up.

use std::collections::HashMap;
use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::hex::Hex;
use super::memory::WHOLE;
use super::target::{Access, Target};
use super::{Canvas, Reaction, View};
use crate::error::Outcome;
use crate::segment::Which;
use crate::typed::{self, Origin, RenderOptions, Type};

/// What is to be shown as which type.
#[derive(Debug, Clone)]
pub struct Typed {
    /// The type's name.
    pub name: String,
    /// The program that has it.
    pub from: Option<PathBuf>,
    /// Where it begins in the segment.
    pub offset: u64,
}

/// A segment as a structure.
pub struct Values {
    access: Access,
    target: Target,
    meant: Type,
    origin: Origin,
    options: RenderOptions,
    lines: Vec<typed::Line>,
    /// By path: the text, and the refresh that found it changed.
    seen: HashMap<String, (String, Option<u64>)>,
    refreshes: u64,
    top: usize,
    height: usize,
}

/// How many different elements of an array are shown.
const ELEMENTS: usize = 200;

impl Values {
    /// The segment as this type.
    pub fn new(access: Access, which: &Which, typed: &Typed) -> Outcome<Values> {
        let mut target = Target::new(access.again(), which)?;
        let users = target.users()?;
        let (creator, pids) = typed::processes(target.segment(), &users);
        let (meant, origin) = typed::choose(&typed.name, typed.from.as_deref(), creator, &pids)?;
        let mut values = Values {
            access,
            target,
            meant,
            options: RenderOptions {
                offset: typed.offset,
                load_offset: origin.load_offset,
                limit: Some(ELEMENTS),
            },
            origin,
            lines: Vec::new(),
            seen: HashMap::new(),
            refreshes: 0,
            top: 0,
            height: 1,
        };
        // A type that does not fit is refused at once.
        values.refresh()?;
        Ok(values)
    }

    fn scroll_to(&mut self, line: usize) {
        self.top = line.min(self.lines.len().saturating_sub(self.height));
    }
}

impl View for Values {
    fn refresh(&mut self) -> Outcome<()> {
        if !self.target.refresh()? {
            return Ok(());
        }
        let room = self
            .target
            .segment()
            .size
            .saturating_sub(self.options.offset);
        let len = self.meant.extent(room).min(self.meant.size().max(WHOLE));
        let bytes = self.target.read(self.options.offset, len)?;
        self.lines = self.meant.render(&bytes, &self.options)?.lines();
        self.refreshes += 1;
        for line in self.lines.iter().filter(|line| !line.path.is_empty()) {
            let seen = match self.seen.remove(&line.path) {
                Some((text, changed)) if text == line.text => (text, changed),
                Some(_) => (line.text.clone(), Some(self.refreshes)),
                None => (line.text.clone(), None),
            };
            self.seen.insert(line.path.clone(), seen);
        }
        Ok(())
    }

    fn title(&self) -> String {
        let (name, program) = (self.meant.name(), &self.origin.program);
        format!("{name}, {}, by {program}", self.target.title())
    }

    fn keys(&self) -> String {
        "q quit  p pause  \u{2191}\u{2193} PgUp PgDn scroll  b bytes".to_owned()
    }

    fn draw(&mut self, canvas: &mut Canvas<'_, '_>) {
        self.height = usize::from(canvas.area.height);
        self.scroll_to(self.top);
        let (look, fade) = (canvas.look, canvas.fade as f64);
        let shown = self.lines.iter().skip(self.top).take(self.height);
        let rows = shown.map(|line| {
            let offset = line
                .offset
                .map_or(String::new(), |offset| format!("+{offset}"));
            let changed = self.seen.get(&line.path).and_then(|(_, changed)| *changed);
            let style = changed.map_or(Default::default(), |changed| {
                look.changed((self.refreshes - changed) as f64 / fade)
            });
            Line::from(vec![
                Span::styled(format!("{offset:>7}  "), look.quiet()),
                Span::raw("  ".repeat(line.depth)),
                Span::styled(line.text.clone(), style),
            ])
        });
        let rows: Vec<_> = rows.collect();
        canvas
            .frame
            .render_widget(Paragraph::new(rows), canvas.area);
    }

    fn key(&mut self, key: KeyEvent) -> Outcome<Reaction> {
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll_to(self.top.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_to(self.top + 1),
            KeyCode::PageUp => self.scroll_to(self.top.saturating_sub(self.height)),
            KeyCode::PageDown => self.scroll_to(self.top + self.height),
            KeyCode::Home => self.scroll_to(0),
            KeyCode::End => self.scroll_to(self.lines.len()),
            KeyCode::Char('b') => {
                let which = Which::named(&self.target.segment().id.to_string());
                let hex = Hex::new(self.access.again(), &which, self.options.offset)?;
                return Ok(Reaction::Open(Box::new(hex)));
            }
            _ => return Ok(Reaction::Unknown),
        }
        Ok(Reaction::Done)
    }
}
