//! Reading a cell: which process lives in it.

use super::identity::Identity;
use super::layout::{CellState, cell};
use super::map::Table;

impl Table {
    /// State and generation of a cell.
    pub fn cell_state(&self, cell: u32) -> (u32, u32) {
        if cell >= self.cells_ready() {
            return (0, 0);
        }
        (
            self.get32(cell!(cell, state)),
            self.get32(cell!(cell, generation)),
        )
    }

    /// Whether the process of this identity has lost its cell to another, which takes its death.
    pub fn is_replaced(&self, identity: Identity) -> bool {
        let cell = identity.cell();
        cell < self.cells_ready() && self.get32(cell!(cell, generation)) != identity.generation()
    }

    /// The process id in a cell that is in use.
    pub fn pid_of(&self, cell: u32) -> Option<i32> {
        let (state, _) = self.cell_state(cell);
        (state == CellState::Live as u32).then(|| self.get32(cell!(cell, pid)) as i32)
    }

    /// The cells that are not free.
    pub fn cells_in_use(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.cells_ready())
            .filter(|&cell| self.get32(cell!(cell, state)) != CellState::Free as u32)
    }
}
