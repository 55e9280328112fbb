//! All that may be seen of segment 0 while a story happens, and what a death in it must leave behind.

use crate::audit::audit;
use crate::scene::{self, primary, process};
use crate::storage::Namespace;
use crate::storage::process::reap;
use crate::storage::table::Held;
use crate::storage::table::key_index::{self, Known, Lookup, Owners};
use crate::storage::table::layout::{MODE_MARKED, SlotState, cell, header};
use crate::storage::table::rebuild;
use crate::storage::table::slot_life;
use crate::storage::table::{SlotImage, Table};
use crate::stories::{Story, key};

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
