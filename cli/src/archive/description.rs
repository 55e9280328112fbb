//! What the table says of a namespace, as JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shmshim_core::registry::saved::Saved;
use shmshim_core::sysv::flags::{MODE_BITS, SHM_LOCKED};
use shmshim_core::sysv::{IdCursor, Key, Limits, SLOTS, Segment, ShmId};

use super::{LONGEST_DESCRIPTION, Objects};

/// Says that this is a saved namespace.
const FORMAT: &str = "shmshim namespace";
/// The version of the archive.
const VERSION: u32 = 3;

/// What every version says.
#[derive(Debug, Deserialize)]
struct Heading {
    format: String,
    version: u32,
}

/// A namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Description {
    format: String,
    version: u32,
    /// When it was saved, in seconds since 1970.
    pub saved: u64,
    limits: LimitNumbers,
    next_id: NextId,
    /// Its segments.
    pub segments: Vec<Described>,
    /// What holds for its semaphore sets and message queues, if it has had any.
    pub objects: Option<Objects>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LimitNumbers {
    shmmax: u64,
    shmall: u64,
    shmmni: u32,
    shm_rmid_forced: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct NextId {
    next: u32,
    last: i32,
    sequence: u32,
}

/// A segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Described {
    /// Its id.
    pub id: i32,
    /// Its key.
    pub key: i32,
    /// Its size in bytes.
    pub size: u64,
    mode: u32,
    /// Its owner.
    pub uid: u32,
    gid: u32,
    /// Its creator.
    pub cuid: u32,
    cgid: u32,
    atime: i64,
    dtime: i64,
    ctime: i64,
    cpid: i32,
    lpid: i32,
    locker: u32,
    unreserved: bool,
    /// The size of its huge pages, if it had such.
    pub huge_page_bytes: Option<u64>,
}

impl Description {
    /// Describes a namespace.
    pub fn new(limits: &Limits, cursor: &IdCursor, segments: &[Saved], saved: u64) -> Description {
        Description {
            format: FORMAT.to_owned(),
            version: VERSION,
            saved,
            limits: LimitNumbers {
                shmmax: limits.shmmax,
                shmall: limits.shmall,
                shmmni: limits.shmmni,
                shm_rmid_forced: limits.shm_rmid_forced,
            },
            next_id: NextId {
                next: cursor.next,
                last: cursor.last,
                sequence: cursor.seq,
            },
            segments: segments.iter().map(Described::new).collect(),
            objects: None,
        }
    }

    /// What a text describes, or what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Description, String> {
        if text.len() as u64 > LONGEST_DESCRIPTION {
            return Err("its description is too long to be true".to_owned());
        }
        let not_understood =
            |error: serde_json::Error| format!("its description cannot be understood ({error})");
        let heading: Heading = serde_json::from_slice(text).map_err(not_understood)?;
        if heading.format != FORMAT {
            return Err("it is not a saved namespace".to_owned());
        }
        if heading.version != VERSION {
            return Err(format!(
                "it has version {}, and this shmshim reads version {VERSION} alone",
                heading.version
            ));
        }
        let described: Description = serde_json::from_slice(text).map_err(not_understood)?;
        described.check()?;
        Ok(described)
    }

    /// That it describes something that can be.
    fn check(&self) -> Result<(), String> {
        let (mut slots, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for segment in &self.segments {
            let id = segment.id;
            let slot = ShmId::from_raw(id).map(ShmId::slot);
            let is_possible = slot.is_ok_and(|slot| slots.insert(slot))
                && (segment.key == 0 || keys.insert(segment.key))
                && segment.size > 0
                && i64::try_from(segment.size).is_ok()
                && segment.mode & !(MODE_BITS | SHM_LOCKED) == 0;
            if !is_possible {
                return Err(format!("it describes a segment {id} that cannot be"));
            }
        }
        if let Some(objects) = &self.objects {
            objects.check()?;
        }
        let next = &self.next_id;
        if next.next > SLOTS || next.last < -1 || i64::from(next.last) >= i64::from(SLOTS) {
            return Err("it describes a next id that cannot be".to_owned());
        }
        Ok(())
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        Limits {
            shmmax: self.limits.shmmax,
            shmall: self.limits.shmall,
            shmmni: self.limits.shmmni,
            shm_rmid_forced: self.limits.shm_rmid_forced,
        }
    }

    /// Where ids go on.
    pub fn cursor(&self) -> IdCursor {
        IdCursor {
            next: self.next_id.next,
            last: self.next_id.last,
            seq: self.next_id.sequence,
        }
    }
}

impl Described {
    fn new(saved: &Saved) -> Described {
        let stat = &saved.stat;
        Described {
            id: stat.id.raw(),
            key: stat.key.0,
            size: stat.segsz,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            cuid: stat.cuid,
            cgid: stat.cgid,
            atime: stat.atime,
            dtime: stat.dtime,
            ctime: stat.ctime,
            cpid: stat.cpid,
            lpid: stat.lpid,
            locker: saved.locker,
            unreserved: saved.is_unreserved,
            huge_page_bytes: saved.huge_page_bytes,
        }
    }

    /// Makes it a segment of one user and group alone.
    pub fn give_to(&mut self, uid: u32, gid: u32) {
        (self.uid, self.cuid, self.gid, self.cgid) = (uid, uid, gid, gid);
    }

    /// The segment, of ordinary pages.
    pub fn segment(&self) -> Option<Saved> {
        Some(Saved {
            stat: Segment {
                id: ShmId::from_raw(self.id).ok()?,
                key: Key(self.key),
                uid: self.uid,
                gid: self.gid,
                cuid: self.cuid,
                cgid: self.cgid,
                mode: self.mode,
                segsz: self.size,
                atime: self.atime,
                dtime: self.dtime,
                ctime: self.ctime,
                cpid: self.cpid,
                lpid: self.lpid,
                nattch: 0,
            },
            locker: self.locker,
            is_unreserved: self.unreserved,
            huge_page_bytes: None,
        })
    }
}
