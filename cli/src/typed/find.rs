//! Types by the names that people write: `struct slot`, `ring::Slot`, `unsigned long`, `struct slot[16]`, `struct slot@a.c`.

use std::rc::Rc;

use super::build::Builder;
use super::index::{Kind, Known, Named};
use super::layout::Layout;
use super::members;
use super::{Type, Types};
use crate::error::{Error, Outcome};

/// A type as it was written.
struct Spelled {
    kind: Option<Kind>,
    name: String,
    /// The source file, where several have a type of this name.
    source: Option<String>,
    /// The lengths of an array of it, the last one first.
    lengths: Vec<Option<u64>>,
}

impl Spelled {
    fn of(text: &str) -> Spelled {
        let mut rest = text.trim();
        let mut lengths = Vec::new();
        while let Some((before, length)) = last_length(rest) {
            lengths.push(length);
            rest = before;
        }
        let (rest, source) = match rest.rsplit_once('@') {
            Some((name, source)) => (name, Some(source.trim().to_owned())),
            None => (rest, None),
        };
        let words: Vec<_> = rest.split_whitespace().collect();
        let (kind, words) = match words.as_slice() {
            ["struct" | "class", words @ ..] => (Some(Kind::Struct), words),
            ["union", words @ ..] => (Some(Kind::Union), words),
            ["enum", "class" | "struct", words @ ..] | ["enum", words @ ..] => {
                (Some(Kind::Enum), words)
            }
            words => (None, words),
        };
        Spelled {
            kind,
            name: words.join(" "),
            source,
            lengths,
        }
    }

    fn is(&self, named: &Named) -> bool {
        self.kind.is_none_or(|kind| kind == named.kind)
    }
}

/// `x[16]` and `x[]` as `x` and the length.
fn last_length(text: &str) -> Option<(&str, Option<u64>)> {
    let (before, inside) = text.strip_suffix(']')?.rsplit_once('[')?;
    let before = before.trim();
    match inside.trim() {
        _ if before.is_empty() => None,
        "" => Some((before, None)),
        number => number.parse().ok().map(|length| (before, Some(length))),
    }
}

/// C's names of numbers in one order: `long unsigned int` and `unsigned long` are the same.
fn number_words(name: &str) -> Vec<&str> {
    let mut words: Vec<_> = name.split(' ').collect();
    if words.len() > 1 {
        words.retain(|word| *word != "int");
    }
    words.sort_unstable();
    words
}

impl Types {
    /// The type with this name.
    pub fn find(&self, name: &str) -> Outcome<Type> {
        let spelled = Spelled::of(name);
        let matching = self.matching(&spelled);
        let known = Known::of(&self.named);
        let builder = Builder::new(&self.units, &known);
        let mut found: Vec<(&Named, Rc<Layout>)> = Vec::new();
        for named in matching.iter().filter(|named| !named.is_declaration) {
            let layout = builder
                .layout(named.place, 0)
                .map_err(|error| self.damaged(error))?;
            let is_new = |(_, other): &(&Named, Rc<Layout>)| {
                other.size != layout.size || other.shape != layout.shape
            };
            if found.iter().all(is_new) {
                found.push((named, layout));
            }
        }
        match found.as_slice() {
            [(_, layout)] => Ok(Type {
                layout: array_of(layout.clone(), &spelled.lengths),
                symbols: self.symbols.clone(),
            }),
            [] if !matching.is_empty() => Err(Error::absent(format!(
                "{} only declares {}: name with --from a program that uses its members",
                self.shown, spelled.name
            ))),
            [] => Err(self.unknown(name, &spelled)),
            several => Err(self.ambiguous(&spelled, several)),
        }
    }

    fn matching(&self, spelled: &Spelled) -> Vec<&Named> {
        let is_from = |named: &&Named| {
            spelled.source.as_ref().is_none_or(|source| {
                let unit = self.units.source_of(named.place.unit);
                std::path::Path::new(&unit).ends_with(source)
            })
        };
        let kind = self
            .named
            .iter()
            .filter(|named| spelled.is(named))
            .filter(is_from);
        let exact: Vec<_> = kind
            .clone()
            .filter(|named| named.name == spelled.name)
            .collect();
        if !exact.is_empty() {
            return exact;
        }
        let ending = format!("::{}", spelled.name);
        let words = number_words(&spelled.name);
        kind.filter(|named| {
            let is_number = named.kind == Kind::Base && number_words(&named.name) == words;
            is_number || named.name.ends_with(&ending)
        })
        .collect()
    }

    fn ambiguous(&self, spelled: &Spelled, several: &[(&Named, Rc<Layout>)]) -> Error {
        let list: Vec<_> = several
            .iter()
            .map(|(named, layout)| {
                let (word, unit) = (named.kind.word(), self.units.source_of(named.place.unit));
                format!("'{word}{}@{unit}' of {} bytes", named.name, layout.size)
            })
            .collect();
        Error::refused(format!(
            "{} has {} types that are called {} and differ: name one of {}",
            self.shown,
            several.len(),
            spelled.name,
            list.join(", ")
        ))
    }

    fn unknown(&self, name: &str, spelled: &Spelled) -> Error {
        let split = match self.units.is_split {
            true => {
                "; part of its debug information is in .dwo files, which are not read: compile it with -gno-split-dwarf"
            }
            false => "",
        };
        let mut near: Vec<_> = self
            .named
            .iter()
            .map(|named| {
                let last = named.name.rsplit("::").next().unwrap_or_default();
                let nearness = strsim::jaro_winkler(&spelled.name, &named.name)
                    .max(strsim::jaro_winkler(&spelled.name, last));
                (nearness, format!("{}{}", named.kind.word(), named.name))
            })
            .filter(|(nearness, _)| *nearness > 0.8)
            .collect();
        near.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
        near.dedup();
        near.truncate(5);
        let near: Vec<_> = near.into_iter().map(|(_, name)| name).collect();
        let nearest = match near.as_slice() {
            [] => String::new(),
            near => format!(": the nearest are {}", near.join(", ")),
        };
        Error::absent(format!("{} has no type {name}{nearest}{split}", self.shown))
    }
}

fn array_of(mut layout: Rc<Layout>, lengths: &[Option<u64>]) -> Rc<Layout> {
    let element = layout.name.clone();
    let mut suffix = String::new();
    for length in lengths {
        let shown = length.map_or(String::new(), |length| length.to_string());
        suffix = format!("[{shown}]{suffix}");
        layout = Rc::new(members::of(layout, *length, format!("{element} {suffix}")));
    }
    layout
}
