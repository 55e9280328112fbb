//! What happens to segment 0 in the stories, one run of the journal after the other. What may be seen of it: `seen.rs`.

use crate::scene::{self, colliding_keys, create, process};
use crate::storage::table::Held;
use crate::storage::table::attach_record;
use crate::storage::table::events::What;
use crate::storage::table::key_index;
use crate::storage::table::layout::{FLAG_RIGHTS, slot};
use crate::storage::table::slot_life::{self, Cursor, Last};

/// One change, in one run of the journal.
pub type Step = fn(&Held<'_>);

/// What was there before, and what process 0 does to it.
pub struct Story {
    /// Its name.
    pub name: &'static str,
    /// Done by process 0 before the story begins.
    pub before: Step,
    /// What process 0 does, taking the lock for each.
    pub steps: &'static [Step],
    /// It writes so many words that a reader could see more mixtures of old and new ones than can be tried: these are
    /// not looked at.
    pub plain: &'static [u32],
}

/// The key of segment 0. Those of the others would like to stand at the same place of the index.
pub fn key(slot: usize) -> i32 {
    colliding_keys().nth(slot).unwrap()
}

fn attach_by(held: &Held<'_>, cell: u32, known: Option<u32>) {
    attach_record::attach(held, 0, process(cell), known, 1, Some((70, 700))).unwrap();
}

fn one_segment(held: &Held<'_>) {
    create(held, 0, key(0));
}

fn three_segments(held: &Held<'_>) {
    for slot in 0..3 {
        create(held, slot, key(slot as usize));
    }
}

fn two_others(held: &Held<'_>) {
    create(held, 1, key(1));
    create(held, 2, key(2));
}

fn attached(held: &Held<'_>) {
    one_segment(held);
    attach_by(held, 0, None);
}

fn attached_and_marked(held: &Held<'_>) {
    attached(held);
    slot_life::mark(held, 0, What::Marked);
}

fn attached_by_two(held: &Held<'_>) {
    attached(held);
    attach_by(held, 2, None);
}

fn given_up(held: &Held<'_>) {
    three_segments(held);
    slot_life::destroy(held, 0, Last::Claim, What::Removed);
    slot_life::give_up(held, 0);
}

const AT_FIRST: Cursor = Cursor {
    next: 0,
    last: -1,
    seq: 0,
};

fn reserve(held: &Held<'_>) {
    slot_life::reserve(
        held,
        &scene::new_segment(0, key(0)),
        scene::cursor_behind(0),
    );
}

fn two_others_and_reserved(held: &Held<'_>) {
    two_others(held);
    reserve(held);
}

/// Of what [`slot_life::reserve`] writes, all but the version, the state, the id, the mode and the size.
const OF_A_NEW_SLOT: &[u32] = &[
    slot!(0, key),
    slot!(0, name_key),
    slot!(0, uid),
    slot!(0, gid),
    slot!(0, cuid),
    slot!(0, cgid),
    slot!(0, atime),
    slot!(0, dtime),
    slot!(0, ctime),
    slot!(0, cpid),
    slot!(0, lpid),
    slot!(0, flags),
    slot!(0, creator_cell),
    slot!(0, creator_gen),
    slot!(0, locker),
    slot!(0, nattch),
    slot!(0, sole_cell),
];

/// All changes there are.
pub const STORIES: &[Story] = &[
    Story {
        name: "reserve a slot",
        before: two_others,
        steps: &[reserve],
        plain: OF_A_NEW_SLOT,
    },
    Story {
        name: "publish a segment",
        before: two_others_and_reserved,
        steps: &[|held| slot_life::publish(held, 0, 900)],
        plain: &[],
    },
    Story {
        name: "give up making a segment",
        before: reserve,
        steps: &[|held| slot_life::free(held, 0, Some((AT_FIRST, scene::cursor_behind(0))))],
        plain: &[],
    },
    Story {
        name: "attach",
        before: one_segment,
        steps: &[|held| attach_by(held, 0, None)],
        plain: &[],
    },
    Story {
        name: "attach once more",
        before: attached_by_two,
        steps: &[|held| attach_by(held, 0, Some(0))],
        plain: &[],
    },
    Story {
        name: "detach",
        before: attached_by_two,
        steps: &[|held| {
            attach_record::detach(held, 0, 1, Some((71, 701)), Last::List);
        }],
        plain: &[],
    },
    Story {
        name: "detach the last of a removed one",
        before: attached_and_marked,
        steps: &[|held| {
            attach_record::detach(held, 0, 1, Some((71, 701)), Last::List);
        }],
        plain: &[],
    },
    Story {
        name: "detach the last of a removed one and unlink",
        before: attached_and_marked,
        steps: &[
            |held| {
                let ended = attach_record::detach(held, 0, 1, Some((71, 701)), Last::Claim);
                assert!(ended.is_some());
            },
            |held| slot_life::free(held, 0, None),
        ],
        plain: &[],
    },
    Story {
        name: "detach the last of a removed one and fail to unlink",
        before: attached_and_marked,
        steps: &[
            |held| {
                let ended = attach_record::detach(held, 0, 1, Some((71, 701)), Last::Claim);
                assert!(ended.is_some());
            },
            |held| slot_life::give_up(held, 0),
        ],
        plain: &[],
    },
    Story {
        name: "hand attaches to a child",
        before: attached_by_two,
        steps: &[|held| attach_record::move_all(held, 0, 3)],
        plain: &[],
    },
    Story {
        name: "remove while attached",
        before: attached_by_two,
        steps: &[|held| slot_life::mark(held, 0, What::Marked)],
        plain: &[],
    },
    Story {
        name: "remove and unlink",
        before: three_segments,
        steps: &[
            |held| slot_life::destroy(held, 0, Last::List, What::FreedAsOrphan),
            |held| assert!(slot_life::claim_dying(held, |_| true).is_some()),
            |held| slot_life::free(held, 0, None),
        ],
        plain: &[],
    },
    Story {
        name: "remove and fail to unlink",
        before: three_segments,
        steps: &[
            |held| slot_life::destroy(held, 0, Last::List, What::FreedAsOrphan),
            |held| assert!(slot_life::claim_dying(held, |_| true).is_some()),
            |held| slot_life::give_up(held, 0),
        ],
        plain: &[],
    },
    Story {
        name: "remove, claim and unlink",
        before: three_segments,
        steps: &[
            |held| slot_life::destroy(held, 0, Last::Claim, What::Removed),
            |held| slot_life::free(held, 0, None),
        ],
        plain: &[],
    },
    Story {
        name: "remove, claim and fail to unlink",
        before: three_segments,
        steps: &[
            |held| slot_life::destroy(held, 0, Last::Claim, What::Removed),
            |held| slot_life::give_up(held, 0),
        ],
        plain: &[],
    },
    Story {
        name: "try again to unlink",
        before: given_up,
        steps: &[
            |held| slot_life::list_stuck_again(held, |_| true),
            |held| assert!(slot_life::claim_dying(held, |_| true).is_some()),
            |held| slot_life::free(held, 0, None),
        ],
        plain: &[],
    },
    Story {
        name: "set and clear a flag",
        before: one_segment,
        steps: &[
            |held| slot_life::update(held, 0, |image| image.flags |= FLAG_RIGHTS),
            |held| slot_life::update(held, 0, |image| image.flags &= !FLAG_RIGHTS),
        ],
        plain: &[],
    },
    Story {
        name: "make the index larger",
        before: three_segments,
        steps: &[|held| key_index::resize(held, 8)],
        plain: &[],
    },
    Story {
        name: "set owner and mode",
        before: one_segment,
        steps: &[|held| {
            slot_life::update(held, 0, |image| {
                (image.uid, image.gid, image.mode, image.ctime) = (8, 9, 0o644, 901);
            });
        }],
        plain: &[],
    },
    Story {
        name: "lock in memory",
        before: one_segment,
        steps: &[|held| {
            slot_life::update(held, 0, |image| {
                (image.mode, image.locker) = (0o2600, 8);
            });
        }],
        plain: &[],
    },
    Story {
        name: "stamp",
        before: one_segment,
        steps: &[|held| {
            slot_life::update(held, 0, |image| {
                (image.atime, image.dtime, image.lpid) = (801, 802, 72);
            });
        }],
        plain: &[],
    },
    Story {
        name: "announce the end",
        before: attached_by_two,
        steps: &[|held| attach_record::announce_end(held, 0, 0, 73, 803)],
        plain: &[],
    },
];
