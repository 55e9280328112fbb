//! Which process is meant: a cell of the table, and which of the cell's processes.

use super::layout;

const CELL_BITS: u32 = 14;
const HELD: u32 = 1 << 30;
const GENERATIONS: u32 = 1 << 16;

/// A process's cell and the cell's generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    cell: u32,
    generation: u32,
}

impl Identity {
    /// That of `cell` in its present generation.
    pub fn new(cell: u32, generation: u32) -> Identity {
        Identity {
            cell: cell % layout::CELLS,
            generation: generation % GENERATIONS,
        }
    }

    /// The cell's index.
    pub fn cell(self) -> u32 {
        self.cell
    }

    /// The cell's generation, 16 bits.
    pub fn generation(self) -> u32 {
        self.generation
    }

    /// Whether a word can be one that [`Identity::packed`] gave.
    pub fn is_packed(word: u32) -> bool {
        word & HELD != 0
    }

    /// That of the next process in the cell.
    pub fn next(self) -> Identity {
        Identity::new(self.cell, self.generation.wrapping_add(1))
    }

    /// As one word that is never 0.
    pub fn packed(self) -> u32 {
        HELD | self.generation << CELL_BITS | self.cell
    }

    /// The inverse of [`Identity::packed`].
    pub fn from_packed(word: u32) -> Identity {
        Identity::new(word & (layout::CELLS - 1), (word & !HELD) >> CELL_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_packing() {
        for cell in [0, 1, 77, layout::CELLS - 1] {
            for generation in [0, 1, 40_000, GENERATIONS - 1] {
                let identity = Identity::new(cell, generation);
                assert_ne!(identity.packed(), 0);
                assert_eq!(identity.packed() >> 31, 0, "bit 31 is the lock's");
                assert_eq!(Identity::from_packed(identity.packed()), identity);
            }
        }
    }
}
