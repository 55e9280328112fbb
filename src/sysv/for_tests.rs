//! What the tests of the rules share: a caller made of plain facts, a segment, a semaphore set.

use core::cell::Cell;

use super::sem::{
    Answer, Attempt, Operation, Process, SetPerm, SetState, Sleeper, Undo, operate, sleep,
};
use super::{Caller, Capability, Errno, IpcPerm, Key, Kind, Ruling, Segment, ShmId};

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

/// A semaphore set in memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TestSet {
    pub values: Vec<(u16, i32)>,
    pub otime: i64,
    pub ctime: i64,
    pub undos: Vec<Undo>,
    pub sleepers: Vec<(Sleeper, Vec<Operation>)>,
    /// By place: which sleepers were answered, in that order, and how.
    pub answered: Vec<(u32, Answer)>,
}

impl TestSet {
    pub fn new(values: &[u16]) -> TestSet {
        TestSet {
            values: values.iter().map(|value| (*value, 0)).collect(),
            ..TestSet::default()
        }
    }

    pub fn numbers(&self) -> Vec<u16> {
        self.values.iter().map(|(value, _)| *value).collect()
    }

    /// A call of semop by the process `by`, which sleeps if it must.
    pub fn semop(&mut self, by: u32, ops: &[Operation]) -> Result<Attempt, Errno> {
        let process = process(by);
        let before = self.clone();
        let attempt = operate(self, ops, process, NOW).map_err(|refusal| refusal.errno);
        if attempt != Ok(Attempt::Done) {
            assert_eq!(*self, before, "{ops:?} failed and left a trace");
        }
        match attempt? {
            Attempt::Done => {}
            Attempt::Blocked { no_wait: true, .. } => return Err(Errno::Eagain),
            Attempt::Blocked { at, .. } => sleep(self, ops, at, sleeper(by)),
        }
        attempt
    }

    /// Who was answered since the last call of this, in that order: place, and errno if it is one.
    pub fn answers(&mut self) -> Vec<(u32, Option<Errno>)> {
        let answers = core::mem::take(&mut self.answered);
        let places = self
            .sleepers
            .iter()
            .filter(|(sleeper, _)| sleeper.answer != Answer::Waits);
        let gone: Vec<u32> = places.map(|(sleeper, _)| sleeper.place).collect();
        self.sleepers
            .retain(|(sleeper, _)| !gone.contains(&sleeper.place));
        answers
            .into_iter()
            .map(|(place, answer)| match answer {
                Answer::Failed(errno) => (place, Some(errno)),
                _ => (place, None),
            })
            .collect()
    }

    /// Who slept and was served since the last call of this, in that order.
    pub fn served(&mut self) -> Vec<u32> {
        let answers = self.answers();
        assert!(
            answers.iter().all(|(_, errno)| errno.is_none()),
            "{answers:?}"
        );
        answers.into_iter().map(|(place, _)| place).collect()
    }
}

impl SetState for TestSet {
    fn count(&self) -> u32 {
        self.values.len() as u32
    }
    fn value(&self, number: u32) -> u16 {
        self.values[number as usize].0
    }
    fn pid(&self, number: u32) -> i32 {
        self.values[number as usize].1
    }
    fn set(&mut self, number: u32, value: u16, pid: i32) {
        assert!(value <= 32767, "semaphore {number} would be {value}");
        self.values[number as usize] = (value, pid);
    }
    fn set_otime(&mut self, secs: i64) {
        self.otime = secs;
    }
    fn set_ctime(&mut self, secs: i64) {
        self.ctime = secs;
    }
    fn undos(&self) -> u32 {
        self.undos.len() as u32
    }
    fn undo(&self, index: u32) -> Undo {
        self.undos[index as usize]
    }
    fn set_undo(&mut self, index: u32, undo: Undo) {
        self.undos[index as usize] = undo;
    }
    fn push_undo(&mut self, undo: Undo) {
        let twice = |other: &Undo| (other.owner, other.number) == (undo.owner, undo.number);
        assert!(!self.undos.iter().any(twice), "{undo:?} is there already");
        self.undos.push(undo);
    }
    fn swap_remove_undo(&mut self, index: u32) {
        self.undos.swap_remove(index as usize);
    }
    fn sleepers(&self) -> u32 {
        self.sleepers.len() as u32
    }
    fn sleeper(&self, index: u32) -> Sleeper {
        self.sleepers[index as usize].0
    }
    fn set_sleeper(&mut self, index: u32, sleeper: Sleeper) {
        let before = core::mem::replace(&mut self.sleepers[index as usize].0, sleeper);
        if before.answer != sleeper.answer {
            assert_eq!(before.answer, Answer::Waits, "{before:?} is answered twice");
            self.answered.push((sleeper.place, sleeper.answer));
        }
    }
    fn operation(&self, index: u32, nth: u32) -> Operation {
        self.sleepers[index as usize].1[nth as usize]
    }
    fn push_sleeper(&mut self, sleeper: Sleeper, operations: &[Operation]) {
        assert_eq!(usize::from(sleeper.operations), operations.len());
        self.sleepers.push((sleeper, operations.to_vec()));
    }
    fn swap_sleepers(&mut self, one: u32, other: u32) {
        self.sleepers.swap(one as usize, other as usize);
    }
    fn remove_sleeper(&mut self, index: u32) {
        self.sleepers.remove(index as usize);
    }
}

/// The time of calls.
pub const NOW: i64 = 1_800_000_000;

/// A process with this number, by which storage and the system know it.
pub fn process(number: u32) -> Process {
    Process {
        owner: number,
        pid: number as i32,
    }
}

/// Its only thread, on its way to sleep.
pub fn sleeper(number: u32) -> Sleeper {
    Sleeper {
        owner: number,
        pid: number as i32,
        place: number,
        operations: 0,
        blocked_at: 0,
        alters: false,
        answer: Answer::Waits,
    }
}

/// An operation without flags.
pub fn op(number: u16, change: i16) -> Operation {
    flagged(number, change, 0)
}

/// An operation.
pub fn flagged(number: u16, change: i16, flags: i32) -> Operation {
    Operation {
        number,
        change,
        flags: flags as i16,
    }
}

/// A set of `count` semaphores that its creator gave away.
pub fn set_perm(mode: u32, count: u32) -> SetPerm {
    SetPerm {
        perm: IpcPerm {
            kind: Kind::Set,
            ..segment(mode).perm()
        },
        key: Key(0x162e),
        otime: 0,
        ctime: 1_700_000_000,
        count,
    }
}
