//! What the rules and the table say to each other: the values of `sysv` in the table's words and back.

use crate::storage::ipc::{FirstLimits, Words};
use crate::storage::table::SlotImage;
use crate::storage::table::slot_life::Cursor;
use crate::storage::{LimitWords, Rules};
use crate::sysv::msg::MsgLimits;
use crate::sysv::sem::SemLimits;
use crate::sysv::{self, IdCursor, IpcPerm, Key, Kind, Limits, SLOTS, Segment, ShmId};

#[cfg(not(shmshim_model))]
const _: () = assert!(SLOTS == crate::storage::table::layout::SLOTS);

/// What storage must know of the rules.
pub fn for_storage() -> Rules {
    Rules {
        limits: words_of(&Limits::KERNEL_DEFAULTS),
        ipc_limits: first_limits(),
        fresh_cursor: |seed| cursor_words(IdCursor::fresh(seed)),
        is_destroyed: sysv::must_destroy,
        may_unlink: sysv::may_unlink,
    }
}

/// Limits as the table stores them.
pub fn words_of(limits: &Limits) -> LimitWords {
    LimitWords {
        shmmax: limits.shmmax,
        shmall: limits.shmall,
        shmmni: limits.shmmni,
        rmid_forced: u32::from(limits.shm_rmid_forced),
    }
}

/// Limits as the rules see them.
pub fn limits_of(words: &LimitWords) -> Limits {
    Limits {
        shmmax: words.shmmax,
        shmall: words.shmall,
        shmmni: words.shmmni,
        shm_rmid_forced: words.rmid_forced != 0,
    }
}

/// What a new file of sets and queues begins with.
pub fn first_limits() -> FirstLimits {
    FirstLimits {
        sem: sem_words(&SemLimits::KERNEL_DEFAULTS),
        msg: msg_words(&MsgLimits::KERNEL_DEFAULTS),
    }
}

/// Those of sets as the file `ipc` has them.
pub fn sem_words(limits: &SemLimits) -> [u32; 4] {
    [limits.semmsl, limits.semmns, limits.semopm, limits.semmni].map(|limit| limit as u32)
}

/// Those of queues.
pub fn msg_words(limits: &MsgLimits) -> [u32; 3] {
    [limits.msgmax, limits.msgmnb, limits.msgmni]
}

/// Those of sets as the rules see them.
pub fn sem_limits_of(words: [u32; 4]) -> SemLimits {
    let [semmsl, semmns, semopm, semmni] = words.map(|limit| limit as i32);
    SemLimits {
        semmsl,
        semmns,
        semopm,
        semmni,
    }
}

/// Those of queues.
pub fn msg_limits_of(words: [u32; 3]) -> MsgLimits {
    let [msgmax, msgmnb, msgmni] = words;
    MsgLimits {
        msgmax,
        msgmnb,
        msgmni,
    }
}

/// A slot as the rules see it.
pub fn segment(image: &SlotImage) -> Segment {
    Segment {
        id: ShmId::from_raw(image.id).unwrap_or(ShmId::new(image.slot, 0)),
        key: Key(image.key),
        uid: image.uid,
        gid: image.gid,
        cuid: image.cuid,
        cgid: image.cgid,
        mode: image.mode,
        segsz: image.segsz,
        atime: image.atime,
        dtime: image.dtime,
        ctime: image.ctime,
        cpid: image.cpid,
        lpid: image.lpid,
        nattch: u64::from(image.nattch),
    }
}

/// The cursor of ids as the rules see it.
pub fn cursor_of(words: Cursor) -> IdCursor {
    IdCursor {
        next: words.next,
        last: words.last,
        seq: words.seq,
    }
}

/// The cursor of ids as the table stores it.
pub fn cursor_words(cursor: IdCursor) -> Cursor {
    Cursor {
        next: cursor.next,
        last: cursor.last,
        seq: cursor.seq,
    }
}

/// Owner, creator and mode as the rules see them.
#[inline(always)]
pub fn perm_of(kind: Kind, words: Words) -> IpcPerm {
    IpcPerm {
        kind,
        id: ShmId::new(words.id as u32, words.id as u32 / SLOTS),
        uid: words.uid,
        gid: words.gid,
        cuid: words.cuid,
        cgid: words.cgid,
        mode: words.mode,
    }
}
