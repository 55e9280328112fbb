//! Serves System V shared memory, semaphores and message queues to programs that no library can be preloaded into: statically
//! linked ones, and those that make system calls by themselves.
//!
//! A seccomp filter brings their calls to a supervisor. For each process that makes one there is an agent, a process that is
//! to the registry what a preloaded program is. What it maps is mapped into its client, and so is the page by which others see
//! that the client lives.
//!
//! | | |
//! |---|---|
//! | [`command`] | starts all of it, and ends as the program ends |
//! | `filter` | which system calls are brought |
//! | `supervisor`, `client` | what comes from clients and agents, in the order in which it comes |
//! | `thread` | system calls in a client's thread |
//! | `agent`, `border`, `identity` | a call is served |
//! | `sleeper` | a call sleeps |
//! | `link`, `message`, `report`, `proc`, `sys` | what they say to each other, and ask of the kernel |
//!
//! x86-64 only: elsewhere the command says so.
#![deny(unsafe_code)]
#![cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]

// The C structures and the lines of the trace are the preloaded library's.
#[allow(unsafe_code, dead_code, unused_imports)]
#[path = "../../shim/src/abi/mod.rs"]
mod abi;
mod agent;
mod border;
mod client;
pub mod command;
#[allow(unsafe_code, dead_code)]
#[path = "../../shim/src/destination.rs"]
mod destination;
mod filter;
mod identity;
mod link;
mod message;
mod proc;
mod report;
#[allow(unsafe_code)]
mod settings;
mod sleeper;
mod supervisor;
#[allow(unsafe_code)]
mod sys;
mod thread;
#[allow(unsafe_code, dead_code)]
#[path = "../../shim/src/trace/mod.rs"]
mod trace;
