//! Typed views: a segment's bytes as the structure that a program's own debug information describes.
//!
//! [`debug_file`] finds the debug information of a program (DWARF), [`index`] its named types, [`build`] makes a [`layout`]
//! of one. [`render`] reads bytes by a layout into a [`tree`] of values, which can be printed, compared ([`difference`]) and
//! written as JSON. [`program`] tells whose debug information to use for a segment.
//!
//! Everything is read from files that may be damaged: what does not make sense is refused, or shown as bytes.

mod build;
mod debug_file;
mod difference;
mod find;
mod index;
mod layout;
mod members;
mod options;
mod program;
mod render;
mod scalar;
mod symbols;
mod tree;
mod units;

use std::path::Path;
use std::rc::Rc;

use crate::error::{Error, Outcome};
use crate::output::escaped;

pub use difference::Difference;
pub use options::{TypeOptions, View, offset, processes};
pub use program::{Origin, choose};
pub use render::RenderOptions;
pub use tree::{Line, Tree};

/// The types of a program.
pub struct Types {
    units: units::Units,
    named: Vec<index::Named>,
    symbols: Rc<symbols::Symbols>,
    shown: String,
}

/// A type of a program.
#[derive(Debug, Clone)]
pub struct Type {
    layout: Rc<layout::Layout>,
    symbols: Rc<symbols::Symbols>,
}

impl Types {
    /// Reads the debug information of the program at `path`.
    pub fn load(path: &Path) -> Outcome<Types> {
        Types::load_shown(path, escaped(&path).to_string())
    }

    /// Reads it, and calls the program `shown` in messages.
    fn load_shown(path: &Path, shown: String) -> Outcome<Types> {
        let file = debug_file::open(path)?;
        let damaged = |error| damaged(&shown, error);
        let units = units::Units::of(file.dwarf).map_err(damaged)?;
        let named = index::of(&units).map_err(damaged)?;
        Ok(Types {
            units,
            named,
            symbols: Rc::new(file.symbols),
            shown,
        })
    }

    fn damaged(&self, error: gimli::Error) -> Error {
        damaged(&self.shown, error)
    }
}

fn damaged(shown: &str, error: gimli::Error) -> Error {
    Error::refused(format!(
        "the debug information of {shown} cannot be read: {error}"
    ))
}

impl Type {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.layout.name
    }

    /// Its size, without the elements of an array that has no length.
    pub fn size(&self) -> u64 {
        self.layout.size
    }

    /// How many of so many bytes it takes: its size, or all that there are for an array without a length at its end.
    pub fn extent(&self, room: u64) -> u64 {
        match self.layout.is_open() {
            true => room,
            false => self.size().min(room),
        }
    }

    /// The bytes as a value of this type.
    pub fn render(&self, bytes: &[u8], options: &RenderOptions) -> Outcome<Tree> {
        let (size, len) = (self.size(), bytes.len());
        if size > len as u64 {
            let from = match options.offset {
                0 => String::new(),
                offset => format!(" from offset {offset} on"),
            };
            return Err(Error::refused(format!(
                "{} has {size} bytes, and the segment only {len}{from}: name the type that was stored there, or its place with --offset",
                self.name()
            )));
        }
        let renderer = render::Renderer {
            symbols: &self.symbols,
            options,
        };
        Ok(renderer.tree(&"".into(), &self.layout, bytes, options.offset))
    }
}
