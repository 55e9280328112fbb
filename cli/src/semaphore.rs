//! One semaphore of a set, of a namespace or of the kernel.

use serde::Serialize;

/// A semaphore.
#[derive(Debug, Clone, Serialize)]
pub struct Semaphore {
    /// Its number in the set.
    pub number: u32,
    /// Its value, without what dead processes owe it.
    pub value: i32,
    /// The process that changed it last.
    pub last_pid: Option<i32>,
    /// How many sleep until it grows.
    pub waiting_for_growth: u32,
    /// How many sleep until it is 0.
    pub waiting_for_zero: u32,
    /// What is added to it when those end that owe it something.
    pub owed: Option<i64>,
}
