//! A part of a segment's bytes, and when each of them changed last.

/// The largest segment that is read whole at each refresh. Of a larger one only what is shown is read.
pub const WHOLE: u64 = 4 << 20;

/// Bytes from one place on.
#[derive(Debug, Default)]
pub struct Memory {
    start: u64,
    bytes: Vec<u8>,
    /// For each byte the refresh that found it changed; 0 for none.
    changed: Vec<u64>,
    refreshes: u64,
}

/// A byte, and how many refreshes ago it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Byte {
    /// Its value.
    pub value: u8,
    /// `None`: not since it is watched.
    pub age: Option<u64>,
}

impl Memory {
    /// The byte at this place of the segment, if it was read.
    pub fn at(&self, offset: u64) -> Option<Byte> {
        let index = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        let changed = *self.changed.get(index)?;
        Some(Byte {
            value: *self.bytes.get(index)?,
            age: (changed > 0).then_some(self.refreshes - changed),
        })
    }

    /// Takes what was read anew. What was not read before has not changed.
    pub fn update(&mut self, start: u64, bytes: Vec<u8>) {
        let now = self.refreshes + 1;
        let changed = (start..)
            .zip(&bytes)
            .map(|(offset, new)| match self.at(offset) {
                Some(old) if old.value != *new => now,
                Some(old) => old.age.map_or(0, |age| self.refreshes - age),
                None => 0,
            });
        self.changed = changed.collect();
        self.refreshes = now;
        self.start = start;
        self.bytes = bytes;
    }

    /// The next byte behind `offset` that changed at most this many refreshes ago, from the beginning on if there is none.
    pub fn next_change(&self, offset: u64, fade: u64) -> Option<u64> {
        let places = (self.start..).zip(&self.changed);
        let is_lit = |changed: u64| changed > 0 && self.refreshes - changed < fade;
        let mut lit = places
            .filter(|(_, changed)| is_lit(**changed))
            .map(|(place, _)| place);
        let first = lit.next()?;
        match first > offset {
            true => Some(first),
            false => Some(lit.find(|place| *place > offset).unwrap_or(first)),
        }
    }

    /// How many bytes the last refresh found changed.
    pub fn changes(&self) -> usize {
        self.changed
            .iter()
            .filter(|changed| **changed == self.refreshes)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_ages_and_stays_where_it_was_when_another_part_is_read() {
        let mut memory = Memory::default();
        memory.update(0, vec![1, 2, 3, 4]);
        assert_eq!(
            memory.at(1),
            Some(Byte {
                value: 2,
                age: None
            })
        );
        memory.update(0, vec![1, 9, 3, 4]);
        assert_eq!(
            memory.at(1),
            Some(Byte {
                value: 9,
                age: Some(0)
            })
        );
        assert_eq!(memory.changes(), 1);
        memory.update(1, vec![9, 3, 4, 5]);
        assert_eq!(
            memory.at(1),
            Some(Byte {
                value: 9,
                age: Some(1)
            })
        );
        assert_eq!(
            memory.at(4),
            Some(Byte {
                value: 5,
                age: None
            })
        );
        assert_eq!(memory.at(0), None);
    }

    #[test]
    fn the_next_change_is_looked_for_behind_and_then_from_the_beginning() {
        let mut memory = Memory::default();
        memory.update(0, vec![0; 100]);
        let mut bytes = vec![0; 100];
        (bytes[10], bytes[50]) = (1, 1);
        memory.update(0, bytes);
        assert_eq!(memory.next_change(0, 5), Some(10));
        assert_eq!(memory.next_change(10, 5), Some(50));
        assert_eq!(memory.next_change(50, 5), Some(10));
        assert_eq!(memory.next_change(0, 0), None);
    }
}
