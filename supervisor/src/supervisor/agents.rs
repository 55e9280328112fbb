//! What agents ask for while they serve a call, and how their work ends.

use super::Supervisor;
use crate::client::{Client, Fork, Work};
use crate::message::{AGAIN, ASLEEP, ATTACHED, COUNTED, DATA_BYTES, Kind, Message, PASS};
use crate::sys;
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use std::io::{IoSlice, IoSliceMut};

impl Supervisor {
    /// Hears what a client's agent has to say.
    pub(super) fn hear(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let Some(agent) = &client.agent else { return };
        let Some(message) = agent.receive() else {
            return self.note_lost_agent(key);
        };
        match message.kind {
            Kind::Run => self.run_in_client(key, &message),
            Kind::Read => self.read_client(key, &message),
            Kind::Write => self.write_client(key, &message),
            Kind::Forked => self.fork_client(key),
            Kind::Done => self.end_work(key, &message),
            Kind::Awake => self.end_sleep(key, &message),
            Kind::Stale => self.exchange_agent(key),
            _ => {}
        }
    }

    fn reply(&self, key: u64, words: &[u64], data: &[u8]) {
        if let Some(agent) = self
            .clients
            .get(&key)
            .and_then(|client| client.agent.as_ref())
        {
            let _ = agent.send_all(Kind::Result, words, data, None);
        }
    }

    fn run_in_client(&mut self, key: u64, message: &Message) {
        let [number, a, b, c, d, e, f, ..] = message.words;
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let answer = match &mut client.work {
            Some(work) => {
                let thread = work.thread();
                thread.run(
                    &mut self.listener,
                    number,
                    [a, b, c, d, e, f],
                    message.fd.as_ref(),
                )
            }
            None => Err(Errno::ESRCH),
        };
        // The page that keeps a cell is the one mapping of a file that gives no access.
        let is_page =
            number == libc::SYS_mmap as u64 && c == libc::PROT_NONE as u64 && message.fd.is_some();
        if let (true, Ok(page @ 1..)) = (is_page, answer) {
            match &mut client.work {
                Some(Work::Fork(fork)) => fork.page = Some(page as u64),
                _ => client.page = Some(page as u64),
            }
        }
        let is_untraced = u64::from(answer == Err(Errno::EPERM));
        let value = answer.unwrap_or_else(|error| -(error as i64));
        self.reply(key, &[value as u64, is_untraced], &[]);
    }

    fn read_client(&mut self, key: u64, message: &Message) {
        let [addr, len, id, ..] = message.words;
        let mut bytes = vec![0; (len as usize).min(DATA_BYTES)];
        let place = [RemoteIoVec {
            base: addr as usize,
            len: bytes.len(),
        }];
        let read = match self.thread_in(key, id) {
            Some(tid) => process_vm_readv(tid, &mut [IoSliceMut::new(&mut bytes)], &place),
            None => Ok(0),
        };
        let [read, is_untraced] = copied(read);
        let bytes = bytes.get(..read as usize).unwrap_or(&[]);
        self.reply(key, &[read, is_untraced], bytes);
    }

    fn write_client(&mut self, key: u64, message: &Message) {
        let [addr, id, ..] = message.words;
        let place = [RemoteIoVec {
            base: addr as usize,
            len: message.data.len(),
        }];
        let written = match self.thread_in(key, id) {
            Some(tid) => process_vm_writev(tid, &[IoSlice::new(&message.data)], &place),
            None => Ok(0),
        };
        self.reply(key, &copied(written), &[]);
    }

    /// The thread that is in the call of this notification. One that has been killed there may have another's id by now.
    fn thread_in(&mut self, key: u64, id: u64) -> Option<Pid> {
        let thread = self.clients.get_mut(&key)?.thread_in(id)?;
        thread.is_there(&self.listener).then_some(thread.tid())
    }

    /// The agent has forked: now its client does.
    fn fork_client(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let Some(Work::Fork(fork)) = &mut client.work else {
            return;
        };
        let made = fork.thread.fork(&mut self.listener);
        let is_untraced = made.as_ref().err() == Some(&Errno::EPERM);
        if let Ok((child, answer)) = made {
            (fork.child, fork.answer) = (child, Some(answer));
        }
        let has_child = fork.child.is_some();
        if !has_child {
            let _ = fork.link.send(Kind::Child, &[0]);
        }
        if let Some(agent) = &client.agent {
            let _ = agent.send(Kind::Forked, &[u64::from(!has_child)]);
        }
        if is_untraced {
            let pid = client.pid;
            self.say(format_args!(
                "process {pid} forks while another process traces it (a debugger, strace): what its child inherits is not counted"
            ));
        }
    }

    /// An agent has done what it was asked for.
    fn end_work(&mut self, key: u64, message: &Message) {
        let [value, flags, ..] = message.words;
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        client.counted = flags & COUNTED != 0;
        client.attached = flags & ATTACHED != 0;
        match client.work.take() {
            Some(Work::Call(thread)) if flags & ASLEEP != 0 => client.asleep.push(thread),
            Some(Work::Call(thread)) if flags & AGAIN != 0 => client.again(thread, &self.listener),
            Some(Work::Call(thread)) => {
                let answer = (flags & PASS == 0).then_some(value as i64);
                thread.answer(&self.listener, answer);
            }
            Some(Work::Begin(thread)) => thread.answer(&self.listener, Some(0)),
            Some(Work::Fork(fork)) => {
                let changes_ids = client.changes_ids;
                self.end_fork(fork, changes_ids, value as i64);
            }
            None => {}
        }
        self.go_on(key);
    }

    /// A call that slept is over.
    fn end_sleep(&mut self, key: u64, message: &Message) {
        let [id, value, ..] = message.words;
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        if let Some(at) = client.asleep.iter().position(|thread| thread.call.id == id) {
            let thread = client.asleep.swap_remove(at);
            thread.answer(&self.listener, Some(value as i64));
        }
    }

    /// The parent's side of a fork is over: it goes on, and the child's agent begins.
    fn end_fork(&mut self, fork: Fork, changes_ids: bool, value: i64) {
        let Fork {
            thread,
            link,
            child,
            answer,
            page,
        } = fork;
        // Where the agent could not fork its error is the call's.
        thread.answer(&self.listener, answer.or((value < 0).then_some(value)));
        let Some(child) = child else { return };
        let pid = child.tid();
        let _ = link.send(Kind::Child, &[pid.as_raw() as u64]);
        match Client::new(pid, link) {
            Ok(client) => {
                self.add(Client {
                    work: Some(Work::Begin(child)),
                    changes_ids,
                    page,
                    ..client
                });
            }
            Err(_) => child.answer(&self.listener, Some(0)),
        }
    }

    /// A client runs another program by now: it gets an agent that knows nothing of the old one.
    fn exchange_agent(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let old = client.agent.take();
        self.ending.extend(old);
        client.forget();
        client.asleep.clear();
        client.page = None;
        match client.work.take() {
            Some(Work::Call(thread)) => client.waiting.push_front(thread.call),
            Some(Work::Fork(fork)) => fork.thread.answer(&self.listener, None),
            Some(Work::Begin(thread)) => thread.answer(&self.listener, Some(0)),
            None => {}
        }
        self.go_on(key);
    }

    /// An agent was killed. Its client's cell goes with it where a call was under way, for the agent may have held the table's
    /// lock in the cell's name, or slept, for it would sleep for ever. What it owes stands until it ends.
    fn note_lost_agent(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        client.agent = None;
        client.forget();
        let pid = client.pid;
        let mut work = client.work.take();
        let mut asleep = std::mem::take(&mut client.asleep);
        let caller = match &mut work {
            Some(Work::Call(thread)) => Some(thread),
            _ => asleep.first_mut(),
        };
        if let (Some(page), Some(thread)) = (client.page, caller) {
            let page = [page, 1, 0, 0, 0, 0];
            let _ = thread.run(&mut self.listener, libc::SYS_munmap as u64, page, None);
            client.page = None;
        }
        for thread in asleep {
            client.again(thread, &self.listener);
        }
        match work {
            Some(Work::Call(thread)) => {
                thread.answer(&self.listener, Some(-i64::from(libc::ENOMEM)));
            }
            Some(Work::Begin(thread)) => thread.answer(&self.listener, Some(0)),
            Some(Work::Fork(fork)) => {
                fork.thread.answer(&self.listener, fork.answer);
                if let Some(child) = fork.child {
                    child.answer(&self.listener, Some(0));
                }
            }
            None => {}
        }
        self.say(format_args!(
            "the agent of process {pid} was killed: its attaches are not counted any more"
        ));
        self.go_on(key);
    }

    /// Has the agent of a dead client drop what it had.
    pub(super) fn finish(&mut self, client: Client) {
        // It may wait for the end of a sleep; so it does when its connection is closed.
        let bell = sys::bell(client.pid);
        if let Some(agent) = client.agent.filter(|_| client.counted) {
            if agent.send(Kind::End, &[]).is_ok() {
                self.ending.push(agent);
            }
        }
        sys::ring(bell);
    }
}

/// How many bytes were copied, and whether none were because the client may not be traced.
fn copied(answer: nix::Result<usize>) -> [u64; 2] {
    let is_untraced = answer == Err(Errno::EPERM);
    [answer.unwrap_or(0) as u64, is_untraced.into()]
}
