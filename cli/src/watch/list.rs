//! All segments, how much they have grown, and what happens to them.

use std::collections::BTreeMap;

use chrono::Local;
use crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::events::Events;
use super::hex::Hex;
use super::target::Access;
use super::{Canvas, Reaction, View};
use crate::error::Outcome;
use crate::output::size;
use crate::segment::Which;
use crate::source::{NO_NAMESPACE, Segment};

/// All segments of a namespace.
pub struct List {
    access: Access,
    /// Where they are, as it is called.
    place: Option<String>,
    segments: Vec<Segment>,
    watched: BTreeMap<i32, Watched>,
    events: Events,
    refreshes: u64,
    selected: usize,
    /// The first segment that is shown.
    top: usize,
    height: usize,
}

/// What is remembered of a segment.
#[derive(Debug, Clone, Copy)]
struct Watched {
    /// What was in memory when it was seen first.
    first_resident: u64,
    /// What was seen last, and the refresh that found it changed.
    resident: (u64, Option<u64>),
    attaches: (u64, Option<u64>),
}

impl Watched {
    fn new(segment: &Segment) -> Watched {
        Watched {
            first_resident: segment.resident,
            resident: (segment.resident, None),
            attaches: (segment.attaches, None),
        }
    }

    fn see(&mut self, segment: &Segment, refresh: u64) {
        for (seen, now) in [
            (&mut self.resident, segment.resident),
            (&mut self.attaches, segment.attaches),
        ] {
            if seen.0 != now {
                *seen = (now, Some(refresh));
            }
        }
    }

    /// How much more is in memory than at first.
    fn growth(&self) -> String {
        let (first, now) = (self.first_resident, self.resident.0);
        match now.cmp(&first) {
            std::cmp::Ordering::Equal => String::new(),
            std::cmp::Ordering::Greater => format!("+{}", size(now - first)),
            std::cmp::Ordering::Less => format!("-{}", size(first - now)),
        }
    }
}

impl List {
    /// Those of this place.
    pub fn new(access: Access) -> List {
        List {
            access,
            place: None,
            segments: Vec::new(),
            watched: BTreeMap::new(),
            events: Events::default(),
            refreshes: 0,
            selected: 0,
            top: 0,
            height: 1,
        }
    }

    fn select(&mut self, index: usize) {
        self.selected = index.min(self.segments.len().saturating_sub(1));
        self.top = self.top.min(self.selected);
        self.top = self
            .top
            .max((self.selected + 1).saturating_sub(self.height));
    }

    fn draw_segments(&mut self, canvas: &mut Canvas<'_, '_>, area: Rect) {
        const HEADINGS: [&str; 9] = [
            "ID",
            "KEY",
            "OWNER",
            "MODE",
            "     SIZE",
            " RESIDENT",
            "   GROWTH",
            " ATT",
            "FLAGS",
        ];
        const WIDTHS: [u16; 9] = [10, 10, 8, 4, 9, 9, 9, 4, 9];
        let (look, fade) = (canvas.look, canvas.fade as f64);
        let shown = (self.top..).zip(self.segments.iter().skip(self.top).take(self.height));
        let rows = shown.map(|(index, segment)| {
            let watched = self.watched.get(&segment.id);
            let lit = |changed: Option<Option<u64>>| match changed.flatten() {
                Some(changed) => look.changed((self.refreshes - changed) as f64 / fade),
                None => Default::default(),
            };
            let attaches = lit(watched.map(|watched| watched.attaches.1));
            let resident = lit(watched.map(|watched| watched.resident.1));
            let owner = segment
                .owner
                .clone()
                .unwrap_or_else(|| segment.uid.to_string());
            let row = Row::new([
                Cell::from(segment.id.to_string()),
                Cell::from(segment.key.clone()),
                Cell::from(owner),
                Cell::from(segment.mode.clone()),
                Cell::from(format!("{:>9}", size(segment.size))),
                Cell::from(format!("{:>9}", size(segment.resident))).style(resident),
                Cell::from(format!(
                    "{:>9}",
                    watched.map_or(String::new(), Watched::growth)
                ))
                .style(resident),
                Cell::from(format!("{:>4}", segment.attaches)).style(attaches),
                Cell::from(segment.flags.join(",")),
            ]);
            match index == self.selected {
                true => row.style(look.selected()),
                false => row,
            }
        });
        let table = Table::new(rows.collect::<Vec<_>>(), WIDTHS)
            .header(Row::new(HEADINGS).style(look.heading()));
        canvas.frame.render_widget(table, area);
    }

    fn draw_events(&self, canvas: &mut Canvas<'_, '_>, area: Rect) {
        let look = canvas.look;
        let mut lines = vec![Line::from(Span::styled(
            "EVENTS since this view was opened, the newest first",
            look.heading(),
        ))];
        lines.extend(
            self.events
                .list()
                .iter()
                .rev()
                .take(area.height.into())
                .map(|event| {
                    let style = match event.is_alarm {
                        true => look.alarm(),
                        false => Default::default(),
                    };
                    Line::from(vec![
                        Span::styled(format!("{}  ", event.time), look.quiet()),
                        Span::styled(event.text.clone(), style),
                    ])
                }),
        );
        canvas.frame.render_widget(Paragraph::new(lines), area);
    }
}

impl View for List {
    fn refresh(&mut self) -> Outcome<()> {
        let seen = self
            .access
            .ask(|source| Ok((source.name(), source.segments()?, source.uses(None)?)))?;
        let (place, segments, uses) = match seen {
            Some((place, segments, uses)) => (Some(place), segments, uses),
            None => (None, Vec::new(), Vec::new()),
        };
        self.place = place;
        self.refreshes += 1;
        let selected = self.segments.get(self.selected).map(|segment| segment.id);
        let time = Local::now().format("%H:%M:%S").to_string();
        self.events.see(&segments, &uses, &time);
        let ids: Vec<_> = segments.iter().map(|segment| segment.id).collect();
        self.watched.retain(|id, _| ids.contains(id));
        for segment in &segments {
            let watched = self.watched.entry(segment.id);
            watched
                .or_insert_with(|| Watched::new(segment))
                .see(segment, self.refreshes);
        }
        self.segments = segments;
        // The selection stays with its segment.
        let index = ids.iter().position(|id| Some(*id) == selected);
        self.select(index.unwrap_or(self.selected));
        Ok(())
    }

    fn title(&self) -> String {
        match &self.place {
            None => "no namespace yet".to_owned(),
            Some(place) => {
                let total = self.segments.iter().map(|segment| segment.resident).sum();
                let count = self.segments.len();
                let plural = if count == 1 { "" } else { "s" };
                format!(
                    "{count} segment{plural}, {} resident, in {place}",
                    size(total)
                )
            }
        }
    }

    fn keys(&self) -> String {
        "q quit  p pause  \u{2191}\u{2193} PgUp PgDn select  Enter bytes of the segment".to_owned()
    }

    fn draw(&mut self, canvas: &mut Canvas<'_, '_>) {
        if self.place.is_none() {
            let text = Paragraph::new(NO_NAMESPACE).wrap(Default::default());
            canvas.frame.render_widget(text, canvas.area);
            return;
        }
        // Half of the screen at most, and the rest for the events.
        let rows = u16::try_from(self.segments.len() + 1).unwrap_or(u16::MAX);
        let height = rows.min(canvas.area.height.div_ceil(2)).max(2);
        let [segments, _, events] = Layout::vertical([
            Constraint::Length(height),
            Constraint::Length(1),
            Constraint::Min(0),
        ])
        .areas(canvas.area);
        self.height = usize::from(segments.height.saturating_sub(1)).max(1);
        self.select(self.selected);
        self.draw_segments(canvas, segments);
        self.draw_events(canvas, events);
    }

    fn key(&mut self, key: KeyEvent) -> Outcome<Reaction> {
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1),
            KeyCode::PageUp => self.select(self.selected.saturating_sub(self.height)),
            KeyCode::PageDown => self.select(self.selected + self.height),
            KeyCode::Home => self.select(0),
            KeyCode::End => self.select(self.segments.len()),
            KeyCode::Enter => {
                let Some(segment) = self.segments.get(self.selected) else {
                    return Ok(Reaction::Unknown);
                };
                let which = Which::named(&segment.id.to_string());
                let hex = Hex::new(self.access.again(), &which, 0)?;
                return Ok(Reaction::Open(Box::new(hex)));
            }
            _ => return Ok(Reaction::Unknown),
        }
        Ok(Reaction::Done)
    }
}
