//! The rules of System V IPC, and nothing else.
//!
//! Everything here decides from values and returns values: a segment as a snapshot, a semaphore
//! set or a message queue as a copy that belongs to the caller, a caller as a trait that is asked
//! only what the rule needs, a limit as a number. There is
//! no I/O, no clock, no allocation and no `unsafe` in this room, so each rule can be read
//! beside the manual's sentence and tested by itself. `registry`, which holds the table's
//! lock and the mappings, asks here, and then does what was decided.
//!
//! [`ipc`]: what the objects of System V IPC have in common.
//!
//! | file | decides |
//! |---|---|
//! | [`key`](Key), [`id`](ShmId), [`kind`](Kind) | names |
//! | [`id_cursor`](IdCursor) | which id is next |
//! | [`lookup`](unknown_id) | what is said of an id that names nothing |
//! | [`permission`](may_access) | the permission rule, who may remove, set, lock, unlink files, set limits |
//! | [`limit_text`](ipc::Number) | what number a write to a limit's file is |
//! | [`refusal`](Refusal) | what a refusal is; its sentence stands at the rule |
//!
//! [`shm`]: segments.
//!
//! | file | decides |
//! |---|---|
//! | [`shmget`](open_existing) | which segment a key opens, what may be created |
//! | [`huge_pages`](check_hugetlb) | which huge pages it gets |
//! | [`shmat`](parse_shmat) | address and flags, right to attach |
//! | [`shmdt`](Detach) | what of the attaches goes |
//! | [`pieces`](Piece) | what of an attach an unmapped range leaves |
//! | [`mremap`](Mremap) | what mremap makes of them |
//! | [`shmctl`](Command) | commands, who may stat, set, remove, lock |
//! | [`destroy`](must_destroy) | when a segment is destroyed |
//! | [`limits`](Limits) | shmmax, shmall, shmmni, shm_rmid_forced and their files |
//! | [`segment`](Segment) | what is known of a segment |
//! | [`procfs`](write_shm_line) | the text of `/proc/sysvipc/shm` |
//!
//! [`sem`]: semaphore sets.
//!
//! | file | decides |
//! |---|---|
//! | [`state`](sem::SetState) | how a set is seen and changed |
//! | [`semget`](sem::open_set) | which set a key opens, what may be created |
//! | [`semop`](sem::operate) | which calls are refused, what follows where operations go on, and who sleeps |
//! | [`attempt`](sem::Attempt) | what the operations of a call come to |
//! | [`wake`](sem::serve_all) | whom a change serves |
//! | [`undo`](sem::end_process) | what the end of a process pays |
//! | [`semctl`](sem::SemCommand) | commands, who may ask, alter, set, remove, and what SETVAL and SETALL do |
//! | [`limits`](sem::SemLimits) | semmsl, semmns, semopm, semmni and their file |
//! | [`procfs`](sem::write_sem_line) | the text of `/proc/sysvipc/sem` |
//!
//! [`msg`]: message queues.
//!
//! | file | decides |
//! |---|---|
//! | [`state`](msg::QueueState) | how a queue is seen and changed |
//! | [`msgget`](msg::open_queue) | which queue a key opens, what may be created |
//! | [`msgsnd`](msg::send) | what may be sent, and who gets it |
//! | [`msgrcv`](msg::receive) | which message a receiver gets |
//! | [`wake`](msg::wake_senders) | who of the sleepers is told to try again |
//! | [`msgctl`](msg::MsgCommand) | commands, who may stat, set, remove, and what IPC_SET does |
//! | [`limits`](msg::MsgLimits) | msgmax, msgmnb, msgmni and their files |
//! | [`procfs`](msg::write_msg_line) | the text of `/proc/sysvipc/msg` |
//!
//! A refusal is `Err(Refusal { errno, reason })`. Above every one stands the sentence of
//! the manual that it implements; where the manual is silent or wrong about Linux, the
//! comment says in its own words what Linux does. The functions of one call are to be
//! asked in the order in which they stand in their file: that order decides which errno
//! wins when several would apply.
//!
//! What comes in may be another process's claim. Nothing here can overflow, index out
//! of bounds or panic because of it.

pub mod ipc;
pub mod msg;
pub mod page;
pub mod sem;
pub mod shm;

#[cfg(test)]
mod for_tests;

pub(crate) use ipc::refusal;
pub use ipc::*;
pub use page::{page_align, page_size, pages_of, set_page_size};
pub use shm::*;
// Both have their constants; those of shared memory have the common ones, too.
pub use shm::flags;
