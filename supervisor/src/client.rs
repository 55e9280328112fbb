//! What the supervisor knows of a client: a process that has made one of the calls, and its agent.

use crate::agent;
use crate::message::{Kind, Socket};
use crate::sys::{self, Notification};
use crate::thread::{Listener, Thread};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use std::collections::VecDeque;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What a client's agent is busy with. Others of the client's calls wait.
#[allow(clippy::large_enum_variant, reason = "one per client")]
pub enum Work {
    /// A call of this thread.
    Call(Thread),
    /// A fork.
    Fork(Fork),
    /// It begins to serve this thread, which has just been made.
    Begin(Thread),
}

impl Work {
    /// The thread that system calls are made in for the agent.
    pub fn thread(&mut self) -> &mut Thread {
        match self {
            Work::Call(thread) | Work::Begin(thread) => thread,
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
    /// Threads of it whose calls sleep.
    pub asleep: Vec<Thread>,
    /// Calls that wait for that.
    pub waiting: VecDeque<Notification>,
    /// It has a cell.
    pub counted: bool,
    /// It has something attached.
    pub attached: bool,
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
        let pidfd = sys::pidfd(pid)?;
        if !sys::leaves_some(&pidfd) {
            return Err(Errno::EMFILE);
        }
        Ok(Client {
            pid,
            pidfd,
            agent: Some(agent),
            work: None,
            asleep: Vec::new(),
            waiting: VecDeque::new(),
            counted: false,
            attached: false,
            changes_ids: false,
            is_dead: false,
            page: None,
        })
    }

    /// Sends its agent a message that it may be waiting for, and wakes it: it may wait for the end of a sleep, too.
    pub fn tell(&self, kind: Kind, words: &[u64], fd: Option<BorrowedFd<'_>>) {
        if let Some(agent) = &self.agent {
            // Refused, it is gone, which is noticed when it is heard.
            let _ = agent.send_all(kind, words, &[], fd);
            self.wake_agent();
        }
    }

    /// Has its agent look at its messages.
    pub fn wake_agent(&self) {
        if !self.asleep.is_empty() {
            sys::ring(sys::bell(self.pid));
        }
    }

    /// The thread that is in the call of this notification.
    pub fn thread_in(&mut self, id: u64) -> Option<&mut Thread> {
        let working = self.work.as_mut().map(Work::thread);
        let mut all = working.into_iter().chain(&mut self.asleep);
        all.find(|thread| thread.call.id == id)
    }

    /// Has a call be made again, or takes it up again where its thread is still in it.
    pub fn again(&mut self, thread: Thread, listener: &Listener) {
        if let Some(call) = thread.again(listener) {
            self.waiting.push_back(call);
        }
    }

    /// What it had is gone: it runs another program, or its agent was killed.
    pub fn forget(&mut self) {
        self.counted = false;
        self.attached = false;
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
