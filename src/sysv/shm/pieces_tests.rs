//! The tables of what shmdt, munmap and mremap leave, walked through on an address space
//! made of pieces, as the registry keeps one. Pages are counted from page 0 here.

use super::flags::{MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE};
const PAGE_SIZE: u64 = 4096;
use crate::sysv::{Cut, Detach, Errno, Join, Mremap, Piece, ShmId, cut, join, moved};

const MOVE_TO: i32 = MREMAP_MAYMOVE | MREMAP_FIXED;

#[derive(Default)]
struct AddressSpace {
    /// By ascending address.
    pieces: Vec<Piece>,
    attaches: u32,
}

/// First page, pages, first page within the segment, segment.
type Shown = (u64, u64, u64, i32);

impl AddressSpace {
    fn with_attach(at: u64, pages: u64, id: i32) -> AddressSpace {
        let mut space = AddressSpace::default();
        space.attach(at, pages, id);
        space
    }

    /// A shmat with SHM_REMAP of a segment that has `pages` pages.
    fn attach(&mut self, at: u64, pages: u64, id: i32) {
        self.munmap(at, pages);
        self.attaches += 1;
        self.insert(Piece {
            start: at * PAGE_SIZE,
            len: pages * PAGE_SIZE,
            offset: 0,
            attach: self.attaches,
            id: ShmId::new(id as u32, 0),
            seg_len: pages * PAGE_SIZE,
        });
    }

    fn insert(&mut self, piece: Piece) {
        self.pieces.push(piece);
        self.pieces.sort_by_key(|piece| piece.start);
        for (low, high) in self.pieces.iter().zip(self.pieces.iter().skip(1)) {
            assert!(low.end() <= high.start, "{low:?} runs into {high:?}");
        }
    }

    fn leave(&mut self, piece: Piece, left: Cut) {
        match left {
            Cut::Untouched => self.insert(piece),
            Cut::Gone => {}
            Cut::One(left) => self.insert(left),
            Cut::Two(below, above) => {
                self.insert(below);
                self.insert(above);
            }
        }
    }

    /// Also what a mapping with MAP_FIXED does.
    fn munmap(&mut self, at: u64, pages: u64) {
        for piece in core::mem::take(&mut self.pieces) {
            let left = cut(&piece, at * PAGE_SIZE, (at + pages) * PAGE_SIZE);
            self.leave(piece, left);
        }
    }

    fn mremap(&mut self, at: u64, old_pages: u64, new_pages: u64, flags: i32, to: u64) {
        let [old, new] = [old_pages, new_pages].map(|pages| pages * PAGE_SIZE);
        let mremap = Mremap::new(at * PAGE_SIZE, old, new, flags, to * PAGE_SIZE);
        if let Some((start, end)) = mremap.cleared() {
            self.munmap(start / PAGE_SIZE, (end - start) / PAGE_SIZE);
        }
        let mut arrived = Vec::new();
        for piece in core::mem::take(&mut self.pieces) {
            let fate = moved(&piece, &mremap);
            self.leave(piece, fate.left);
            arrived.extend(fate.arrived);
        }
        for piece in arrived {
            let next_to =
                |wanted: u64, of: fn(&Piece) -> u64| move |other: &&Piece| of(other) == wanted;
            let below = self
                .pieces
                .iter()
                .find(next_to(piece.start, Piece::end))
                .copied();
            let above = self
                .pieces
                .iter()
                .find(next_to(piece.end(), |p| p.start))
                .copied();
            let (gone, stays) = match join(below.as_ref(), &piece, above.as_ref()) {
                Join::Apart => (None, piece),
                Join::Below(both) => (below, both),
                Join::Above(both) => (above, both),
            };
            self.pieces.retain(|other| Some(*other) != gone);
            self.insert(stays);
        }
    }

    /// Which segment went.
    fn shmdt(&mut self, at: u64) -> Result<i32, Errno> {
        let addr = at.wrapping_mul(PAGE_SIZE);
        let mut detach = Detach::new(addr).map_err(|refusal| refusal.errno)?;
        let mut over = false;
        self.pieces.retain(|piece| {
            if piece.start < addr {
                return true;
            }
            over |= detach.is_done(piece.start);
            let goes = detach.takes(piece);
            assert!(
                !(goes && over),
                "a piece went after the walk was said to be done"
            );
            !goes
        });
        let outcome = detach.outcome();
        outcome.map(ShmId::raw).map_err(|refusal| refusal.errno)
    }

    fn shown(&self) -> Vec<Shown> {
        let pages = |bytes: u64| bytes / PAGE_SIZE;
        self.pieces
            .iter()
            .map(|p| (pages(p.start), pages(p.len), pages(p.offset), p.id.raw()))
            .collect()
    }

    fn nattch(&self, id: i32) -> usize {
        self.pieces
            .iter()
            .filter(|piece| piece.id.raw() == id)
            .count()
    }
}

const EINVAL: Result<i32, Errno> = Err(Errno::Einval);

#[test]
fn only_a_page_boundary_is_an_address_to_detach() {
    for addr in [1, 4095, 4097, u64::MAX] {
        let refusal = Detach::new(addr).map_err(|refusal| refusal.errno);
        assert_eq!(refusal.err(), Some(Errno::Einval));
    }
}

#[test]
fn an_attach_is_detached_once_and_by_its_base_alone() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    for at in [0, 99, 101, 102, 103, 1 << 51, u64::MAX / PAGE_SIZE] {
        assert_eq!(space.shmdt(at), EINVAL, "{at}");
    }
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shmdt(100), EINVAL);
    assert_eq!(space.shown(), []);
}

#[test]
fn the_base_stays_the_name_of_an_attach_whose_first_page_is_gone() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(100, 1);
    assert_eq!(space.shmdt(101), EINVAL);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shown(), []);
}

#[test]
fn the_last_page_alone_is_detached_by_the_base() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(100, 2);
    assert_eq!(space.shmdt(100), Ok(7));
}

#[test]
fn both_halves_of_an_attach_go() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(101, 1);
    assert_eq!(space.nattch(7), 2);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shown(), []);
}

#[test]
fn nothing_is_left_to_detach_when_all_was_unmapped() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(100, 3);
    assert_eq!(space.shmdt(100), EINVAL);
}

#[test]
fn an_attach_that_moved_is_detached_where_it_is() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.mremap(100, 3, 3, MOVE_TO, 200);
    assert_eq!(space.shmdt(100), EINVAL);
    assert_eq!(space.shmdt(200), Ok(7));
}

#[test]
fn a_moved_middle_page_is_detached_by_the_base_it_would_have() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.mremap(101, 1, 1, MOVE_TO, 200);
    assert_eq!(space.shmdt(200), EINVAL);
    assert_eq!(space.shmdt(199), Ok(7));
    assert_eq!(space.shown(), [(100, 1, 0, 7), (102, 1, 2, 7)]);
}

#[test]
fn a_newcomer_over_the_first_page_is_detached_before_what_is_left_of_the_old_attach() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(100, 1, 8);
    assert_eq!(space.shmdt(100), Ok(8));
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shmdt(100), EINVAL);
}

#[test]
fn another_segments_page_that_fits_by_chance_is_left_to_a_second_detach() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(200, 3, 8);
    space.mremap(201, 1, 1, MOVE_TO, 101);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.nattch(8), 3);
    assert_eq!(space.shmdt(100), Ok(8));
    assert_eq!(space.shown(), [(200, 1, 0, 8), (202, 1, 2, 8)]);
}

#[test]
fn another_attach_of_the_same_segment_is_not_the_same_attach() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(200, 3, 7);
    space.mremap(201, 1, 1, MOVE_TO, 101);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.nattch(7), 3);
}

#[test]
fn of_two_attaches_back_to_back_only_the_first_goes() {
    let mut space = AddressSpace::with_attach(100, 2, 7);
    space.attach(102, 2, 7);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shown(), [(102, 2, 0, 7)]);
}

#[test]
fn a_piece_longer_than_its_segment_goes_first_but_not_as_a_follower() {
    let mut space = AddressSpace::with_attach(100, 2, 7);
    space.mremap(100, 2, 5, 0, 100);
    assert_eq!(space.shmdt(100), Ok(7));

    let mut space = AddressSpace::with_attach(100, 2, 7);
    space.mremap(101, 1, 3, 0, 101);
    space.munmap(100, 1);
    space.mremap(101, 0, 1, MOVE_TO, 201);
    assert_eq!(space.shmdt(200), Ok(7));
    assert_eq!(space.shmdt(100), Ok(7));

    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(101, 1);
    space.mremap(102, 1, 3, 0, 102);
    assert_eq!(space.shmdt(100), Ok(7));
    assert_eq!(space.shown(), [(102, 3, 2, 7)]);
}

#[test]
fn unmapping_counts_as_the_pieces_that_are_left() {
    for (what, at, pages, left) in [
        ("the whole", 100, 3, &[][..]),
        ("more than the whole", 90, 30, &[]),
        ("the first page", 100, 1, &[(101, 2, 1, 7)]),
        ("up to the first page", 50, 51, &[(101, 2, 1, 7)]),
        ("the last page", 102, 1, &[(100, 2, 0, 7)]),
        ("from the last page", 102, 50, &[(100, 2, 0, 7)]),
        ("the middle", 101, 1, &[(100, 1, 0, 7), (102, 1, 2, 7)]),
        ("below", 99, 1, &[(100, 3, 0, 7)]),
        ("above", 103, 1, &[(100, 3, 0, 7)]),
        ("nothing within", 101, 0, &[(100, 3, 0, 7)]),
    ] {
        let mut space = AddressSpace::with_attach(100, 3, 7);
        space.munmap(at, pages);
        assert_eq!(space.shown(), left, "{what}");
    }
}

#[test]
fn unmapping_over_two_segments_is_each_ones_own_case() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(103, 3, 8);
    space.munmap(102, 3);
    assert_eq!(space.shown(), [(100, 2, 0, 7), (105, 1, 2, 8)]);
}

#[test]
fn attaching_over_an_attach_unmaps_what_it_covers() {
    for (at, old) in [(100, 1), (101, 2), (102, 1)] {
        let mut space = AddressSpace::with_attach(100, 3, 7);
        space.attach(at, 1, 8);
        assert_eq!((space.nattch(7), space.nattch(8)), (old, 1), "{at}");
    }
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(100, 3, 8);
    assert_eq!((space.nattch(7), space.nattch(8)), (0, 1));
    // Over itself.
    space.attach(100, 3, 8);
    assert_eq!(space.shown(), [(100, 3, 0, 8)]);
}

// What follows was compared with /proc/self/maps and shm_nattch on Linux 6.18.

#[test]
fn mremap_of_a_three_page_attach() {
    let keep = MOVE_TO | MREMAP_DONTUNMAP;
    for (what, (at, old, new, flags, to), left) in [
        ("stays as it is", (100, 3, 3, 0, 100), &[(100, 3, 0, 7)][..]),
        ("moves whole", (100, 3, 3, MOVE_TO, 200), &[(200, 3, 0, 7)]),
        ("grows in place", (100, 3, 5, 0, 100), &[(100, 5, 0, 7)]),
        (
            "grows in place by its tail",
            (101, 2, 5, 0, 101),
            &[(100, 6, 0, 7)],
        ),
        (
            "grows elsewhere",
            (100, 3, 5, MREMAP_MAYMOVE, 200),
            &[(200, 5, 0, 7)],
        ),
        (
            "its tail grows elsewhere",
            (101, 2, 3, MREMAP_MAYMOVE, 200),
            &[(100, 1, 0, 7), (200, 3, 1, 7)],
        ),
        (
            "its middle grows elsewhere",
            (101, 1, 3, MREMAP_MAYMOVE, 200),
            &[(100, 1, 0, 7), (102, 1, 2, 7), (200, 3, 1, 7)],
        ),
        ("shrinks in place", (100, 3, 1, 0, 100), &[(100, 1, 0, 7)]),
        (
            "shrinks in its middle",
            (100, 2, 1, 0, 100),
            &[(100, 1, 0, 7), (102, 1, 2, 7)],
        ),
        (
            "moves and shrinks",
            (100, 3, 2, MOVE_TO, 200),
            &[(200, 2, 0, 7)],
        ),
        (
            "its middle page moves",
            (101, 1, 1, MOVE_TO, 200),
            &[(100, 1, 0, 7), (102, 1, 2, 7), (200, 1, 1, 7)],
        ),
        (
            "its first page moves over its last",
            (100, 1, 1, MOVE_TO, 102),
            &[(101, 1, 1, 7), (102, 1, 0, 7)],
        ),
        (
            "a second view of all",
            (100, 0, 3, MOVE_TO, 200),
            &[(100, 3, 0, 7), (200, 3, 0, 7)],
        ),
        (
            "a second view from the middle, longer",
            (101, 0, 4, MREMAP_MAYMOVE, 200),
            &[(100, 3, 0, 7), (200, 4, 1, 7)],
        ),
        (
            "moves without being unmapped",
            (100, 3, 3, keep, 200),
            &[(100, 3, 0, 7), (200, 3, 0, 7)],
        ),
        (
            "its middle moves without being unmapped",
            (101, 1, 1, keep, 200),
            &[(100, 3, 0, 7), (200, 1, 1, 7)],
        ),
        ("elsewhere", (50, 2, 2, MOVE_TO, 60), &[(100, 3, 0, 7)]),
        (
            "elsewhere, to here",
            (50, 2, 2, MOVE_TO, 99),
            &[(101, 2, 1, 7)],
        ),
    ] {
        let mut space = AddressSpace::with_attach(100, 3, 7);
        space.mremap(at, old, new, flags, to);
        assert_eq!(space.shown(), left, "{what}");
    }
}

#[test]
fn shrinking_reaches_over_several_pieces_and_gaps() {
    let mut space = AddressSpace::with_attach(100, 4, 7);
    space.munmap(102, 1);
    space.mremap(100, 4, 1, 0, 100);
    assert_eq!(space.shown(), [(100, 1, 0, 7)]);
}

#[test]
fn odd_lengths_are_rounded_up_to_pages() {
    let mremap = Mremap::new(409600, 12288 - 100, 4097, 0, 409600);
    assert_eq!((mremap.old_len, mremap.new_len), (12288, 8192));
}

#[test]
fn both_addresses_of_a_copy_are_detached() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.mremap(100, 3, 3, MOVE_TO | MREMAP_DONTUNMAP, 200);
    assert_eq!(space.shmdt(200), Ok(7));
    assert_eq!(space.shmdt(100), Ok(7));
}

#[test]
fn a_page_that_comes_back_joins_the_piece_it_left() {
    for (page, nattch) in [(100, 1), (101, 2), (102, 1)] {
        let mut space = AddressSpace::with_attach(100, 3, 7);
        space.mremap(page, 1, 1, MOVE_TO, 200);
        space.mremap(200, 1, 1, MOVE_TO, page);
        assert_eq!(space.nattch(7), nattch, "page {page}");
        assert_eq!(space.shmdt(100), Ok(7));
        assert_eq!(space.shown(), []);
    }
}

#[test]
fn a_page_between_two_pieces_joins_the_lower_one_alone() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.mremap(101, 1, 1, MOVE_TO, 200);
    space.mremap(200, 1, 1, MOVE_TO, 101);
    assert_eq!(space.shown(), [(100, 2, 0, 7), (102, 1, 2, 7)]);
}

#[test]
fn a_copy_joins_too() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.mremap(101, 0, 2, MOVE_TO, 201);
    space.munmap(101, 2);
    space.mremap(201, 0, 1, MOVE_TO, 101);
    assert_eq!(space.shown(), [(100, 2, 0, 7), (201, 2, 1, 7)]);
}

#[test]
fn a_piece_that_grows_up_to_the_next_stays_apart_from_it() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.munmap(101, 1);
    space.mremap(100, 1, 2, 0, 100);
    assert_eq!(space.shown(), [(100, 2, 0, 7), (102, 1, 2, 7)]);
}

#[test]
fn what_does_not_go_on_does_not_join() {
    let mut space = AddressSpace::with_attach(100, 3, 7);
    // The wrong page of the segment.
    space.mremap(102, 1, 1, MOVE_TO, 103);
    assert_eq!(space.shown(), [(100, 2, 0, 7), (103, 1, 2, 7)]);
    space.mremap(103, 1, 1, MOVE_TO, 99);
    assert_eq!(space.nattch(7), 2);
    // The right page of another attach.
    let mut space = AddressSpace::with_attach(100, 3, 7);
    space.attach(200, 3, 7);
    space.mremap(202, 1, 1, MOVE_TO, 102);
    assert_eq!(space.nattch(7), 3);
}

#[test]
fn impossible_pieces_do_no_harm() {
    let spoilt = Piece {
        start: u64::MAX - 4095,
        len: u64::MAX,
        offset: u64::MAX,
        attach: u32::MAX,
        id: ShmId::new(0, 0),
        seg_len: u64::MAX,
    };
    assert_eq!(spoilt.end(), u64::MAX);
    assert_eq!(cut(&spoilt, 0, u64::MAX), Cut::Gone);
    assert_eq!(cut(&spoilt, 5, 4), Cut::Untouched);
    for flags in [0, MOVE_TO, MOVE_TO | MREMAP_DONTUNMAP] {
        for old in [0, 4096, u64::MAX] {
            for new in [4096, u64::MAX] {
                for to in [0, u64::MAX - 4095] {
                    let mremap = Mremap::new(u64::MAX - 4095, old, new, flags, to);
                    let fate = moved(&spoilt, &mremap);
                    if let Some(arrived) = fate.arrived {
                        assert_eq!(arrived.start, to);
                        assert_eq!(join(Some(&spoilt), &arrived, Some(&spoilt)), Join::Apart);
                    }
                }
            }
        }
    }
    let mut detach = Detach::new(0).map_err(|refusal| refusal.errno);
    if let Ok(detach) = &mut detach {
        assert!(!detach.takes(&spoilt));
    }
    assert!(detach.is_ok_and(|detach| detach.found().is_none()));
}
