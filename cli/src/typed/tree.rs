//! The values of a typed view: what is printed, compared and written as JSON.

use std::rc::Rc;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value as Json;

/// A value with its name and place.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree {
    /// The member's name; empty for an element of an array, a member without a name and the whole.
    pub name: Rc<str>,
    /// Its type.
    pub type_name: Rc<str>,
    /// Where it begins, in bytes from the segment's beginning.
    pub offset: u64,
    /// What is there.
    pub value: Value,
}

/// What is there.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number, a name, a text.
    Scalar { text: String, json: Json },
    /// Members.
    Record(Vec<Tree>),
    /// Elements. Equal ones that follow each other are one run; `rest` were not looked at.
    Array { runs: Vec<Run>, rest: u64 },
}

/// Elements of an array that have the same bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The index of the first.
    pub start: u64,
    /// How many there are.
    pub count: u64,
    /// The first.
    pub tree: Tree,
}

impl Run {
    /// The index behind the last.
    pub fn end(&self) -> u64 {
        self.start + self.count
    }

    /// How the run's indices are written: `[3]`, `[3..9]`.
    pub fn index(&self) -> String {
        match self.count {
            1 => format!("[{}]", self.start),
            _ => format!("[{}..{}]", self.start, self.end() - 1),
        }
    }
}

/// A line of the printed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where the bytes lie that it is about.
    pub offset: Option<u64>,
    /// How deep it is indented.
    pub depth: usize,
    /// Which value it shows: `slots[3].name`. No two lines of a tree show the same; empty for a line that only opens or
    /// closes a brace.
    pub path: String,
    /// The text.
    pub text: String,
}

/// How many equal elements are written one by one, and how wide a line of elements gets.
const REPEATS: u64 = 9;
const WIDTH: usize = 76;

impl Tree {
    /// The printed form, by lines.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let label = match &self.value {
            Value::Scalar { .. } => format!("{} = ", self.type_name),
            _ => format!("{} ", self.type_name),
        };
        add(self, &label, "", 0, &mut lines);
        lines
    }

    /// The printed form: each line with the offset that it is about.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let last = lines.iter().filter_map(|line| line.offset).max();
        let width = last.unwrap_or(0).to_string().len() + 1;
        let mut text = String::new();
        for line in lines {
            let offset = line
                .offset
                .map_or(String::new(), |offset| format!("+{offset}"));
            let indent = 2 * line.depth;
            text.push_str(&format!("{offset:>width$}  {:indent$}{}\n", "", line.text));
        }
        text
    }

    /// The printed form in one line, without offsets.
    pub fn summary(&self) -> String {
        match &self.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::Record(members) => {
                let members = members.iter().map(|member| match &*member.name {
                    "" => member.summary(),
                    name => format!("{name} = {}", member.summary()),
                });
                format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
            }
            Value::Array { runs, rest } => {
                let items = items(runs, *rest).into_iter().map(|(_, _, text)| text);
                format!("{{{}}}", items.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether it is a scalar, or an array (of arrays) of scalars.
    fn has_no_record(&self) -> bool {
        match &self.value {
            Value::Scalar { .. } => true,
            Value::Record(_) => false,
            Value::Array { runs, .. } => runs.iter().all(|run| run.tree.has_no_record()),
        }
    }

    fn is_scalar(&self) -> bool {
        matches!(self.value, Value::Scalar { .. })
    }
}

/// The path of a member or of elements below this one.
pub fn join(path: &str, name: &str) -> String {
    match (path, name) {
        (_, "") => path.to_owned(),
        ("", _) => name.to_owned(),
        _ if name.starts_with('[') => format!("{path}{name}"),
        _ => format!("{path}.{name}"),
    }
}

fn add(tree: &Tree, label: &str, path: &str, depth: usize, lines: &mut Vec<Line>) {
    let line = |text: String| Line {
        offset: Some(tree.offset),
        depth,
        path: path.to_owned(),
        text,
    };
    match &tree.value {
        Value::Scalar { text, .. } => lines.push(line(format!("{label}{text}"))),
        Value::Record(members) if members.is_empty() => lines.push(line(format!("{label}{{}}"))),
        Value::Record(members) => {
            lines.push(opening(tree, label, depth));
            for member in members {
                let label = match (&*member.name, &member.value) {
                    ("", Value::Scalar { .. }) => String::new(),
                    ("", _) => format!("{} ", member.type_name),
                    (name, _) => format!("{name} = "),
                };
                let path = match &*member.name {
                    // Members of a record without a name have the path that the language gives them.
                    "" => path.to_owned(),
                    name => join(path, name),
                };
                add(member, &label, &path, depth + 1, lines);
            }
            lines.push(closing(depth));
        }
        Value::Array { runs, rest } if runs.iter().all(|run| run.tree.is_scalar()) => {
            add_elements(tree, items(runs, *rest), label, path, depth, lines);
        }
        Value::Array { runs, rest } => {
            let text = tree.summary();
            if tree.has_no_record() && fits(depth, label, &text) {
                lines.push(line(format!("{label}{text}")));
                return;
            }
            lines.push(opening(tree, label, depth));
            for run in runs {
                let index = run.index();
                let label = format!("{index} = ");
                add(&run.tree, &label, &join(path, &index), depth + 1, lines);
            }
            if *rest > 0 {
                lines.push(Line {
                    offset: None,
                    depth: depth + 1,
                    path: join(path, "[...]"),
                    text: format!("... {rest} more"),
                });
            }
            lines.push(closing(depth));
        }
    }
}

fn fits(depth: usize, label: &str, text: &str) -> bool {
    2 * depth + label.chars().count() + text.chars().count() <= WIDTH
}

fn opening(tree: &Tree, label: &str, depth: usize) -> Line {
    Line {
        offset: Some(tree.offset),
        depth,
        path: String::new(),
        text: format!("{label}{{"),
    }
}

fn closing(depth: usize) -> Line {
    Line {
        offset: None,
        depth,
        path: String::new(),
        text: "}".to_owned(),
    }
}

/// The elements of an array of scalars, each with its index and its offset.
fn items(runs: &[Run], rest: u64) -> Vec<(u64, u64, String)> {
    let mut items = Vec::new();
    for run in runs {
        let text = run.tree.summary();
        if run.count > REPEATS {
            let text = format!("{text} <repeats {} times>", run.count);
            items.push((run.start, run.tree.offset, text));
        } else {
            items
                .extend((run.start..run.end()).map(|index| (index, run.tree.offset, text.clone())));
        }
    }
    if rest > 0 {
        let (next, offset) = runs
            .last()
            .map_or((0, 0), |run| (run.end(), run.tree.offset));
        items.push((next, offset, format!("... {rest} more")));
    }
    items
}

/// An array of scalars: in one line if it is short, else in rows that begin with an index.
fn add_elements(
    tree: &Tree,
    items: Vec<(u64, u64, String)>,
    label: &str,
    path: &str,
    depth: usize,
    lines: &mut Vec<Line>,
) {
    let text = tree.summary();
    if fits(depth, label, &text) {
        lines.push(Line {
            offset: Some(tree.offset),
            depth,
            path: path.to_owned(),
            text: format!("{label}{text}"),
        });
        return;
    }
    lines.push(opening(tree, label, depth));
    let mut row: Option<(u64, u64, String)> = None;
    let mut rows = Vec::new();
    for (index, offset, text) in items {
        row = Some(match row.take() {
            Some((start, begin, mut so_far)) if 2 * depth + so_far.len() + text.len() < WIDTH => {
                so_far.push_str(", ");
                so_far.push_str(&text);
                (start, begin, so_far)
            }
            full => {
                rows.extend(full);
                (index, offset, format!("[{index}] {text}"))
            }
        });
    }
    rows.extend(row);
    for (index, offset, text) in rows {
        lines.push(Line {
            offset: Some(offset),
            depth: depth + 1,
            path: join(path, &format!("[{index}]")),
            text,
        });
    }
    lines.push(closing(depth));
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Scalar { json, .. } => json.serialize(serializer),
            Value::Record(members) => {
                let mut map = serializer.serialize_map(None)?;
                entries(members, &mut map)?;
                map.end()
            }
            Value::Array { runs, .. } => {
                let mut elements = serializer.serialize_seq(None)?;
                for run in runs {
                    for _ in 0..run.count {
                        elements.serialize_element(&run.tree)?;
                    }
                }
                elements.end()
            }
        }
    }
}

/// The members of a record without a name are members of the one around it.
fn entries<M: SerializeMap>(members: &[Tree], map: &mut M) -> Result<(), M::Error> {
    for member in members {
        match (&*member.name, &member.value) {
            ("", Value::Record(inner)) => entries(inner, map)?,
            _ => map.serialize_entry(&*member.name, member)?,
        }
    }
    Ok(())
}
