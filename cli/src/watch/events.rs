//! What has happened between two looks: segments made and removed, processes that attached, detached or died.

use std::collections::BTreeMap;

use crate::source::Segment;
use crate::uses::Use;

/// How many are kept.
const KEPT: usize = 500;

/// The last events, the newest last.
#[derive(Debug, Default)]
pub struct Events {
    list: Vec<Event>,
    /// The segments and uses that were seen last; none before the first look.
    seen: Option<Seen>,
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was seen: `12:34:56`.
    pub time: String,
    /// What was seen.
    pub text: String,
    /// Whether a process died with the segment attached.
    pub is_alarm: bool,
}

#[derive(Debug)]
struct Seen {
    /// By id: how it is called, and whether it is marked for destruction.
    segments: BTreeMap<i32, (String, bool)>,
    /// By segment and process: how often it is attached, what the process is called, whether it lives.
    uses: BTreeMap<(i32, Option<i32>), (u64, String, bool)>,
}

impl Events {
    /// The events so far.
    pub fn list(&self) -> &[Event] {
        &self.list
    }

    /// Compares with what was seen before.
    pub fn see(&mut self, segments: &[Segment], uses: &[Use], time: &str) {
        let seen = Seen::of(segments, uses);
        if let Some(before) = self.seen.replace(seen) {
            let mut found = Vec::new();
            if let Some(seen) = &self.seen {
                before.compare_segments(seen, segments, &mut found);
                before.compare_uses(seen, &mut found);
            }
            self.list
                .extend(found.into_iter().map(|(text, is_alarm)| Event {
                    time: time.to_owned(),
                    text,
                    is_alarm,
                }));
            let too_many = self.list.len().saturating_sub(KEPT);
            self.list.drain(..too_many);
        }
    }
}

/// How an event calls a segment.
fn called(id: i32, key: &str) -> String {
    match key {
        "0x00000000" => id.to_string(),
        key => format!("{id} ({key})"),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => String::new(),
        count => format!(" {count} times"),
    }
}

impl Seen {
    fn of(segments: &[Segment], uses: &[Use]) -> Seen {
        let segments = segments.iter().map(|segment| {
            let is_marked = segment.flags.contains(&"dest");
            (segment.id, (called(segment.id, &segment.key), is_marked))
        });
        let uses = uses.iter().map(|one| {
            let process = match (one.who.pid, &one.who.command) {
                (Some(pid), Some(command)) => format!("{pid} {command}"),
                (Some(pid), None) => pid.to_string(),
                (None, _) => "a child that is being forked".to_owned(),
            };
            (
                (one.who.id, one.who.pid),
                (one.attaches, process, one.who.alive),
            )
        });
        Seen {
            segments: segments.collect(),
            uses: uses.collect(),
        }
    }

    fn compare_segments(&self, now: &Seen, segments: &[Segment], found: &mut Vec<(String, bool)>) {
        for (id, (name, is_marked)) in &now.segments {
            match self.segments.get(id) {
                None => {
                    let made = segments.iter().find(|segment| segment.id == *id);
                    let by = made.and_then(|made| made.creator_pid);
                    let command = made.and_then(|made| made.creator_command.clone());
                    let by = by.map_or(String::new(), |pid| format!(" by {pid}"));
                    let command = command.map_or(String::new(), |command| format!(" {command}"));
                    found.push((format!("{name} made{by}{command}"), false));
                }
                Some((_, was_marked)) if *is_marked && !was_marked => {
                    found.push((format!("{name} removed, and still attached"), false));
                }
                Some(_) => {}
            }
        }
        for (id, (name, _)) in &self.segments {
            if !now.segments.contains_key(id) {
                found.push((format!("{name} is gone"), false));
            }
        }
    }

    fn compare_uses(&self, now: &Seen, found: &mut Vec<(String, bool)>) {
        let name = |id: &i32| {
            let known = now.segments.get(id).or_else(|| self.segments.get(id));
            known.map_or_else(|| id.to_string(), |(name, _)| name.clone())
        };
        for (key, (count, process, is_alive)) in &now.uses {
            let (before, was_alive) = match self.uses.get(key) {
                Some((count, _, is_alive)) => (*count, *is_alive),
                None => (0, true),
            };
            let segment = name(&key.0);
            if *count > before {
                let times = times(count - before);
                found.push((format!("{segment} attached{times} by {process}"), false));
            } else if *count < before {
                let times = times(before - count);
                found.push((format!("{segment} detached{times} by {process}"), false));
            }
            if was_alive && !is_alive {
                found.push((
                    format!("{segment} left attached at its end by {process}"),
                    true,
                ));
            }
        }
        for (key, (count, process, was_alive)) in &self.uses {
            if !now.uses.contains_key(key) {
                let segment = name(&key.0);
                let text = match was_alive {
                    true => format!("{segment} detached{} by {process}", times(*count)),
                    false => {
                        format!("{segment} no longer counted for {process}, which has ended")
                    }
                };
                found.push((text, false));
            }
        }
    }
}
