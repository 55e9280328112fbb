//! What agents ask for while they serve a call, and how their work ends.

use super::Supervisor;
use crate::client::{Client, Fork, Work};
use crate::message::{ATTACHED, COUNTED, Kind, Message, PASS};
use nix::errno::Errno;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use std::io::{IoSlice, IoSliceMut};

/// The most that an agent reads of a client at once.
const MOST_BYTES: u64 = 256;

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
        let [addr, len, ..] = message.words;
        let mut bytes = vec![0; len.min(MOST_BYTES) as usize];
        let place = [RemoteIoVec {
            base: addr as usize,
            len: bytes.len(),
        }];
        let read = match self.thread_of(key) {
            Some(tid) => {
                process_vm_readv(tid, &mut [IoSliceMut::new(&mut bytes)], &place).unwrap_or(0)
            }
            None => 0,
        };
        self.reply(key, &[read as u64], bytes.get(..read).unwrap_or(&[]));
    }

    fn write_client(&mut self, key: u64, message: &Message) {
        let [addr, ..] = message.words;
        let place = [RemoteIoVec {
            base: addr as usize,
            len: message.data.len(),
        }];
        let written = match self.thread_of(key) {
            Some(tid) => {
                process_vm_writev(tid, &[IoSlice::new(&message.data)], &place).unwrap_or(0)
            }
            None => 0,
        };
        self.reply(key, &[written as u64], &[]);
    }

    fn thread_of(&mut self, key: u64) -> Option<Pid> {
        let work = self.clients.get_mut(&key)?.work.as_mut()?;
        Some(work.thread().tid())
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
            let _ = fork.link.send(Kind::Born, &[0]);
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
            Some(Work::Call(thread)) => {
                let answer = (flags & PASS == 0).then_some(value as i64);
                thread.answer(&self.listener, answer);
            }
            Some(Work::Birth(thread)) => thread.answer(&self.listener, Some(0)),
            Some(Work::Fork(fork)) => {
                let changes_ids = client.changes_ids;
                self.end_fork(fork, changes_ids, value as i64);
            }
            None => {}
        }
        self.go_on(key);
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
        let _ = link.send(Kind::Born, &[pid.as_raw() as u64]);
        match Client::new(pid, link) {
            Ok(client) => {
                self.add(Client {
                    work: Some(Work::Birth(child)),
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
        client.page = None;
        match client.work.take() {
            Some(Work::Call(thread)) => client.waiting.push_front(thread.call),
            Some(Work::Fork(fork)) => fork.thread.answer(&self.listener, None),
            Some(Work::Birth(thread)) => thread.answer(&self.listener, Some(0)),
            None => {}
        }
        self.go_on(key);
    }

    /// An agent was killed. Its client's cell goes with it where a call was under way, for the agent may have held the table's
    /// lock in the cell's name.
    fn note_lost_agent(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        client.agent = None;
        client.forget();
        let (pid, page) = (client.pid, client.page);
        match client.work.take() {
            Some(Work::Call(mut thread)) => {
                if let Some(page) = page {
                    let _ = thread.run(
                        &mut self.listener,
                        libc::SYS_munmap as u64,
                        [page, 1, 0, 0, 0, 0],
                        None,
                    );
                    client.page = None;
                }
                thread.answer(&self.listener, Some(-i64::from(libc::ENOMEM)));
            }
            Some(Work::Birth(thread)) => thread.answer(&self.listener, Some(0)),
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
        if let Some(agent) = client.agent.filter(|_| client.counted) {
            if agent.send(Kind::End, &[]).is_ok() {
                self.ending.push(agent);
            }
        }
    }
}
