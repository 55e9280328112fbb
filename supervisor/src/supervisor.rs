//! The supervisor: takes the notified calls of all that is supervised, has each client's agent serve them, and does in the
//! clients what the agents ask for. It never waits for an agent, so a client that has to wait keeps no other waiting.

use crate::client::{Client, Fork, Work, start_agent};
use crate::filter::{self, Kind as CallKind};
use crate::message::{ATTACHED, CHECK_LEFT, COUNTED, Kind, Message, PASS, READ_IDS, Socket};
use crate::proc::Status;
use crate::report::{Event, Report};
use crate::sys::{self, Notification};
use crate::thread::{Listener, Thread};
use crate::trace;
use libc::c_int;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;
use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the end of the program is kept back until its agents have dropped what it had attached.
const MOST_FOR_AGENTS: Duration = Duration::from_secs(1);
/// The most that an agent reads of a client at once.
const MOST_BYTES: u64 = 256;

/// The supervisor.
pub struct Supervisor {
    listener: Listener,
    /// Says that children of this process have changed.
    children: SignalFd,
    report: Report,
    /// The program that was asked for.
    program: Pid,
    /// Its end, and until when to keep that back.
    end: Option<(Event, Instant)>,
    /// It has ended.
    is_over: bool,
    /// The command was killed.
    is_alone: bool,
    clients: HashMap<u64, Client>,
    next_key: u64,
    by_pid: HashMap<Pid, u64>,
    /// Which process a thread belongs to, as far as it has been asked.
    process_of: HashMap<Pid, Pid>,
    /// Agents that drop what their clients had.
    ending: Vec<Socket>,
}

/// Who had something to say.
#[derive(Clone, Copy)]
enum Source {
    Agent(u64),
    Process(u64),
    Ending(usize),
}

impl Supervisor {
    /// One for `program`, this process's child, and all that comes of it.
    pub fn new(listener: Listener, children: SignalFd, report: Report, program: Pid) -> Supervisor {
        Supervisor {
            listener,
            children,
            report,
            program,
            end: None,
            is_over: false,
            is_alone: false,
            clients: HashMap::new(),
            next_key: 0,
            by_pid: HashMap::new(),
            process_of: HashMap::new(),
            ending: Vec::new(),
        }
    }

    /// Works until nothing is left that is supervised.
    pub fn run(mut self) {
        loop {
            while let Some(call) = self.listener.take_early() {
                self.take(call);
            }
            self.report_end();
            let (is_called, is_over, has_children, sources) = self.wait();
            if has_children {
                self.look_at_children();
            }
            // The dead first: what they had must not count for the calls that follow.
            for source in sources {
                match source {
                    Source::Process(key) => self.note_death(key),
                    Source::Agent(key) => self.hear(key),
                    Source::Ending(_) => {}
                }
            }
            if is_called {
                if let Some(call) = self.listener.take() {
                    self.take(call);
                }
            } else if is_over
                && self.end.is_none()
                && self.clients.is_empty()
                && self.ending.is_empty()
            {
                // A process leaves its filter before it can be waited for.
                while !self.is_over {
                    self.look_at_children();
                    std::thread::sleep(Duration::from_millis(1));
                }
                self.report_end();
                return;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> (bool, bool, bool, Vec<Source>) {
        let mut polled = vec![
            PollFd::new(self.listener.fd().as_fd(), PollFlags::POLLIN),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        // Who kills the command means the program.
        let is_watched = !self.is_over && !self.is_alone;
        if is_watched {
            polled.push(PollFd::new(self.report.fd().as_fd(), PollFlags::empty()));
        }
        let mut sources = Vec::new();
        for (&key, client) in &self.clients {
            if !client.is_dead {
                polled.push(PollFd::new(client.pidfd.as_fd(), PollFlags::POLLIN));
                sources.push(Source::Process(key));
            }
        }
        for (&key, client) in &self.clients {
            if let Some(agent) = &client.agent {
                polled.push(PollFd::new(agent.fd().as_fd(), PollFlags::POLLIN));
                sources.push(Source::Agent(key));
            }
        }
        for (at, agent) in self.ending.iter().enumerate() {
            polled.push(PollFd::new(agent.fd().as_fd(), PollFlags::empty()));
            sources.push(Source::Ending(at));
        }
        let timeout = match self.end {
            Some((_, until)) => {
                let left = until.saturating_duration_since(Instant::now());
                PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
            }
            None => PollTimeout::NONE,
        };
        let _ = poll(&mut polled, timeout);
        let seen: Vec<PollFlags> = polled
            .iter()
            .map(|one| one.revents().unwrap_or(PollFlags::empty()))
            .collect();
        let (fixed, rest) = seen.split_at(2 + usize::from(is_watched));
        let said: Vec<Source> = sources
            .into_iter()
            .zip(rest)
            .filter_map(|(source, seen)| (!seen.is_empty()).then_some(source))
            .collect();
        for source in said.iter().rev() {
            if let Source::Ending(at) = source {
                self.ending.swap_remove(*at);
            }
        }
        let is_called = fixed
            .first()
            .is_some_and(|seen| seen.contains(PollFlags::POLLIN));
        let is_over = fixed
            .first()
            .is_some_and(|seen| seen.contains(PollFlags::POLLHUP));
        let has_children = fixed.get(1).is_some_and(|seen| !seen.is_empty());
        if fixed.get(2).is_some_and(|seen| !seen.is_empty()) {
            self.is_alone = true;
            sys::kill(self.program, libc::SIGKILL);
        }
        (is_called, is_over, has_children, said)
    }

    /// What has become of the program; and orphans that have ended are taken note of.
    fn look_at_children(&mut self) {
        while let Ok(Some(_)) = self.children.read_signal() {}
        let options = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED | libc::__WALL;
        while let Ok(Some((pid, status))) = sys::wait(Pid::from_raw(-1), options) {
            if pid != self.program {
                continue;
            }
            if libc::WIFCONTINUED(status) {
                self.report.signal(libc::SIGCONT);
            } else if libc::WIFSTOPPED(status) && status >> 16 == 0 {
                self.report.signal(libc::SIGSTOP);
            }
            let Some(event) = end_of(status) else {
                continue;
            };
            self.end = Some((event, Instant::now() + MOST_FOR_AGENTS));
            self.is_over = true;
            if let Some(key) = self.by_pid.get(&pid).copied() {
                self.note_death(key);
            }
        }
    }

    /// Reports the program's end, once no agent is dropping what it had.
    fn report_end(&mut self) {
        let Some((event, until)) = self.end else {
            return;
        };
        let is_busy = !self.ending.is_empty() || self.clients.values().any(|client| client.is_dead);
        if !is_busy || Instant::now() >= until {
            self.report.say(event);
            self.end = None;
        }
    }

    fn note_death(&mut self, key: u64) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        client.is_dead = true;
        client.waiting.clear();
        let pid = client.pid;
        if self.by_pid.get(&pid) == Some(&key) {
            self.by_pid.remove(&pid);
        }
        self.process_of.retain(|_, process| *process != pid);
        self.go_on(key);
    }

    // ---- calls

    /// Takes a notified call.
    fn take(&mut self, call: Notification) {
        let kind = filter::kind_of(call.data.arch, call.data.nr);
        if kind == CallKind::Foreign {
            self.say(format_args!(
                "process {} runs a 32-bit program, which is not served: ENOSYS",
                call.pid
            ));
            return self
                .listener
                .answer(call.id, Some(-i64::from(libc::ENOSYS)));
        }
        let is_for_client = matches!(kind, CallKind::Shm | CallKind::Told);
        if self.clients.is_empty() && !is_for_client {
            return self.listener.answer(call.id, None);
        }
        let tid = Pid::from_raw(call.pid as i32);
        let key = match self.client_of(tid, is_for_client) {
            Ok(Some(key)) => key,
            Ok(None) => return self.listener.answer(call.id, None),
            Err(error) => {
                self.say(format_args!(
                    "process {} cannot be served ({error})",
                    call.pid
                ));
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
            CallKind::Exec if client.counted => {
                client.leaving.push(tid);
                false
            }
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

    fn add(&mut self, client: Client) -> u64 {
        self.next_key += 1;
        self.by_pid.insert(client.pid, self.next_key);
        self.clients.insert(self.next_key, client);
        self.next_key
    }

    /// Has the agent of an idle client begin with the next call; or ends it with its client.
    fn go_on(&mut self, key: u64) {
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
            self.say(format_args!(
                "process {} cannot be served ({error})",
                call.pid
            ));
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

    fn begin_call(&mut self, key: u64, thread: Thread) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let data = &thread.call.data;
        let [first, second, third, ..] = data.args;
        let check = u64::from(client.may_have_left(thread.tid())) * CHECK_LEFT;
        let ids = if client.changes_ids { READ_IDS } else { 0 };
        let tid = thread.tid().as_raw() as u64;
        let words = [data.nr as u64, first, second, third, tid, check | ids];
        if let Some(agent) = &client.agent {
            // Refused, it is gone, which is noticed when it is heard.
            let _ = agent.send(Kind::Call, &words);
        }
        client.work = Some(Work::Call(thread));
    }

    fn begin_fork(&mut self, key: u64, thread: Thread) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        let check = u64::from(client.may_have_left(thread.tid())) * CHECK_LEFT;
        let (Some(agent), Ok((link, theirs))) = (&client.agent, Socket::pair()) else {
            thread.answer(&self.listener, None);
            return self.go_on(key);
        };
        let _ = agent.send_all(Kind::Fork, &[check], &[], Some(theirs.fd().as_fd()));
        client.work = Some(Work::Fork(Fork {
            thread,
            link,
            child: None,
            answer: None,
            page: None,
        }));
    }

    // ---- agents

    /// Hears what a client's agent has to say.
    fn hear(&mut self, key: u64) {
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
    fn finish(&mut self, client: Client) {
        if let Some(agent) = client.agent.filter(|_| client.counted) {
            if agent.send(Kind::End, &[]).is_ok() {
                self.ending.push(agent);
            }
        }
    }

    fn say(&self, what: std::fmt::Arguments<'_>) {
        if trace::is_on() {
            trace::say(&|line| line.put(format_args!("shmshim-static: {what}")));
        }
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

/// The end that a child's raw status tells of.
fn end_of(status: c_int) -> Option<Event> {
    if libc::WIFEXITED(status) {
        Some(Event::Exited(libc::WEXITSTATUS(status)))
    } else if libc::WIFSIGNALED(status) {
        Some(Event::Killed(libc::WTERMSIG(status)))
    } else {
        None
    }
}
