//! Which segment is meant: `ID|KEY` on the command line.

use shmshim_core::sysv::Kind;

use crate::error::{Error, Outcome};

/// The argument that names one segment.
#[derive(clap::Args, Debug, Clone)]
#[group(id = "segment", required = true, multiple = false)]
pub struct Which {
    /// Its id (decimal or 0x…), or its key (0x…)
    #[arg(value_name = "ID|KEY")]
    name: Option<String>,
    /// The one with this key (decimal or 0x…)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

/// The same where no segment has to be named.
#[derive(clap::Args, Debug, Clone)]
#[group(id = "segment", multiple = false)]
pub struct AnyOrWhich {
    /// Its id (decimal or 0x…), or its key (0x…); all without it
    #[arg(value_name = "ID|KEY")]
    name: Option<String>,
    /// The one with this key (decimal or 0x…)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl AnyOrWhich {
    /// The segment that is named, if one is.
    pub fn which(self) -> Option<Which> {
        let AnyOrWhich { name, key } = self;
        (name.is_some() || key.is_some()).then_some(Which { name, key })
    }
}

/// What a text can mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// A segment's id.
    Id(i32),
    /// A segment's key.
    Key(i32),
    /// The one or the other: a number in hexadecimal.
    Either(i32),
}

impl Which {
    /// The segment with this id or key.
    pub fn named(name: &str) -> Which {
        Which {
            name: Some(name.to_owned()),
            key: None,
        }
    }

    /// What the text means, before it is known which segments there are.
    pub fn meaning(&self) -> Outcome<Meaning> {
        let (text, is_key) = match (&self.key, &self.name) {
            (Some(key), _) => (key, true),
            (None, Some(name)) => (name, false),
            (None, None) => return Err(Error::usage("name it by its id or key")),
        };
        let number = number(text).ok_or_else(|| {
            Error::usage(format!(
                "{text:?} is neither an id nor a key; write a number, decimal or with 0x in front"
            ))
        })?;
        Ok(match (is_key, is_hexadecimal(text)) {
            (true, _) => Meaning::Key(number),
            (false, true) => Meaning::Either(number),
            (false, false) => Meaning::Id(number),
        })
    }

    /// The id that is meant, of segments with these ids and keys. What is said if there is none speaks of `place`.
    pub fn find(&self, segments: &[(i32, i32)], place: &str) -> Outcome<i32> {
        self.find_of(Kind::Segment, segments, place)
    }

    /// The same of another kind of objects.
    pub fn find_of(&self, kind: Kind, objects: &[(i32, i32)], place: &str) -> Outcome<i32> {
        let word = kind.word();
        let meaning = self.meaning()?;
        let by_id = |number| objects.iter().find(|(id, _)| *id == number);
        // A key of 0 is no name: many segments have it.
        let by_key = |number| {
            objects
                .iter()
                .find(|(_, key)| *key == number && number != 0)
        };
        let found = match meaning {
            Meaning::Id(number) => by_id(number),
            Meaning::Key(number) => by_key(number),
            Meaning::Either(number) => match (by_id(number), by_key(number)) {
                (Some(one), Some(other)) if one != other => {
                    return Err(Error::usage(format!(
                        "{number:#x} is the id of one {word} and the key of another; write {number} for the id, or --key {number:#x}"
                    )));
                }
                (one, other) => one.or(other),
            },
        };
        found.map(|(id, _)| *id).ok_or_else(|| {
            Error::absent(match meaning {
                Meaning::Id(number) => format!(
                    "{place} has no {word} with id {number}; shmshim ls lists them, and a key is written with 0x"
                ),
                Meaning::Key(0) => {
                    format!("key 0 is IPC_PRIVATE, which any number of {word}s can have; name one by its id")
                }
                Meaning::Key(number) => {
                    format!("{place} has no {word} with key {number:#010x}; shmshim ls lists them")
                }
                Meaning::Either(number) => format!(
                    "{place} has no {word} with id or key {number:#x}; shmshim ls lists them"
                ),
            })
        })
    }
}

fn is_hexadecimal(text: &str) -> bool {
    text.starts_with("0x") || text.starts_with("0X")
}

/// A number as people write ids and keys: decimal, or hexadecimal with 0x. Keys are shown without a sign, and may be written
/// with one.
pub fn number(text: &str) -> Option<i32> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match hexadecimal {
        // The parser would take a sign.
        Some(digits) if digits.starts_with(['+', '-']) => None,
        Some(digits) => u32::from_str_radix(digits, 16).ok().map(|word| word as i32),
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse::<u32>().ok().map(|word| word as i32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [(i32, i32); 4] = [(7, 0), (0x162e, 1), (9, 0x162e), (10, -1)];

    fn find(name: &str) -> Result<i32, u8> {
        let found = Which::named(name).find(&SEGMENTS, "here");
        found.map_err(|error| error.status)
    }

    #[test]
    fn decimal_numbers_are_ids_and_hexadecimal_ones_may_be_keys() {
        assert_eq!(find("7"), Ok(7));
        assert_eq!(find("0x7"), Ok(7));
        assert_eq!(find("0x1"), Ok(0x162e));
        assert_eq!(find("1"), Err(crate::error::ABSENT));
        assert_eq!(find("0xffffffff"), Ok(10));
        assert_eq!(find("0x0"), Err(crate::error::ABSENT));
    }

    #[test]
    fn what_can_be_both_is_asked_for() {
        assert_eq!(find("0x162e"), Err(crate::error::USAGE));
        assert_eq!(find("5678"), Ok(0x162e));
        let key = Which {
            name: None,
            key: Some("0x162e".to_owned()),
        };
        assert_eq!(key.find(&SEGMENTS, "here").ok(), Some(9));
    }

    #[test]
    fn what_is_no_number_is_a_wrong_command_line() {
        for text in ["", "x", "0x", "0x+1", "12a", "4294967296", "0x100000000"] {
            assert_eq!(find(text), Err(crate::error::USAGE), "{text}");
        }
    }
}
