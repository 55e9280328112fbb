//! What is true of a namespace as long as nobody has damaged it.

use core::fmt;

/// One of these truths. They are asked in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Invariant {
    /// The runtime directory and its parts have the kind, owner and mode that the library gives them.
    Directory,
    /// The table is of this version, of its whole length, and its fixed words are what they must be.
    Table,
    /// The table is locked by nobody, or by a living process.
    Lock,
    /// No change is half done.
    Journal,
    /// What the table says to be backed can be, and the next id is one.
    Bounds,
    /// Each slot is in one of its states, with an id of its own.
    Slots,
    /// Each key leads to its segment, and to nothing else.
    Keys,
    /// Totals, and the map of free slots, say the same as the slots.
    Totals,
    /// What awaits unlinking is listed, and what is being made or unlinked is the work of a cell.
    Dying,
    /// Each cell is in one of its states.
    Processes,
    /// Each attach is that of a process that has a cell, of a segment that exists.
    Records,
    /// The lists of attaches, by segment, by process and of free records, have all of them.
    Lists,
    /// nattch of each segment is the sum of its attaches.
    Counts,
    /// Each segment has its file, of its length and its creator's.
    Files,
    /// The files have the rights that the table says.
    Rights,
    /// The file of semaphore sets and message queues is of this version and whole.
    Ipc,
    /// Each set and each queue is in its directory, and a block of its own.
    Objects,
    /// Each file is part of the namespace.
    Strays,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 18] = [
        Invariant::Directory,
        Invariant::Table,
        Invariant::Lock,
        Invariant::Journal,
        Invariant::Bounds,
        Invariant::Slots,
        Invariant::Keys,
        Invariant::Totals,
        Invariant::Dying,
        Invariant::Processes,
        Invariant::Records,
        Invariant::Lists,
        Invariant::Counts,
        Invariant::Files,
        Invariant::Rights,
        Invariant::Ipc,
        Invariant::Objects,
        Invariant::Strays,
    ];

    /// Its name and what it says.
    pub fn text(self) -> (&'static str, &'static str) {
        match self {
            Invariant::Directory => (
                "directory",
                "kind, owner and mode are those that the library gives",
            ),
            Invariant::Table => ("table", "it is of this version and whole"),
            Invariant::Lock => ("lock", "nobody has it, or a living process"),
            Invariant::Journal => ("journal", "no change is half done"),
            Invariant::Bounds => ("bounds", "what is in use is backed, and the next id is one"),
            Invariant::Slots => (
                "slots",
                "each is in one of its states, with an id of its own",
            ),
            Invariant::Keys => ("keys", "each leads to its segment"),
            Invariant::Totals => ("totals", "they say the same as the slots"),
            Invariant::Dying => ("dying", "what awaits unlinking is listed"),
            Invariant::Processes => ("processes", "each cell is in one of its states"),
            Invariant::Records => ("records", "each attach is a process's, of a segment"),
            Invariant::Lists => ("lists", "they have all attaches"),
            Invariant::Counts => ("counts", "nattch is the sum of the attaches"),
            Invariant::Files => ("files", "each segment has its file"),
            Invariant::Rights => ("rights", "files have those that the table says"),
            Invariant::Ipc => (
                "ipc",
                "the file of semaphores and queues is of this version and whole",
            ),
            Invariant::Objects => (
                "objects",
                "each set and queue is in its directory, and a block of its own",
            ),
            Invariant::Strays => ("strays", "each file is part of the namespace"),
        }
    }
}

/// Is told what is not true.
pub type Broken<'b> = dyn FnMut(Invariant, fmt::Arguments<'_>) + 'b;
