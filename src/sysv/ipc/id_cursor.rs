//! The order in which identifiers are handed out.

use super::id::{SLOTS, ShmId};

/// Sequence numbers are below this. (2^31 − 1) / [`SLOTS`], rounded down.
const SEQS: u32 = 65535;

/// No sequence number is below this.
///
/// Divergence: the kernel's begin at 0 and seldom come as far. So an identifier that gets to a program of the other side
/// names nothing there, instead of another object.
const LOWEST_SEQ: u32 = 32768;

/// The search for a slot never has fewer slots than this to go round in.
const SHORTEST_CYCLE: u32 = 64;

/// Where a namespace stands in handing out identifiers.
///
/// Slots are given out cyclically: the search starts behind the last one given, not at the
/// lowest free one, so a stale identifier stays stale for long. It goes round in a range
/// that grows with the number of objects, and each time it comes to a slot that is not
/// above the last one the sequence number grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IdCursor {
    /// Where the next search starts: the slot behind the last one given.
    pub next: u32,
    /// The last slot given, −1 when none was.
    pub last: i32,
    /// The sequence number of the last identifier given.
    pub seq: u32,
}

impl IdCursor {
    /// Where a new namespace stands. Namespaces with different seeds mostly begin with different sequence numbers, so that
    /// an identifier of one names nothing in another.
    pub const fn fresh(seed: u64) -> IdCursor {
        // Fibonacci hashing: the upper bits are the well-mixed ones.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        IdCursor {
            next: 0,
            last: -1,
            seq: LOWEST_SEQ + (mixed % (SEQS - LOWEST_SEQ) as u64) as u32,
        }
    }

    /// The next identifier, and where the namespace stands when it has been given.
    ///
    /// `in_use` is the number of objects of the kind there are, the new one not counted.
    /// `next_free(from, to)` finds the lowest free slot in `from..to`. `None` when there is
    /// no free slot in the whole range; a cursor that is not stored used up nothing.
    pub fn allocate(
        self,
        in_use: u32,
        next_free: impl Fn(u32, u32) -> Option<u32>,
    ) -> Option<(ShmId, IdCursor)> {
        let end = (in_use.saturating_mul(3) / 2).clamp(SHORTEST_CYCLE, SLOTS);
        let search = |from: u32| {
            let found = if from < end {
                next_free(from, end)
            } else {
                None
            };
            found.filter(|slot| (from..end).contains(slot))
        };
        let slot = search(self.next).or_else(|| search(0))?;

        let went_round = i64::from(slot) <= i64::from(self.last);
        let seq = match self.seq.wrapping_add(u32::from(went_round)) {
            seq if (LOWEST_SEQ..SEQS).contains(&seq) => seq,
            _ => LOWEST_SEQ,
        };
        let cursor = IdCursor {
            next: slot + 1,
            last: slot as i32,
            seq,
        };
        Some((ShmId::new(slot, seq), cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lowest identifier there is.
    const FIRST_ID: i32 = ShmId::new(0, LOWEST_SEQ).raw();

    /// A namespace that only hands out identifiers. They are counted from the first, as the kernel counts.
    struct Namespace {
        cursor: IdCursor,
        /// Which identifier each slot has.
        slots: Vec<Option<i32>>,
        in_use: u32,
    }

    impl Namespace {
        fn new() -> Namespace {
            Namespace {
                cursor: IdCursor {
                    seq: LOWEST_SEQ,
                    ..IdCursor::fresh(0)
                },
                slots: vec![None; SLOTS as usize],
                in_use: 0,
            }
        }

        fn create(&mut self) -> i32 {
            let given = self.cursor.allocate(self.in_use, |from, to| {
                (from..to).find(|slot| self.slots.get(*slot as usize) == Some(&None))
            });
            let Some((id, cursor)) = given else {
                return -1;
            };
            self.cursor = cursor;
            let slot = self.slots.get_mut(id.slot() as usize);
            assert_eq!(slot.map(|slot| slot.replace(id.raw())), Some(None));
            self.in_use += 1;
            id.raw() - FIRST_ID
        }

        fn remove(&mut self, id: i32) {
            let id = id + FIRST_ID;
            let slot = self.slots.get_mut(id as usize % SLOTS as usize);
            assert_eq!(slot.and_then(Option::take), Some(id));
            self.in_use -= 1;
        }

        fn create_and_remove(&mut self) -> i32 {
            let id = self.create();
            self.remove(id);
            id
        }
    }

    #[test]
    fn a_loop_of_create_and_remove_goes_round_in_sixty_four_slots() {
        let mut namespace = Namespace::new();
        for expected in (0..64).chain(32768..32832).chain([65536, 65537]) {
            assert_eq!(namespace.create_and_remove(), expected);
        }
    }

    #[test]
    fn a_slot_in_use_is_passed_over() {
        let mut namespace = Namespace::new();
        assert_eq!(namespace.create(), 0);
        for expected in (1..64).chain([32769, 32770]) {
            assert_eq!(namespace.create_and_remove(), expected);
        }
    }

    #[test]
    fn holes_wait_until_the_search_comes_round() {
        let mut namespace = Namespace::new();
        for expected in 0..100 {
            assert_eq!(namespace.create(), expected);
        }
        namespace.remove(3);
        namespace.remove(70);
        for expected in 100..147 {
            assert_eq!(namespace.create(), expected);
        }
    }

    #[test]
    fn a_slot_may_lie_above_shmmni() {
        let mut namespace = Namespace::new();
        for expected in 0..if cfg!(miri) { 96 } else { 4096 } {
            assert_eq!(namespace.create(), expected);
        }
        let next = namespace.in_use as i32;
        namespace.remove(17);
        assert_eq!(namespace.create(), next);
    }

    #[test]
    fn the_last_slot_of_all_is_found_and_then_no_more() {
        let all_but = |free: u32| move |from, to| (from..to).contains(&free).then_some(free);
        let cursor = IdCursor {
            next: 500,
            last: 499,
            seq: 40007,
        };
        let given = cursor.allocate(SLOTS - 1, all_but(321));
        assert_eq!(given.map(|(id, _)| id), Some(ShmId::new(321, 40008)));
        assert_eq!(cursor.allocate(SLOTS, |_, _| None), None);
    }

    #[test]
    fn the_sequence_number_starts_again_after_65534() {
        let cursor = IdCursor {
            next: 64,
            last: 63,
            seq: 65533,
        };
        let given = cursor.allocate(0, |from, _| Some(from));
        let Some((id, cursor)) = given else {
            unreachable!("slot 0 is free");
        };
        assert_eq!(id.raw(), 65534 * 32768);
        let given = IdCursor { next: 64, ..cursor }.allocate(0, |from, _| Some(from));
        assert_eq!(
            given.map(|(id, cursor)| (id.raw(), cursor.seq)),
            Some((FIRST_ID, LOWEST_SEQ))
        );
    }

    #[test]
    fn a_table_of_the_kernels_numbers_goes_on_above_them() {
        for seq in [0, 7, LOWEST_SEQ - 2] {
            let cursor = IdCursor {
                next: 3,
                last: 2,
                seq,
            };
            let given = cursor.allocate(0, |from, _| Some(from));
            assert_eq!(given.map(|(id, _)| id), Some(ShmId::new(3, LOWEST_SEQ)));
        }
    }

    #[test]
    fn namespaces_begin_with_numbers_of_their_own_far_from_the_kernels() {
        let mut begun = std::collections::HashSet::new();
        for seed in 0..1000u64 {
            let cursor = IdCursor::fresh(seed.wrapping_mul(0x0100_0000_01b3));
            let given = cursor.allocate(0, |from, _| Some(from));
            let id = given.map(|(id, _)| id);
            assert_eq!(id, Some(ShmId::new(0, cursor.seq)));
            assert!((LOWEST_SEQ..SEQS).contains(&cursor.seq));
            begun.insert(cursor.seq);
        }
        assert!(begun.len() > 900, "{} of 1000 differ", begun.len());
    }

    #[test]
    fn a_spoilt_cursor_gives_no_impossible_identifier() {
        for next in [0, 63, 64, SLOTS, u32::MAX] {
            for last in [i32::MIN, -1, 0, 40000, i32::MAX] {
                for seq in [0, LOWEST_SEQ, 65534, 65535, u32::MAX] {
                    for in_use in [0, 5, SLOTS, u32::MAX] {
                        for answer in [0, 63, 64, SLOTS - 1, SLOTS, u32::MAX] {
                            let given =
                                IdCursor { next, last, seq }.allocate(in_use, |_, _| Some(answer));
                            let Some((id, cursor)) = given else {
                                continue;
                            };
                            assert_eq!(id.slot(), answer);
                            assert!((LOWEST_SEQ..SEQS).contains(&id.seq()) && cursor.next <= SLOTS);
                        }
                    }
                }
            }
        }
    }

    /// Identifiers that Linux 6.18 gave in an IPC namespace of its own, shmmni 4096; a
    /// negative number −1 − n is the removal of identifier n. Identifiers 0 to 69 came first.
    const KERNEL_TRACE: &[i32] = &[
        -56, 70, 71, 72, 73, 74, -50, -71, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, -70, -4, 85, -2,
        86, -1, -45, 87, -42, 88, -51, -25, -24, -88, -46, -86, -44, -79, -13, -64, -8, -23, -41,
        -78, 89, 90, -40, 91, 92, 93, -14, -21, 94, 95, -91, -9, 96, 97, 98, 99, -76, 100, 101,
        102, 103, -22, -11, 104, -54, 105, 106, -89, -37, 107, 108, 109, 110, -102, 111, 112, -63,
        113, 114, -52, 115, 116, -109, -95, 32768, 32769, 32771, -75, 32775, -96, -38, -55, -83,
        -68, -80, -101, -34, -29, -58, -32776, -5, 32776, -65, -15, 32778, -106, -19, -32779, -107,
        32780, -100, 32781, 32782, 32786, -3, -111, -53, -115, -17, 32788, -69, -98, -32772, 32789,
        -39, 32790, -82, 32791, -84, -104, -74, 32792, 32796, -26, 32801, 32804, 32805, -114,
        -32781, -105, -103, -112, -117, 32806, -43, -60, 32807, 32808,
    ];

    #[test]
    fn a_recorded_trace_of_the_kernel_is_followed() {
        let mut namespace = Namespace::new();
        for expected in 0..70 {
            assert_eq!(namespace.create(), expected);
        }
        for step in KERNEL_TRACE {
            match step {
                ..0 => namespace.remove(-1 - step),
                _ => assert_eq!(namespace.create(), *step),
            }
        }
    }

    /// How many segments there may be in the following test. Miri is slow.
    const MOST_ALIVE: usize = if cfg!(miri) { 100 } else { 600 };

    /// A walk of one slot at a time, written down without the rule's arithmetic: where it
    /// stands, how long the circle is, and a new round whenever it did not get further.
    struct Walker {
        taken: [bool; 2 * MOST_ALIVE],
        standing_at: Option<usize>,
        round: u32,
    }

    impl Walker {
        fn step(&mut self) -> (usize, u32) {
            let in_use = self.taken.iter().filter(|taken| **taken).count();
            let circle = 64.max(in_use + in_use / 2);
            let behind = self.standing_at.map_or(0, |slot| slot + 1);
            // A circle that shrank behind the walker's back lets it start anew.
            let mut slot = if behind < circle { behind } else { 0 };
            while self.taken.get(slot) == Some(&true) {
                slot = (slot + 1) % circle;
            }
            if self.standing_at.is_some_and(|before| slot <= before) {
                self.round = if self.round == 65534 {
                    32768
                } else {
                    self.round + 1
                };
            }
            self.standing_at = Some(slot);
            (slot, self.round)
        }

        fn set(&mut self, slot: usize, taken: bool) {
            assert_eq!(self.taken.get(slot), Some(&!taken));
            if let Some(cell) = self.taken.get_mut(slot) {
                *cell = taken;
            }
        }
    }

    #[test]
    fn any_sequence_of_creations_and_removals_agrees_with_a_walk_from_slot_to_slot() {
        for seed in 1..=if cfg!(miri) { 1 } else { 40u64 } {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut draw = |below: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 20) % below
            };
            let mut walker = Walker {
                taken: [false; 2 * MOST_ALIVE],
                standing_at: None,
                round: 65530,
            };
            let mut cursor = IdCursor {
                seq: 65530,
                ..IdCursor::fresh(seed)
            };
            let mut alive: Vec<ShmId> = Vec::new();
            let mut seen: Vec<ShmId> = Vec::new();
            let steps = if cfg!(miri) { 250 } else { 4000 };
            for step in 0..steps {
                // Grows, shrinks and stays level by turns.
                let often = [8, 2, 5, 9, 1].into_iter().nth(step * 5 / steps);
                let create = Some(draw(10)) < often;
                if alive.is_empty() || create && alive.len() < MOST_ALIVE {
                    let given = cursor.allocate(alive.len() as u32, |from, to| {
                        (from..to).find(|slot| walker.taken.get(*slot as usize) == Some(&false))
                    });
                    let (slot, round) = walker.step();
                    let expected = ShmId::new(slot as u32, round);
                    assert_eq!(
                        given.map(|(id, _)| id),
                        Some(expected),
                        "seed {seed}, step {step}"
                    );
                    cursor = given.map_or(cursor, |(_, cursor)| cursor);
                    assert!(!seen.contains(&expected), "{expected} was given twice");
                    walker.set(slot, true);
                    alive.push(expected);
                    seen.push(expected);
                } else {
                    let gone = alive.swap_remove(draw(alive.len() as u64) as usize);
                    walker.set(gone.slot() as usize, false);
                }
            }
        }
    }
}
