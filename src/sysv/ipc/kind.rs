//! The three kinds of objects.

use core::fmt;

use super::id::ShmId;

/// What an object is. Each kind has identifiers and keys of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Of shared memory.
    Segment,
    /// Of semaphores.
    Set,
    /// Of messages.
    Queue,
}

impl Kind {
    /// What a sentence calls it.
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Segment => "segment",
            Kind::Set => "semaphore set",
            Kind::Queue => "message queue",
        }
    }

    /// As one of the numbers of a sentence.
    pub(super) const fn number(self) -> u64 {
        self as u64
    }

    /// The kind with this number.
    pub(super) const fn numbered(number: u64) -> Kind {
        match number {
            0 => Kind::Segment,
            1 => Kind::Set,
            _ => Kind::Queue,
        }
    }
}

/// An object by kind and identifier: "semaphore set 3".
pub(super) struct Named {
    kind: Kind,
    id: i32,
}

impl Named {
    /// Both as one number of a sentence, of which there are few.
    pub(super) const fn number(kind: Kind, id: ShmId) -> u64 {
        kind.number() << 32 | id.raw() as u64
    }

    /// What [`Named::number`] was made of.
    pub(super) const fn numbered(number: u64) -> Named {
        Named {
            kind: Kind::numbered(number >> 32),
            id: number as i32,
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.kind.word(), self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_a_sentence_keeps_kind_and_identifier() {
        for (kind, name) in [
            (Kind::Segment, "segment 2147450879"),
            (Kind::Set, "semaphore set 2147450879"),
            (Kind::Queue, "message queue 2147450879"),
        ] {
            let number = Named::number(kind, ShmId::new(32767, 65534));
            assert_eq!(Named::numbered(number).to_string(), name);
            assert_eq!(Kind::numbered(kind.number()), kind);
        }
    }
}
