//! What the tests of the rules share: a caller made of plain facts, and a segment.

use core::cell::Cell;

use super::{Caller, Capability, Errno, Key, Ruling, Segment, ShmId};

/// A caller of whom everything is known, and who counts the questions.
#[derive(Clone, Debug, Default)]
pub struct Person {
    pub euid: u32,
    pub groups: &'static [u32],
    pub capabilities: &'static [Capability],
    /// How often euid, a group and a capability were asked for.
    pub asked: Cell<[u32; 3]>,
}

impl Person {
    pub fn with_euid(euid: u32) -> Person {
        Person {
            euid,
            ..Person::default()
        }
    }

    pub fn in_groups(self, groups: &'static [u32]) -> Person {
        Person { groups, ..self }
    }

    pub fn with(self, capabilities: &'static [Capability]) -> Person {
        Person {
            capabilities,
            ..self
        }
    }
}

impl Caller for Person {
    fn euid(&self) -> u32 {
        let [euid, group, capability] = self.asked.get();
        self.asked.set([euid + 1, group, capability]);
        self.euid
    }

    fn in_group(&self, gid: u32) -> bool {
        let [euid, group, capability] = self.asked.get();
        self.asked.set([euid, group + 1, capability]);
        self.groups.contains(&gid)
    }

    fn capable(&self, wanted: Capability) -> bool {
        let [euid, group, capability] = self.asked.get();
        self.asked.set([euid, group, capability + 1]);
        self.capabilities.contains(&wanted)
    }
}

pub const CREATOR: u32 = 54001;
pub const OWNER: u32 = 54002;
pub const STRANGER: u32 = 54003;

/// Every capability that a rule may ask for.
pub const ALL_CAPABILITIES: [Capability; 4] = [
    Capability::IpcOwner,
    Capability::SysAdmin,
    Capability::IpcLock,
    Capability::SysResource,
];

/// A segment of 4096 bytes that its creator gave away.
pub fn segment(mode: u32) -> Segment {
    Segment {
        id: ShmId::new(1, 1),
        key: Key(0x162e),
        uid: OWNER,
        gid: OWNER,
        cuid: CREATOR,
        cgid: CREATOR,
        mode,
        segsz: 4096,
        atime: 0,
        dtime: 0,
        ctime: 1_700_000_000,
        cpid: 4200,
        lpid: 0,
        nattch: 0,
    }
}

/// The errno of a ruling and its sentence, `None` when it was granted.
pub fn refused<T>(ruling: Ruling<T>) -> Option<(Errno, String)> {
    let refusal = ruling.err()?;
    Some((refusal.errno, refusal.reason.to_string()))
}

/// The errno of a ruling, `None` when it was granted.
pub fn errno<T>(ruling: Ruling<T>) -> Option<Errno> {
    ruling.err().map(|refusal| refusal.errno)
}
