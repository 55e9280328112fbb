//! An agent's connection to the supervisor: by it the client's memory is reached, and system calls are made in the client.

use crate::border::Memory;
use crate::message::{AGAIN, ASLEEP, ATTACHED, COUNTED, DATA_BYTES, Kind, Message, PASS, Socket};
use crate::sys;
use shmshim_core::os::file::Fd;
use shmshim_core::os::{OsError, OsResult};
use shmshim_core::registry;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

thread_local! {
    /// The connection, for what the registry asks of the client.
    static LINK: RefCell<Option<Rc<Link>>> = const { RefCell::new(None) };
}

/// The connection.
pub struct Link {
    socket: Socket,
    /// What has come while an answer was awaited.
    early: RefCell<VecDeque<Message>>,
    /// The notification of the call that is served.
    call: Cell<u64>,
    /// A system call could not be made in the client during its present call, or its memory not be reached: it cannot be traced.
    is_out_of_reach: Cell<bool>,
    /// So it was before.
    may_be_out_of_reach: Cell<bool>,
    /// One was made: the thread has left its call.
    has_run: Cell<bool>,
}

/// What a step of the agent's has come to.
pub enum Step {
    /// The call returns this.
    Value(i64),
    /// The kernel is to serve the call.
    Pass,
    /// The client is to make the call again.
    Again,
    /// The call sleeps.
    Asleep,
}

impl Link {
    /// The connection by this socket, from now on the agent's.
    pub fn to(socket: Socket) -> Rc<Link> {
        let ours = Rc::new(Link {
            socket,
            early: RefCell::default(),
            call: Cell::new(0),
            is_out_of_reach: Cell::new(false),
            may_be_out_of_reach: Cell::new(false),
            has_run: Cell::new(false),
        });
        LINK.with(|link| *link.borrow_mut() = Some(Rc::clone(&ours)));
        ours
    }

    /// The next message that begins something. `waits`: for one, if there is none yet.
    pub fn next(&self, waits: bool) -> Option<Message> {
        if let Some(message) = self.early.borrow_mut().pop_front() {
            return Some(message);
        }
        let received = match waits {
            true => self.socket.receive(),
            false => self.socket.try_receive().ok()?,
        };
        match received {
            Some(message) => Some(message),
            // The supervisor has no more use for this agent.
            None => sys::leave(0),
        }
    }

    /// Waits for a message of this kind; others wait for [`Link::next`]. `None`: the client has ended.
    pub fn wait_for(&self, kind: Kind) -> Option<Message> {
        while !self.has_client_ended() {
            let Some(message) = self.socket.receive() else {
                sys::leave(0)
            };
            if message.kind == kind {
                return Some(message);
            }
            self.early.borrow_mut().push_back(message);
        }
        None
    }

    /// Whether that has come among what waits.
    fn has_client_ended(&self) -> bool {
        let early = self.early.borrow();
        early.iter().any(|message| message.kind == Kind::End)
    }

    /// Says something to the supervisor.
    pub fn say(&self, kind: Kind, words: &[u64]) {
        if self.socket.send(kind, words).is_err() {
            sys::leave(0);
        }
    }

    /// Says that a step is over, with the call's answer.
    pub fn done(&self, step: &Step) {
        let (value, what) = match step {
            Step::Value(value) => (*value as u64, 0),
            Step::Pass => (0, PASS),
            Step::Again => (0, AGAIN),
            Step::Asleep => (0, ASLEEP),
        };
        let counted = if registry::served::is_counted() {
            COUNTED
        } else {
            0
        };
        let attached = if registry::served::has_attaches() {
            ATTACHED
        } else {
            0
        };
        self.say(Kind::Done, &[value, counted | attached | what]);
    }

    /// The call of this notification is served from now on.
    pub fn serve(&self, call: u64) {
        self.call.set(call);
        self.has_run.set(false);
        self.reach();
    }

    /// Whether a system call was made in the client since: the thread has left its call.
    pub fn has_run(&self) -> bool {
        self.has_run.get()
    }

    /// What could not be made in the client was not needed.
    pub fn reach(&self) {
        self.is_out_of_reach.set(false);
    }

    fn note_out_of_reach(&self) {
        self.is_out_of_reach.set(true);
        self.may_be_out_of_reach.set(true);
    }

    fn read_part(&self, addr: u64, bytes: &mut [u8]) -> bool {
        self.say(Kind::Read, &[addr, bytes.len() as u64, self.call.get()]);
        let Some(answer) = self.wait_for(Kind::Result) else {
            return false;
        };
        let [_, untraced, ..] = answer.words;
        if untraced != 0 {
            self.note_out_of_reach();
        }
        let is_whole = answer.data.len() == bytes.len();
        if is_whole {
            bytes.copy_from_slice(&answer.data);
        }
        is_whole
    }

    fn write_part(&self, addr: u64, bytes: &[u8]) -> bool {
        let words = [addr, self.call.get()];
        if self
            .socket
            .send_all(Kind::Write, &words, bytes, None)
            .is_err()
        {
            sys::leave(0);
        }
        let Some(answer) = self.wait_for(Kind::Result) else {
            return false;
        };
        let [written, untraced, ..] = answer.words;
        if untraced != 0 {
            self.note_out_of_reach();
        }
        written == bytes.len() as u64
    }

    fn run(&self, number: usize, args: [usize; 6], fd: Option<&Fd>) -> OsResult<usize> {
        let [a, b, c, d, e, f] = args.map(|word| word as u64);
        let words = [number as u64, a, b, c, d, e, f];
        let fd = fd.map(sys::borrow);
        if self.socket.send_all(Kind::Run, &words, &[], fd).is_err() {
            sys::leave(0);
        }
        let Some(answer) = self.wait_for(Kind::Result) else {
            return Err(OsError(libc::ESRCH));
        };
        let [value, untraced, ..] = answer.words;
        if untraced != 0 {
            self.note_out_of_reach();
        } else {
            self.has_run.set(true);
        }
        match value as i64 {
            errno @ -4095..0 => Err(OsError(-errno as i32)),
            value => Ok(value as usize),
        }
    }
}

/// Addresses and parts of a copy, each of which fits in a message.
fn places(addr: u64) -> impl Iterator<Item = u64> {
    (0..).map(move |part| addr.wrapping_add(part * DATA_BYTES as u64))
}

impl Memory for Link {
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
        let mut parts = places(addr).zip(bytes.chunks_mut(DATA_BYTES));
        parts.all(|(addr, part)| self.read_part(addr, part))
    }

    fn write(&self, addr: u64, bytes: &[u8]) -> bool {
        let mut parts = places(addr).zip(bytes.chunks(DATA_BYTES));
        parts.all(|(addr, part)| self.write_part(addr, part))
    }

    fn is_out_of_reach(&self) -> bool {
        self.is_out_of_reach.get()
    }

    fn will_be_out_of_reach(&self, addr: u64) -> bool {
        if self.may_be_out_of_reach.replace(false) {
            self.read_part(addr, &mut [0]);
        }
        self.may_be_out_of_reach.get()
    }
}

/// Makes a system call in the client.
pub fn remote(number: usize, args: [usize; 6], fd: Option<&Fd>) -> OsResult<usize> {
    let link = LINK.with(|link| link.borrow().clone());
    link.map_or(Err(OsError(libc::ESRCH)), |link| link.run(number, args, fd))
}
