//! All segments, how much they have grown, and what happens to them; below them semaphore sets and message queues.

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
use crate::objects::{Queue, Set, Use, asleep_since};
use crate::output::size;
use crate::rights::Rights;
use crate::segment::Which;
use crate::source::{NO_NAMESPACE, Segment};
use crate::time::span_since;
use crate::users::shown;

/// All segments of a namespace.
pub struct List {
    access: Access,
    /// Where they are, as it is called.
    place: Option<String>,
    segments: Vec<Segment>,
    sets: Vec<Set>,
    queues: Vec<Queue>,
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
            sets: Vec::new(),
            queues: Vec::new(),
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
        let visible = (self.top..).zip(self.segments.iter().skip(self.top).take(self.height));
        let rows = visible.map(|(index, segment)| {
            let watched = self.watched.get(&segment.id);
            let lit = |changed: Option<Option<u64>>| match changed.flatten() {
                Some(changed) => look.changed((self.refreshes - changed) as f64 / fade),
                None => Default::default(),
            };
            let attaches = lit(watched.map(|watched| watched.attaches.1));
            let resident = lit(watched.map(|watched| watched.resident.1));
            let rights = &segment.rights;
            let owner = shown(rights.owner.as_deref(), rights.uid);
            let row = Row::new([
                Cell::from(segment.id.to_string()),
                Cell::from(segment.key.clone()),
                Cell::from(owner),
                Cell::from(rights.mode.clone()),
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

    /// Sets and queues: as many as there is room for, and how many more there are.
    fn draw_objects(&self, canvas: &mut Canvas<'_, '_>, area: Rect) {
        if area.height < 3 {
            return;
        }
        const WIDTHS: [u16; 5] = [10, 10, 8, 4, 60];
        let look = canvas.look;
        let sets = self.sets.iter().map(|set| {
            let values: Vec<String> = set
                .values
                .iter()
                .take(8)
                .map(|one| one.value.to_string())
                .collect();
            let more = if set.semaphores > 8 { " …" } else { "" };
            let what = match values.is_empty() {
                true => format!("{} semaphores", set.semaphores),
                false => format!(
                    "set: {}{more}{}",
                    values.join(" "),
                    asleep(set.sleepers, &set.uses)
                ),
            };
            row(set.id, &set.key, &set.rights, what)
        });
        let queues = self.queues.iter().map(|queue| {
            let (messages, bytes) = (queue.messages, queue.bytes);
            let plural = if messages == 1 { "" } else { "s" };
            let asleep = asleep(queue.sleepers, &queue.uses);
            let what = format!("queue: {messages} message{plural}, {}{asleep}", size(bytes));
            row(queue.id, &queue.key, &queue.rights, what)
        });
        let all = self.sets.len() + self.queues.len();
        let room = usize::from(area.height - 2);
        let mut rows: Vec<_> = sets.chain(queues).take(room).collect();
        if all > room {
            let hidden = all - room + 1;
            rows.pop();
            rows.push(Row::new([format!("and {hidden} more")]));
        }
        let header = Row::new(["ID", "KEY", "OWNER", "MODE", "SETS AND QUEUES"]);
        let table = Table::new(rows, WIDTHS).header(header.style(look.heading()));
        let below = Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        };
        canvas.frame.render_widget(table, below);
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

fn row(id: i32, key: &str, rights: &Rights, what: String) -> Row<'static> {
    Row::new([
        id.to_string(),
        key.to_owned(),
        shown(rights.owner.as_deref(), rights.uid),
        rights.mode.clone(),
        what,
    ])
}

fn asleep(sleepers: Option<usize>, uses: &[Use]) -> String {
    match (sleepers, asleep_since(uses)) {
        (None | Some(0), _) => String::new(),
        (Some(sleepers), None) => format!(", {sleepers} asleep"),
        (Some(1), Some(first)) => format!(", 1 asleep for {}", span_since(first)),
        (Some(sleepers), Some(first)) => {
            format!(", {sleepers} asleep, the longest for {}", span_since(first))
        }
    }
}

impl View for List {
    fn refresh(&mut self) -> Outcome<()> {
        let seen = self.access.ask(|source| {
            let (segments, uses) = (source.segments()?, source.uses(None)?);
            // A kernel may have been built without them.
            let sets = source.sets().unwrap_or_default();
            let queues = source.queues().unwrap_or_default();
            Ok((source.name(), segments, uses, sets, queues))
        })?;
        let (place, segments, uses, sets, queues) = match seen {
            Some((place, segments, uses, sets, queues)) => {
                (Some(place), segments, uses, sets, queues)
            }
            None => (None, Vec::new(), Vec::new(), Vec::new(), Vec::new()),
        };
        self.place = place;
        self.sets = sets;
        self.queues = queues;
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
                let mut others = String::new();
                for (count, noun) in [(self.sets.len(), "set"), (self.queues.len(), "queue")] {
                    if count > 0 {
                        let plural = if count == 1 { "" } else { "s" };
                        others.push_str(&format!(", {count} {noun}{plural}"));
                    }
                }
                format!(
                    "{count} segment{plural}, {} resident{others}, in {place}",
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
        // Sets and queues, if there are any, have a quarter at most.
        let others = self.sets.len() + self.queues.len();
        let others = match others {
            0 => 0,
            rows => u16::try_from(rows + 2)
                .unwrap_or(u16::MAX)
                .min((canvas.area.height / 4).max(3)),
        };
        let [segments, objects, _, events] = Layout::vertical([
            Constraint::Length(height),
            Constraint::Length(others),
            Constraint::Length(1),
            Constraint::Min(0),
        ])
        .areas(canvas.area);
        self.height = usize::from(segments.height.saturating_sub(1)).max(1);
        self.select(self.selected);
        self.draw_segments(canvas, segments);
        self.draw_objects(canvas, objects);
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
