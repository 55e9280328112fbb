//! Where every byte of the file `ipc` lies: semaphore sets and message queues.
//!
//! ```text
//!   0        header: identity, limits, roots of the two directories, free blocks
//!   64 KiB   roots of the sets: one word each
//!   320 KiB  roots of the queues
//!   576 KiB  owners: one per process that sleeps or owes
//!   2.6 MiB  places: one per sleeping thread
//!   3.1 MiB  slabs: one per piece of the arena, which says how it was cut
//!   3.6 MiB  the arena: blocks, in extents of 4 MiB
//! ```
//!
//! Fixed-width integers only, the same for programs of 32 and 64 bits. The file is sparse; what is behind a `*_ready` mark, or
//! was never handed out as a block, is not touched.

use crate::os::atomic::real_or_model;
use core::mem::offset_of;

/// Identifies the file as ours.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SHMSIPC\n");
/// The version of this layout. Change anything here or in the blocks' files, and it changes.
pub const VERSION: u32 = 2;

/// Objects of a kind that can exist at once.
pub const OBJECTS: u32 = 32768;
/// Processes that can be entered at once.
pub const OWNERS: u32 = 16384;
/// Threads that can sleep at once.
pub const PLACES: u32 = 16384;
/// Bytes of an owner.
pub const OWNER_BYTES: u32 = 128;
/// Bytes of a place.
pub const PLACE_BYTES: u32 = 32;

/// The smallest block: blocks are counted in units of it.
pub const UNIT: u32 = 64;
/// Sizes of blocks: `UNIT << class`.
pub const CLASSES: u32 = 17;
/// Small blocks are cut from pieces of this many bytes; the first piece is none, so that 0 is no block.
pub const SLAB: u32 = real_or_model(16 * 1024, 512);
/// The arena is mapped in pieces of this size, and no block lies in two.
pub const EXTENT: u32 = UNIT << (CLASSES - 1);
/// Pieces that there can be.
pub const EXTENTS: u32 = 256;
/// Bytes that all blocks together can have.
pub const MOST_BYTES: u64 = EXTENT as u64 * EXTENTS as u64;

/// The first bytes of the file.
#[repr(C, align(8))] // As long where a word has 32 bits.
pub struct Header {
    /// [`MAGIC`], written last when the file is made.
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// A hash of all sizes and offsets.
    pub signature: u32,
    _pad0: [u32; 12],

    /// Bytes of the arena that were handed out to be cut into blocks.
    pub arena_end: u64,
    /// Entries of the parts that are backed by pages.
    pub ready: [u32; PARTS],
    _pad1: [u32; 9],

    /// The first free block of each size: unit, and a tag that changes each time.
    pub free: [u64; CLASSES as usize],
    _pad2: [u64; 7],

    /// The root of each kind's directory.
    pub directory: [u64; 2],
    _pad3: [u64; 6],

    /// semmsl, semmns, semopm, semmni.
    pub sem_limits: [u32; 4],
    /// msgmax, msgmnb, msgmni.
    pub msg_limits: [u32; 3],
    /// Where a search for a free place begins; a hint.
    pub place_hand: u32,
    _pad4: u32,
}

/// Parts that grow.
pub const PARTS: usize = 5;

/// One of them.
#[derive(Clone, Copy)]
pub struct Part {
    /// Which.
    pub number: usize,
    /// Where it begins.
    pub area: u32,
    /// Bytes of an entry.
    pub entry_bytes: u32,
    /// Entries that are backed at first.
    pub at_first: u32,
    /// Entries that there can be.
    pub most: u32,
}

/// Where the parts begin.
pub const PARTS_AREA: u32 = 64 * 1024;
/// Roots of the sets.
pub const SET_ROOTS: Part = Part {
    number: 0,
    area: PARTS_AREA,
    entry_bytes: 8,
    at_first: real_or_model(512, 2),
    most: OBJECTS,
};
/// Roots of the queues.
pub const QUEUE_ROOTS: Part = Part {
    number: 1,
    area: SET_ROOTS.area + OBJECTS * 8,
    entry_bytes: 8,
    at_first: real_or_model(512, 2),
    most: OBJECTS,
};
/// Owners.
pub const OWNER_PART: Part = Part {
    number: 2,
    area: QUEUE_ROOTS.area + OBJECTS * 8,
    entry_bytes: OWNER_BYTES,
    at_first: real_or_model(32, 3),
    most: OWNERS,
};
/// Places.
pub const PLACE_PART: Part = Part {
    number: 3,
    area: OWNER_PART.area + OWNERS * OWNER_BYTES,
    entry_bytes: PLACE_BYTES,
    at_first: real_or_model(128, 3),
    most: PLACES,
};
/// Slabs.
pub const SLAB_PART: Part = Part {
    number: 4,
    area: PLACE_PART.area + PLACES * PLACE_BYTES,
    entry_bytes: 8,
    at_first: 512,
    most: EXTENT / SLAB * EXTENTS,
};
/// All of them.
pub const ALL_PARTS: [Part; PARTS] = [SET_ROOTS, QUEUE_ROOTS, OWNER_PART, PLACE_PART, SLAB_PART];

/// Where the arena begins.
pub const ARENA: u32 = SLAB_PART.area + SLAB_PART.most * SLAB_PART.entry_bytes;

/// A hash of what two programs must agree on.
pub const SIGNATURE: u32 = {
    let facts = [
        VERSION,
        ARENA,
        EXTENT,
        EXTENTS,
        size_of::<Header>() as u32,
        offset_of!(Header, free) as u32,
        offset_of!(Header, directory) as u32,
        offset_of!(Header, sem_limits) as u32,
        OWNER_BYTES,
        PLACE_BYTES,
        u32::from_ne_bytes([1, 2, 3, 4]),
    ];
    let mut hash: u32 = 0x811c_9dc5;
    let mut rest: &[u32] = &facts;
    while let [fact, behind @ ..] = rest {
        hash = (hash ^ *fact).wrapping_mul(0x0100_0193);
        rest = behind;
    }
    hash
};

const _: () = {
    assert!(ARENA % (64 * 1024) == 0);
    assert!(size_of::<Header>() <= 4096);
    assert!(offset_of!(Header, arena_end) == 64);
    assert!(offset_of!(Header, free) == 128);
    assert!(offset_of!(Header, directory) == 320);
};
