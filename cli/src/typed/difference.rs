//! Which members of two values differ.

use serde::Serialize;

use super::tree::{Run, Tree, Value, join};

/// A member that differs.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Which: `slots[3].name`.
    pub path: String,
    /// Its value in the first; `None`: it is not there.
    pub old: Option<String>,
    /// Its value in the second.
    pub new: Option<String>,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or("nothing".to_owned());
        let path = match &*self.path {
            "" => "value",
            path => path,
        };
        write!(
            out,
            "{path}: {} \u{2192} {}",
            shown(&self.old),
            shown(&self.new)
        )
    }
}

impl Tree {
    /// The members that differ from those of `new`, which is of the same type.
    pub fn differences(&self, new: &Tree) -> Vec<Difference> {
        let mut found = Vec::new();
        compare("", self, new, &mut found);
        found
    }
}

fn compare(path: &str, old: &Tree, new: &Tree, found: &mut Vec<Difference>) {
    match (&old.value, &new.value) {
        (Value::Record(old_members), Value::Record(new_members))
            if are_alike(old_members, new_members) =>
        {
            for (old, new) in old_members.iter().zip(new_members) {
                compare(&join(path, &old.name), old, new, found);
            }
        }
        (Value::Array { runs: old, .. }, Value::Array { runs: new, .. }) => {
            compare_elements(path, old, new, found);
        }
        _ if old.value == new.value => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            old: Some(old.summary()),
            new: Some(new.summary()),
        }),
    }
}

/// Whether two records have the same members: those of two variants of an enumeration do not.
fn are_alike(old: &[Tree], new: &[Tree]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.name == new.name)
}

/// Compares runs: from each place where one begins to the next, all elements of both sides are equal to each other.
fn compare_elements(path: &str, old: &[Run], new: &[Run], found: &mut Vec<Difference>) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut start = 0;
    loop {
        while old.next_if(|run| run.end() <= start).is_some() {}
        while new.next_if(|run| run.end() <= start).is_some() {}
        let ends = [old.peek(), new.peek()];
        let Some(end) = ends.iter().flatten().map(|run| run.end()).min() else {
            return;
        };
        let index = match end - start {
            1 => format!("[{start}]"),
            _ => format!("[{start}..{}]", end - 1),
        };
        let path = join(path, &index);
        match (old.peek(), new.peek()) {
            (Some(old), Some(new)) => compare(&path, &old.tree, &new.tree, found),
            (old, new) => found.push(Difference {
                path,
                old: old.map(|run| run.tree.summary()),
                new: new.map(|run| run.tree.summary()),
            }),
        }
        start = end;
    }
}
