//! From bytes and a layout to values.

use std::rc::Rc;

use serde_json::json;

use super::layout::{Layout, Member, Record, Shape};
use super::scalar;
use super::symbols::Symbols;
use super::tree::{Run, Tree, Value};

/// What is to be rendered.
#[derive(Debug, Clone, Copy, Default)]
pub struct RenderOptions {
    /// Where the bytes begin in the segment.
    pub offset: u64,
    /// How far above the addresses of its file the program is loaded. `None`: not known, pointers stay numbers.
    pub load_offset: Option<u64>,
    /// How many different elements of each array. `None`: all.
    pub limit: Option<usize>,
}

/// Renders with these options and names for pointers.
pub struct Renderer<'a> {
    /// The names.
    pub symbols: &'a Symbols,
    /// What is to be rendered.
    pub options: &'a RenderOptions,
}

/// What a text may have of characters for each element that an array may have.
const CHARACTERS: usize = 5;

impl Renderer<'_> {
    /// The value of this type at the beginning of the bytes. Arrays without a length go on to the end of the bytes.
    pub fn tree(&self, name: &Rc<str>, layout: &Layout, bytes: &[u8], offset: u64) -> Tree {
        Tree {
            name: name.clone(),
            type_name: layout.name.clone(),
            offset,
            value: self.value(layout, bytes, offset),
        }
    }

    fn value(&self, layout: &Layout, bytes: &[u8], offset: u64) -> Value {
        let own = usize::try_from(layout.size).ok();
        let Some(own) = own.and_then(|size| bytes.get(..size)) else {
            // Only damaged information lays a member behind its record's end.
            return scalar(scalar::raw(&[], "behind the end"));
        };
        match &*layout.shape {
            Shape::Array { element, count } => self.array(element, *count, bytes, offset),
            Shape::Record(record) => self.record(record, bytes, offset),
            Shape::Float(format) => scalar(scalar::float(own, *format)),
            Shape::Complex(format) => {
                let (real, imaginary) = own.split_at(own.len() / 2);
                let (real, imaginary) = (
                    scalar::float(real, *format),
                    scalar::float(imaginary, *format),
                );
                scalar((
                    format!("{} + {}i", real.0, imaginary.0),
                    json!([real.1, imaginary.1]),
                ))
            }
            Shape::Opaque(reason) => scalar(scalar::raw(own, reason)),
            _ => self.number(layout, scalar::whole(own), 8 * layout.size),
        }
    }

    /// What is a number of so many bits: a member, or a bit field.
    fn number(&self, layout: &Layout, number: u128, bits: u64) -> Value {
        scalar(match &*layout.shape {
            Shape::Bool => scalar::truth(number),
            Shape::Character { signed } => scalar::character(number, bits, *signed),
            Shape::Enumeration(names) => scalar::enumeration(number, bits, names),
            Shape::Pointer => {
                let symbol = self.symbol(number as u64);
                let text = match &symbol {
                    Some(symbol) => format!("{number:#x} <{symbol}>"),
                    None => format!("{number:#x}"),
                };
                (text, json!({ "address": number as u64, "symbol": symbol }))
            }
            Shape::Integer { signed } => scalar::integer(number, bits, *signed),
            _ => scalar::integer(number, bits, false),
        })
    }

    fn symbol(&self, address: u64) -> Option<String> {
        let load_offset = match self.symbols.is_fixed {
            true => 0,
            false => self.options.load_offset?,
        };
        self.symbols.name_of(address.checked_sub(load_offset)?)
    }

    fn record(&self, record: &Record, bytes: &[u8], offset: u64) -> Value {
        let mut values: Vec<_> = self.members(&record.members, bytes, offset).collect();
        if let Some(variants) = &record.variants {
            let told = variants.discriminant.as_ref().and_then(|discriminant| {
                let start = usize::try_from(discriminant.offset).ok()?;
                let size = usize::try_from(discriminant.layout.size).ok()?;
                let bytes = bytes.get(start..start.checked_add(size)?)?;
                Some(scalar::whole(bytes) as u64)
            });
            let named = variants
                .arms
                .iter()
                .find(|(value, _)| value.is_some() && *value == told);
            let other = || variants.arms.iter().find(|(value, _)| value.is_none());
            if let Some((_, members)) = named.or_else(other) {
                values.extend(self.members(members, bytes, offset));
            }
        }
        Value::Record(values)
    }

    fn members<'m>(
        &'m self,
        members: &'m [Member],
        bytes: &'m [u8],
        offset: u64,
    ) -> impl Iterator<Item = Tree> + 'm {
        let last = members.iter().map(|member| member.offset).max();
        members.iter().map(move |member| {
            let is_last = Some(member.offset) == last;
            self.member(member, is_last, bytes, offset)
        })
    }

    fn member(&self, member: &Member, is_last: bool, bytes: &[u8], offset: u64) -> Tree {
        let layout = &member.layout;
        if let Some((first, count)) = member.bits {
            let value = match scalar::bit_field(bytes, first, count) {
                Some(number) => self.number(layout, number, count),
                None => scalar(scalar::raw(&[], "behind the end")),
            };
            return Tree {
                name: member.name.clone(),
                type_name: layout.name.clone(),
                offset: offset + first / 8,
                value,
            };
        }
        let start = usize::try_from(member.offset).unwrap_or(usize::MAX);
        let from_here = bytes.get(start..).unwrap_or_default();
        let size = usize::try_from(layout.size).unwrap_or(usize::MAX);
        // What lies behind a member is another's, except behind the last one.
        let bytes = match from_here.get(..size) {
            Some(own) if !is_last => own,
            _ => from_here,
        };
        let offset = offset.saturating_add(member.offset);
        self.tree(&member.name, layout, bytes, offset)
    }

    fn array(&self, element: &Layout, count: Option<u64>, bytes: &[u8], offset: u64) -> Value {
        let room = (bytes.len() as u64).checked_div(element.size);
        let count = match (count, room) {
            (Some(count), Some(room)) => count.min(room),
            (count, room) => count.or(room).unwrap_or(0),
        };
        let len = usize::try_from(count.saturating_mul(element.size)).unwrap_or(usize::MAX);
        let bytes = bytes.get(..len).unwrap_or(bytes);
        if matches!(*element.shape, Shape::Character { .. }) && element.size == 1 {
            return self.text(bytes);
        }
        let limit = self.options.limit.unwrap_or(usize::MAX);
        let size = usize::try_from(element.size).unwrap_or(0);
        let mut elements = bytes.chunks_exact(size.max(1)).peekable();
        let nameless: Rc<str> = "".into();
        let mut runs = Vec::new();
        let mut start = 0;
        while start < count && runs.len() < limit {
            let first = elements.next().unwrap_or_default();
            let mut same = 1;
            while elements.next_if(|next| *next == first).is_some() {
                same += 1;
            }
            if size == 0 {
                same = count;
            }
            let offset = offset.saturating_add(start.saturating_mul(element.size));
            runs.push(Run {
                start,
                count: same,
                tree: self.tree(&nameless, element, first, offset),
            });
            start += same;
        }
        Value::Array {
            runs,
            rest: count - start,
        }
    }

    fn text(&self, bytes: &[u8]) -> Value {
        let limit = self
            .options
            .limit
            .map(|limit| limit.saturating_mul(CHARACTERS));
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        match limit.filter(|limit| used > *limit) {
            Some(limit) => {
                let (text, json) = scalar::text(bytes.get(..limit).unwrap_or_default());
                scalar((format!("{text}... {} more", used - limit), json))
            }
            None => scalar(scalar::text(bytes)),
        }
    }
}

fn scalar((text, json): (String, serde_json::Value)) -> Value {
    Value::Scalar { text, json }
}
