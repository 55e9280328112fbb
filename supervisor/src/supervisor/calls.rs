//! Calls of clients: who makes one, and that its agent begins with it. A client's calls are served one after another.

use super::{MOST_FOR_AGENTS, Supervisor};
use crate::client::{Client, Fork, Work, start_agent};
use crate::filter::{self, Kind as CallKind};
use crate::message::{Kind, READ_IDS, Socket};
use crate::proc::Status;
use crate::sys::{self, Notification};
use crate::thread::Thread;
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::time::Instant;

impl Supervisor {
    /// Takes a notified call. One that may see what a process has done that has ended, perhaps waited for by the caller, is held back
    /// while an agent is still at that.
    pub(super) fn take(&mut self, call: Notification) {
        let kind = filter::kind_of(call.data.arch, call.data.nr);
        if kind == CallKind::Served {
            self.note_deaths();
            if self.is_dead_one_worked_for() {
                let until = Instant::now() + MOST_FOR_AGENTS;
                return self.held_back.push((call, until));
            }
        }
        self.begin(call, kind);
    }

    /// Takes the calls that were held back, if that is over, or takes too long.
    pub(super) fn take_held_back(&mut self) {
        let until = self.held_back.first().map(|(_, until)| *until);
        if self.is_dead_one_worked_for() && until.is_none_or(|until| Instant::now() < until) {
            return;
        }
        for (call, _) in std::mem::take(&mut self.held_back) {
            self.begin(call, CallKind::Served);
        }
    }

    fn is_dead_one_worked_for(&self) -> bool {
        let mut clients = self.clients.values();
        clients.any(|client| client.is_dead && client.work.is_some())
    }

    fn begin(&mut self, call: Notification, kind: CallKind) {
        if kind == CallKind::Foreign {
            self.say(format_args!(
                "process {} runs a 32-bit program, which is not served: ENOSYS",
                call.pid
            ));
            return self
                .listener
                .answer(call.id, Some(-i64::from(libc::ENOSYS)));
        }
        let is_for_client = kind == CallKind::Served;
        if self.clients.is_empty() && !is_for_client {
            return self.listener.answer(call.id, None);
        }
        let tid = Pid::from_raw(call.pid as i32);
        let key = match self.client_of(tid, is_for_client) {
            Ok(Some(key)) => key,
            Ok(None) => return self.listener.answer(call.id, None),
            Err(error) => {
                self.say_unserved(call.pid, error);
                return self
                    .listener
                    .answer(call.id, Some(-i64::from(libc::ENOMEM)));
            }
        };
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let is_to_wait = match kind {
            // What shares a client's memory leaves it alone.
            CallKind::Exec if !sys::is_thread_of(client.pid, tid) => false,
            // Its agent sees by the cell what has come of it.
            CallKind::Exec if client.counted => false,
            // Another program may have another environment; nothing is lost with this agent.
            CallKind::Exec => {
                let is_idle = client.work.is_none() && client.waiting.is_empty();
                let pid = client.pid;
                if is_idle {
                    self.by_pid.remove(&pid);
                    self.clients.remove(&key);
                }
                return self.listener.answer(call.id, None);
            }
            CallKind::Ids => !std::mem::replace(&mut client.changes_ids, true) && !client.counted,
            // A child is to inherit neither half an attach nor the descriptor that the client has meanwhile. Where nothing is
            // attached, it inherits the open namespace, in which it stays when it changes its uid.
            CallKind::Fork => (client.counted || client.work.is_some()) && !shares_memory(&call),
            _ => true,
        };
        if !is_to_wait {
            return self.listener.answer(call.id, None);
        }
        client.waiting.push_back(call);
        self.go_on(key);
    }

    /// The client that a thread belongs to. `is_wanted`: if there is none it is made.
    fn client_of(&mut self, tid: Pid, is_wanted: bool) -> nix::Result<Option<u64>> {
        if let Some(&key) = self.by_pid.get(&tid) {
            return Ok(Some(key));
        }
        if let Some(&pid) = self.process_of.get(&tid) {
            match self.by_pid.get(&pid) {
                Some(&key) if sys::is_thread_of(pid, tid) => return Ok(Some(key)),
                _ => self.process_of.remove(&tid),
            };
        }
        let Some(status) = Status::of(tid) else {
            return Err(Errno::ESRCH);
        };
        let pid = Pid::from_raw(status.tgid);
        if let Some(&key) = self.by_pid.get(&pid) {
            self.process_of.insert(tid, pid);
            return Ok(Some(key));
        }
        // A child that shares its parent's memory has its parent's attaches.
        let parent = Pid::from_raw(status.parent);
        if let Some(&key) = self
            .by_pid
            .get(&parent)
            .filter(|_| sys::share_memory(pid, parent))
        {
            return Ok(Some(key));
        }
        if !is_wanted {
            return Ok(None);
        }
        let client = Client::new(pid, start_agent(pid)?)?;
        if tid != pid {
            self.process_of.insert(tid, pid);
        }
        Ok(Some(self.add(client)))
    }

    pub(super) fn add(&mut self, client: Client) -> u64 {
        self.next_key += 1;
        self.by_pid.insert(client.pid, self.next_key);
        self.clients.insert(self.next_key, client);
        self.next_key
    }

    /// Has the agent of an idle client begin with the next call; or ends it with its client.
    pub(super) fn go_on(&mut self, key: u64) {
        let Some(client) = self
            .clients
            .get_mut(&key)
            .filter(|client| client.work.is_none())
        else {
            return;
        };
        if client.is_dead {
            if let Some(client) = self.clients.remove(&key) {
                self.finish(client);
            }
            return;
        }
        let Some(call) = client.waiting.pop_front() else {
            return;
        };
        let mut thread = Thread::new(call);
        if let Err(error) = self.find_agent(key, &mut thread) {
            self.say_unserved(call.pid, error);
            thread.answer(&self.listener, Some(-i64::from(libc::ENOMEM)));
            return self.go_on(key);
        }
        let kind = filter::kind_of(call.data.arch, call.data.nr);
        if kind == CallKind::Fork {
            self.begin_fork(key, thread)
        } else {
            self.begin_call(key, thread)
        }
    }

    /// Starts an agent where the last one was killed. What it knew is lost, and the cell goes that was the client's.
    fn find_agent(&mut self, key: u64, thread: &mut Thread) -> nix::Result<()> {
        let Some(client) = self.clients.get_mut(&key) else {
            return Ok(());
        };
        if client.agent.is_some() {
            return Ok(());
        }
        if let Some(page) = client.page.take() {
            thread.run(
                &mut self.listener,
                libc::SYS_munmap as u64,
                [page, 1, 0, 0, 0, 0],
                None,
            )?;
        }
        client.agent = Some(start_agent(client.pid)?);
        Ok(())
    }

    fn say_unserved(&self, pid: u32, error: Errno) {
        let why = match error {
            Errno::EMFILE => {
                "the supervisor needs two descriptors for each process, and has none left: raise the hard limit, ulimit -Hn"
            }
            error => error.desc(),
        };
        self.say(format_args!("process {pid} cannot be served ({why})"));
    }

    fn begin_call(&mut self, key: u64, thread: Thread) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let data = &thread.call.data;
        let [first, second, third, fourth, fifth, _] = data.args;
        let ids = if client.changes_ids { READ_IDS } else { 0 };
        let (number, tid) = (data.nr as u64, thread.tid().as_raw() as u64);
        let id = thread.call.id;
        let words = [number, first, second, third, fourth, fifth, tid, ids, id];
        client.tell(Kind::Call, &words, None);
        client.work = Some(Work::Call(thread));
    }

    fn begin_fork(&mut self, key: u64, thread: Thread) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let Ok((link, theirs)) = Socket::pair() else {
            thread.answer(&self.listener, None);
            return self.go_on(key);
        };
        client.tell(Kind::Fork, &[], Some(theirs.fd().as_fd()));
        client.work = Some(Work::Fork(Fork {
            thread,
            link,
            child: None,
            answer: None,
            page: None,
        }));
    }
}

/// Whether a call that makes a child makes one that shares its parent's memory, or one that cannot be followed: `clone3` tells
/// so in the caller's memory.
fn shares_memory(call: &Notification) -> bool {
    if i64::from(call.data.nr) != libc::SYS_clone3 {
        return false;
    }
    let [place, ..] = call.data.args;
    let mut flags = [0; 8];
    let from = [RemoteIoVec {
        base: place as usize,
        len: flags.len(),
    }];
    let read = process_vm_readv(
        Pid::from_raw(call.pid as i32),
        &mut [IoSliceMut::new(&mut flags)],
        &from,
    );
    let unfollowed = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_UNTRACED) as u64;
    read != Ok(flags.len()) || u64::from_ne_bytes(flags) & unfollowed != 0
}
