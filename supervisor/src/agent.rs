//! An agent: a process that serves one client. To the registry it is the host, under the client's process id and with the
//! client's credentials; what the host is to have mapped the supervisor maps into the client.
//!
//! The client's fork is a fork of its agent. An agent ends with its client, or when the client runs another program.

use crate::border::{self, Memory, Served};
use crate::identity::Identity;
use crate::message::{ATTACHED, CHECK_LEFT, COUNTED, Kind, Message, PASS, READ_IDS, Socket};
use crate::{proc, sys};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use shmshim_core::os::file::Fd;
use shmshim_core::os::served::{self, Client};
use shmshim_core::os::{OsError, OsResult};
use shmshim_core::registry;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What a client's own environment decides, where it has it; else the supervisor's does.
const VARIABLES: [&str; 3] = ["SHMSHIM_DIR", "SHMSHIM_SCOPE", "SHMSHIM_TRACE"];

thread_local! {
    /// The connection to the supervisor, for what the registry asks of the client.
    static LINK: RefCell<Option<Rc<Socket>>> = const { RefCell::new(None) };
    /// A system call could not be made in the client during its present call: it cannot be traced.
    static IS_OUT_OF_REACH: Cell<bool> = const { Cell::new(false) };
}

/// The connection, as the way to the client's memory.
struct Link(Rc<Socket>);

impl Link {
    fn to(socket: Socket) -> Link {
        let socket = Rc::new(socket);
        LINK.with(|link| *link.borrow_mut() = Some(Rc::clone(&socket)));
        Link(socket)
    }

    fn receive(&self) -> Message {
        match self.0.receive() {
            Some(message) => message,
            // The supervisor has no more use for this agent.
            None => sys::leave(0),
        }
    }

    fn say(&self, kind: Kind, words: &[u64]) {
        if self.0.send(kind, words).is_err() {
            sys::leave(0);
        }
    }

    /// Says that a step is over, with the call's answer.
    fn done(&self, answer: &Served) {
        let (value, pass) = match answer {
            Served::Value(value) => (*value as u64, 0),
            Served::ByKernel => (0, PASS),
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
        self.say(Kind::Done, &[value, counted | attached | pass]);
    }
}

impl Memory for Link {
    fn read(&self, addr: u64, bytes: &mut [u8]) -> bool {
        self.say(Kind::Read, &[addr, bytes.len() as u64]);
        let answer = self.receive();
        let is_whole = answer.data.len() == bytes.len();
        if is_whole {
            bytes.copy_from_slice(&answer.data);
        }
        is_whole
    }

    fn write(&self, addr: u64, bytes: &[u8]) -> bool {
        if self.0.send_all(Kind::Write, &[addr], bytes, None).is_err() {
            sys::leave(0);
        }
        let [written, ..] = self.receive().words;
        written == bytes.len() as u64
    }

    fn is_out_of_reach(&self) -> bool {
        IS_OUT_OF_REACH.get()
    }
}

/// Makes a system call in the client.
fn remote(number: usize, args: [usize; 6], fd: Option<&Fd>) -> OsResult<usize> {
    let Some(link) = LINK.with(|link| link.borrow().clone()) else {
        return Err(OsError(libc::ESRCH));
    };
    let [a, b, c, d, e, f] = args.map(|word| word as u64);
    let words = [number as u64, a, b, c, d, e, f];
    let fd = fd.map(sys::borrow);
    let asked = link.send_all(Kind::Run, &words, &[], fd);
    let answer = asked.ok().and_then(|()| link.receive());
    let Some(Message {
        words: [value, untraced, ..],
        ..
    }) = answer
    else {
        sys::leave(0)
    };
    if untraced != 0 {
        IS_OUT_OF_REACH.set(true);
    }
    match value as i64 {
        errno @ -4095..0 => Err(OsError(-errno as i32)),
        value => Ok(value as usize),
    }
}

/// A limit of the client's. `prlimit` would ask for rights where its real uid is not its effective one.
fn limit(pid: i32, which: usize) -> Option<u64> {
    proc::limit(Pid::from_raw(pid), which)
}

/// Serves the client with this process id until it ends.
pub fn main(link: Socket, pid: Pid) -> ! {
    // The agents of the client's children are this process's: their ends are nothing to wait for.
    sys::ignore_children();
    // A namespace for all users is root's to make, while there is one.
    for (name, value) in proc::variables(pid, &VARIABLES) {
        sys::set_variable(&name, &value);
    }
    registry::on_giving_up_root();
    let client: &'static Client = Box::leak(Box::new(Client::new(pid.as_raw(), remote, limit)));
    served::begin(client);
    let mut agent = Agent {
        client,
        link: Link::to(link),
        identity: Identity::default(),
    };
    loop {
        let message = agent.link.receive();
        match message.kind {
            Kind::Call => agent.call(&message),
            Kind::Fork => agent.fork(message),
            Kind::End => {
                registry::served::end();
                sys::leave(0)
            }
            _ => {}
        }
    }
}

struct Agent {
    client: &'static Client,
    link: Link,
    identity: Identity,
}

impl Agent {
    fn call(&mut self, message: &Message) {
        let [number, first, second, third, tid, flags, ..] = message.words;
        self.leave_if_stale(flags);
        IS_OUT_OF_REACH.set(false);
        let (number, args) = (number as i64, [first, second, third]);
        let tid = Pid::from_raw(tid as i32);
        let taken = self
            .identity
            .take_on(tid, self.client, flags & READ_IDS != 0);
        let answer = match taken {
            Ok(()) => border::serve(&self.link, number, args),
            Err(why) => border::refuse(&self.link, number, args, libc::EACCES, &why),
        };
        if crate::filter::is_change_of_ids(number) {
            registry::before_change_of_credentials();
        }
        self.link.done(&answer);
    }

    /// Ends this agent if its client runs another program by now.
    fn leave_if_stale(&self, flags: u64) {
        if flags & CHECK_LEFT != 0 && registry::served::has_left() {
            self.link.say(Kind::Stale, &[]);
            registry::served::end();
            sys::leave(0);
        }
    }

    fn fork(&mut self, message: Message) {
        let [flags, ..] = message.words;
        self.leave_if_stale(flags);
        registry::served::prepare_fork();
        let forked = match message.fd {
            Some(fd) => sys::fork().map(|result| (result, fd)),
            None => Err(Errno::EBADF),
        };
        match forked {
            Ok((ForkResult::Child, fd)) => {
                self.link = Link::to(Socket::of(fd));
                let [pid, ..] = self.link.receive().words;
                if pid == 0 {
                    sys::leave(0);
                }
                registry::served::in_child(pid as i32);
                self.link.done(&Served::Value(0));
            }
            Ok((ForkResult::Parent { .. }, fd)) => {
                drop(fd);
                self.link.say(Kind::Forked, &[]);
                let [failed, ..] = self.link.receive().words;
                registry::served::after_fork(failed != 0);
                self.link.done(&Served::Value(0));
            }
            Err(error) => {
                registry::served::after_fork(true);
                self.link.done(&Served::Value(-(error as i64)));
            }
        }
    }
}
