//! What the supervisor knows of a client: a process that has made one of the calls, and its agent.

use crate::agent;
use crate::message::Socket;
use crate::sys::{self, Notification};
use crate::thread::Thread;
use nix::unistd::{ForkResult, Pid};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;

/// What a client's agent is busy with. Others of the client's calls wait.
#[allow(clippy::large_enum_variant, reason = "one per client")]
pub enum Work {
    /// A call of this thread.
    Call(Thread),
    /// A fork.
    Fork(Fork),
    /// It begins to serve this thread, which has just been made.
    Birth(Thread),
}

impl Work {
    /// The thread that system calls are made in for the agent.
    pub fn thread(&mut self) -> &mut Thread {
        match self {
            Work::Call(thread) | Work::Birth(thread) => thread,
            Work::Fork(fork) => &mut fork.thread,
        }
    }
}

/// A fork on its way.
pub struct Fork {
    /// The thread that forks.
    pub thread: Thread,
    /// The connection to the child's agent.
    pub link: Socket,
    /// The child, once it is there.
    pub child: Option<Thread>,
    /// What the call has returned; `None`: it was not made.
    pub answer: Option<i64>,
    /// The page in the child by which its cell is known to be a living process's.
    pub page: Option<u64>,
}

/// A client.
pub struct Client {
    /// Its process id.
    pub pid: Pid,
    /// Readable when it has ended.
    pub pidfd: OwnedFd,
    /// The connection to its agent. `None`: the agent has been killed.
    pub agent: Option<Socket>,
    /// What the agent is busy with.
    pub work: Option<Work>,
    /// Calls that wait for that.
    pub waiting: VecDeque<Notification>,
    /// It has a cell.
    pub counted: bool,
    /// It has something attached.
    pub attached: bool,
    /// Threads of it that have begun to execute another program: one of them may have got there.
    pub leaving: Vec<Pid>,
    /// Its credentials may change.
    pub changes_ids: bool,
    /// It has ended.
    pub is_dead: bool,
    /// The page in its memory that keeps its cell.
    pub page: Option<u64>,
}

impl Client {
    /// A client and its agent's connection.
    pub fn new(pid: Pid, agent: Socket) -> nix::Result<Client> {
        Ok(Client {
            pid,
            pidfd: sys::pidfd(pid)?,
            agent: Some(agent),
            work: None,
            waiting: VecDeque::new(),
            counted: false,
            attached: false,
            leaving: Vec::new(),
            changes_ids: false,
            is_dead: false,
            page: None,
        })
    }

    /// Whether it may run another program by now, when one of its threads makes a call. A thread that was about to execute one
    /// and calls again has done so, or has failed to.
    pub fn may_have_left(&mut self, tid: Pid) -> bool {
        let is_possible = !self.leaving.is_empty();
        self.leaving.retain(|&leaving| leaving != tid);
        is_possible
    }

    /// What it had is gone: it runs another program, or its agent was killed.
    pub fn forget(&mut self) {
        self.counted = false;
        self.attached = false;
        self.leaving.clear();
    }
}

/// Starts an agent for a process.
pub fn start_agent(pid: Pid) -> nix::Result<Socket> {
    let (ours, theirs) = Socket::pair()?;
    match sys::fork()? {
        ForkResult::Parent { .. } => Ok(ours),
        ForkResult::Child => {
            // Of all that the supervisor has open the agent keeps standard error and its connection.
            let Ok(link) = theirs.alone() else {
                sys::leave(1)
            };
            agent::main(link, pid)
        }
    }
}
