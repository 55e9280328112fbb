//! The options of commands that show a segment as a type.

use std::path::PathBuf;

use super::{Origin, RenderOptions, Tree, Type, choose};
use crate::bytes::{self, Bytes};
use crate::error::Outcome;
use crate::source::Segment;
use crate::uses::Use;

/// The options.
#[derive(clap::Args, Debug, Clone)]
pub struct TypeOptions {
    /// As this type of the program that uses the segment: 'struct shared_state', 'ring::Slot[16]', 'union u@file.c'
    #[arg(long = "type", value_name = "TYPE", help_heading = "Types")]
    type_name: Option<String>,
    /// The program or library whose debug information has the type; without it that of the process which made the segment
    /// or of one that has it attached
    #[arg(
        long,
        value_name = "PROGRAM",
        requires = "type_name",
        help_heading = "Types"
    )]
    from: Option<PathBuf>,
    /// Where the value begins in the segment, decimal or with 0x
    #[arg(long, value_name = "OFFSET", requires = "type_name", value_parser = offset, help_heading = "Types")]
    offset: Option<u64>,
}

/// A place in a segment, as an argument.
pub fn offset(text: &str) -> Result<u64, String> {
    bytes::offset(text).ok_or_else(|| "write a number of bytes, decimal or with 0x".to_owned())
}

/// A type, and where values of it begin.
pub struct View {
    /// The type.
    pub meant: Type,
    /// Whose it is.
    pub origin: Origin,
    offset: u64,
}

impl TypeOptions {
    /// Whether a type is asked for.
    pub fn is_given(&self) -> bool {
        self.type_name.is_some()
    }

    /// The type that is asked for, if one is.
    pub fn view(&self, segment: &Segment, users: &[Use]) -> Outcome<Option<View>> {
        let Some(name) = &self.type_name else {
            return Ok(None);
        };
        let (creator, pids) = processes(segment, users);
        let (meant, origin) = choose(name, self.from.as_deref(), creator, &pids)?;
        Ok(Some(View {
            meant,
            origin,
            offset: self.offset.unwrap_or(0),
        }))
    }
}

/// The living processes that use a segment: the one that made it, and those that have it attached.
pub fn processes(segment: &Segment, users: &[Use]) -> (Option<i32>, Vec<i32>) {
    let is_alive = segment.creator_alive == Some(true);
    let living = users.iter().filter(|one| one.who.alive);
    (
        segment.creator_pid.filter(|_| is_alive),
        living.filter_map(|one| one.who.pid).collect(),
    )
}

impl View {
    /// The value in these bytes, of each array so many different elements.
    pub fn tree(&self, bytes: &Bytes, limit: Option<usize>) -> Outcome<Tree> {
        let room = bytes.len().saturating_sub(self.offset);
        let mut read = vec![0; usize::try_from(self.meant.extent(room)).unwrap_or(0)];
        bytes.read(self.offset, &mut read)?;
        let options = RenderOptions {
            offset: self.offset,
            load_offset: self.origin.load_offset,
            limit,
        };
        self.meant.render(&read, &options)
    }

    /// What is shown, and why as this, in one line.
    pub fn heading(&self) -> String {
        let Origin {
            program, reason, ..
        } = &self.origin;
        let reason = match &**reason {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        let name = self.meant.name();
        match self.meant.size() {
            0 => format!("{name} of {program}{reason}"),
            size => format!("{name}, {size} bytes, of {program}{reason}"),
        }
    }

    /// Where the value begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }
}
