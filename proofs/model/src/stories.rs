//! What happens to segment 0 in the stories, one run of the journal after the other, and all that may be seen of it.

use crate::audit::audit;
use crate::scene::{self, colliding_keys, create, primary, process};
use crate::storage::Namespace;
use crate::storage::process::reap;
use crate::storage::table::Held;
use crate::storage::table::events::What;
use crate::storage::table::attach_record;
use crate::storage::table::key_index::{self, Known, Lookup, Owners};
use crate::storage::table::layout::{FLAG_RIGHTS, MODE_MARKED, SlotState, cell, header, slot};
use crate::storage::table::rebuild;
use crate::storage::table::slot_life::{self, Cursor, Last};
use crate::storage::table::{SlotImage, Table};

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

/// Everything that may be seen: what is there before the story, and behind each of its steps.
#[derive(Default, Clone)]
pub struct Seen {
    primaries: Vec<Vec<u64>>,
    images: Vec<SlotImage>,
    totals: Vec<(u32, u32, u64)>,
    attachers: Vec<Vec<u32>>,
    found: Vec<bool>,
    has_third: bool,
    plain: bool,
}

impl Seen {
    /// Lets the story happen undisturbed, and writes down what there is to see.
    pub fn of(story: &Story) -> Seen {
        let namespace = scene::empty();
        let held = namespace.lock(process(0)).unwrap();
        (story.before)(&held);
        let mut seen = Seen {
            plain: !story.plain.is_empty(),
            ..Seen::default()
        };
        seen.note(&held);
        for step in story.steps {
            step(&held);
            seen.note(&held);
        }
        // Whatever others do meanwhile is done once, so that all words are there: see `os/map.rs`.
        for look in Look::ALL {
            seen.check_as_reader(&namespace, look);
        }
        rebuild::recover(&held);
        seen.check_primary(&held);
        reap(&held, 0);
        check_reaped(&held);
        seen
    }

    /// Writes down what there is to see at this moment.
    pub fn note(&mut self, held: &Held<'_>) {
        audit(held);
        self.primaries.push(primary(held));
        self.images.push(held.table().image(0));
        self.totals.push(totals(held.table()));
        self.attachers.push(attachers(held.table()).unwrap());
        self.found
            .push(key_index::find_locked(held, key(0)).is_some());
        self.has_third = key_index::find_locked(held, key(2)).is_some();
    }

    /// Whether the table is in one of the states that may be.
    pub fn check_primary(&self, held: &Held<'_>) {
        let now = primary(held);
        assert!(
            self.primaries.contains(&now),
            "neither before nor after: {now:?}\nof {:?}",
            self.primaries
        );
    }

    /// What a reader without the lock sees must have been there at one moment.
    pub fn check_as_reader(&self, namespace: &Namespace, look: Look) {
        let table = namespace.table();
        match look {
            Look::Snapshot => {
                if let Some(image) = table.snapshot(0) {
                    self.check_image(&image);
                }
            }
            Look::Find => match key_index::find(table, key(0)) {
                Lookup::Found(known) => {
                    let mut there = self.images.iter().filter(|image| image.key == key(0));
                    assert!(
                        there.any(|image| image.is_live() && is_of(&known, image)),
                        "never there: {known:?}\nof {:?}",
                        self.images
                    );
                }
                Lookup::Absent => assert!(self.found.contains(&false), "it was never absent"),
                Lookup::Unsure => {}
            },
            Look::FindAnother => match key_index::find(table, key(2)) {
                Lookup::Found(known) => assert_eq!(known.id, 2),
                Lookup::Absent => assert!(!self.has_third, "the third one was always there"),
                Lookup::Unsure => {}
            },
            Look::Totals => {
                if let Some(totals) = table.consistently(|| totals(table)) {
                    assert!(self.totals.contains(&totals), "never there: {totals:?}");
                }
            }
            Look::Attachers => {
                if let Some(attachers) = attachers(table) {
                    assert!(
                        self.attachers.contains(&attachers),
                        "never there: {attachers:?}"
                    );
                }
            }
        }
    }

    /// The story's words that are `plain` are not among those that are compared.
    fn check_image(&self, image: &SlotImage) {
        let compared = |image: &SlotImage| match self.plain {
            false => *image,
            true => SlotImage {
                slot: image.slot,
                state: image.state,
                id: image.id,
                mode: image.mode,
                segsz: image.segsz,
                ..SlotImage::default()
            },
        };
        let seen = compared(image);
        assert!(
            self.images.iter().any(|image| compared(image) == seen),
            "never there: {image:?}\nof {:?}",
            self.images
        );
    }
}

/// What a reader without the lock looks at.
#[derive(Clone, Copy, Debug)]
pub enum Look {
    /// Segment 0.
    Snapshot,
    /// Key 0.
    Find,
    /// A key that stands, or stood, behind key 0.
    FindAnother,
    /// Numbers of segments and pages.
    Totals,
    /// Who has segment 0 attached.
    Attachers,
}

impl Look {
    /// All there are.
    pub const ALL: [Look; 5] = [
        Look::Snapshot,
        Look::Find,
        Look::FindAnother,
        Look::Totals,
        Look::Attachers,
    ];
}

fn is_of(known: &Known, image: &SlotImage) -> bool {
    let of_image = Known {
        id: image.id,
        segsz: image.segsz,
        owners: Some(Owners {
            uid: image.uid,
            cuid: image.cuid,
            mode: image.mode,
        }),
    };
    *known == of_image
}

/// Segments, those that are marked, pages.
fn totals(table: &Table) -> (u32, u32, u64) {
    (
        table.get32(header!(in_use)),
        table.get32(header!(marked)),
        table.get64(header!(pages)),
    )
}

/// Who has segment 0 attached.
fn attachers(table: &Table) -> Option<Vec<u32>> {
    let mut cells = [0; 8];
    let found = table.attachers(0, 0, &mut cells)?;
    let mut cells = cells[..found].to_vec();
    cells.sort_unstable();
    Some(cells)
}

/// What the death of process 0 must leave behind once somebody has reaped it: nothing of it.
pub fn check_reaped(held: &Held<'_>) {
    audit(held);
    let table = held.table();
    assert_eq!(
        table.get32(cell!(0, state)),
        0,
        "the dead one's cell is in use"
    );
    assert_eq!(
        table.get32(cell!(0, work)),
        0,
        "the dead one is still at work"
    );
    assert_eq!(
        table.get32(cell!(0, first_record)),
        0,
        "the dead one has something attached"
    );
    let image = table.image(0);
    let gone = image.mode & MODE_MARKED != 0 && image.nattch == 0 && image.is_live();
    assert!(!gone, "a removed segment has outlived its last user");

    // Whatever was being made or unlinked is found by the next process that sweeps, and no slot is lost.
    slot_life::list_stuck_again(held, |_| true);
    while let Some(image) = slot_life::claim_dying(held, |_| true) {
        slot_life::free(held, image.slot, None);
    }
    audit(held);
    for slot in 0..scene::SLOTS {
        let state = table.image(slot).state;
        assert!(
            state == SlotState::Free as u32 || state == SlotState::Live as u32,
            "nobody unlinks the file of slot {slot}"
        );
    }
}
