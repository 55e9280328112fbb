//! A semaphore set as the rules see it: values, debts of processes, sleepers.

use crate::sysv::{Errno, IpcPerm, Key};

/// What a call of semop asks of one semaphore: `struct sembuf`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Operation {
    /// Which semaphore of the set.
    pub number: u16,
    /// What is added to its value; 0: wait until it is 0.
    pub change: i16,
    /// IPC_NOWAIT, SEM_UNDO; other bits mean nothing.
    pub flags: i16,
}

/// What is known of a set beside its semaphores: `struct semid_ds`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SetPerm {
    /// Owner, creator, mode and identifier.
    pub perm: IpcPerm,
    /// The key, 0 for a private one.
    pub key: Key,
    /// Seconds since 1970 of the last semop, 0 before the first.
    pub otime: i64,
    /// Seconds since 1970 of the creation or the last change by semctl.
    pub ctime: i64,
    /// How many semaphores the set has.
    pub count: u32,
}

/// What a process owes a semaphore: added to its value when the process ends (semadj). There is at most one for each process
/// and semaphore; one of 0 stays, because the process's end stamps the set all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Undo {
    /// The process. Storage's number, never 0.
    pub owner: u32,
    /// Its process id.
    pub pid: i32,
    /// Which semaphore.
    pub number: u16,
    /// What is added.
    pub adjust: i16,
}

/// A thread that is asleep in semop. Its operations stand beside it ([`SetState::operation`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sleeper {
    /// The process. Storage's number, never 0.
    pub owner: u32,
    /// Its process id.
    pub pid: i32,
    /// By which the thread is woken. Storage's number, another one for each sleep.
    pub place: u32,
    /// How many operations it asks for.
    pub operations: u16,
    /// The first of them that could not go on at the last try.
    pub blocked_at: u16,
    /// Whether it would change a value; if not, it waits for zeros only.
    pub alters: bool,
    /// Whether it was answered, and how. An answered one has nothing more to do with the set, and goes away by itself.
    pub answer: Answer,
}

/// What a sleeper was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Nothing yet: it sleeps.
    Waits,
    /// Its operations were carried out.
    Done,
    /// They ended in an error.
    Failed(Errno),
}

/// One set: a copy that belongs to the caller alone, and becomes the set when the call is done. The rules change it, and
/// where they refuse, what they have changed is thrown away or put back. Indices are below the counts that are told; others
/// are answered with nothing and change nothing.
///
/// Storage makes room beforehand for what one call can add: an [`Undo`] for each operation of the caller's, and one sleeper
/// with its operations and its undos.
pub trait SetState {
    /// Semaphores in the set.
    fn count(&self) -> u32;
    /// The value of one, 0..=32767.
    fn value(&self, number: u32) -> u16;
    /// The process id that changed it last or waited for its zero.
    fn pid(&self, number: u32) -> i32;
    /// Sets both.
    fn set(&mut self, number: u32, value: u16, pid: i32);
    /// Stamps of the set, seconds since 1970.
    fn set_otime(&mut self, secs: i64);
    /// As [`SetState::set_otime`].
    fn set_ctime(&mut self, secs: i64);

    /// How many undos there are, in no order.
    fn undos(&self) -> u32;
    /// One of them.
    fn undo(&self, index: u32) -> Undo;
    /// Changes one.
    fn set_undo(&mut self, index: u32, undo: Undo);
    /// Adds one.
    fn push_undo(&mut self, undo: Undo);
    /// Takes one away; the last one comes to its place.
    fn swap_remove_undo(&mut self, index: u32);

    /// How many sleepers there are, in the order of their arrival, answered ones included.
    fn sleepers(&self) -> u32;
    /// One of them.
    fn sleeper(&self, index: u32) -> Sleeper;
    /// Changes one.
    fn set_sleeper(&mut self, index: u32, sleeper: Sleeper);
    /// One of the operations of a sleeper.
    fn operation(&self, index: u32, nth: u32) -> Operation;
    /// Adds one at the end, with its operations.
    fn push_sleeper(&mut self, sleeper: Sleeper, operations: &[Operation]);
    /// Exchanges the places of two, with their operations.
    fn swap_sleepers(&mut self, one: u32, other: u32);
    /// Takes one away; those behind it move up.
    fn remove_sleeper(&mut self, index: u32);
}
