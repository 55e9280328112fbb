//! An agent: a process that serves one client. To the registry it is the host, under the client's process id and with the
//! client's credentials; what the host is to have mapped the supervisor maps into the client.
//!
//! The client's fork is a fork of its agent. An agent ends with its client, or when the client runs another program.
//!
//! It serves one call after another. A call that sleeps does not keep others waiting: its thread waits for the answer, and the
//! agent, beside its messages, for the words of shared memory by which sleepers are woken (`sleeper`).

use crate::border::{self, Asleep, End, Served};
use crate::identity::Identity;
use crate::link::{self, Link, Step};
use crate::message::{Kind, Message, READ_IDS, Socket};
use crate::sleeper::Sleepers;
use crate::{filter, proc, sys};
use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid};
use shmshim_core::os::served::{self, Client};
use shmshim_core::registry;
use std::rc::Rc;
use std::sync::atomic::Ordering;

/// What a client's own environment decides, where it has it; else the supervisor's does.
const VARIABLES: [&str; 3] = ["SHMSHIM_DIR", "SHMSHIM_SCOPE", "SHMSHIM_TRACE"];

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
    let client: &'static Client =
        Box::leak(Box::new(Client::new(pid.as_raw(), link::remote, limit)));
    served::begin(client);
    let mut agent = Agent {
        client,
        link: Link::to(link),
        identity: Identity::default(),
        asleep: Sleepers::new(),
    };
    loop {
        let bell = sys::bell(Pid::from_raw(client.pid()));
        let rung = bell.load(Ordering::Acquire);
        match agent.link.next(agent.asleep.is_empty()) {
            Some(message) => agent.hear(message),
            None => agent.asleep.wait((bell, rung)),
        }
        agent.look();
    }
}

struct Agent {
    client: &'static Client,
    link: Rc<Link>,
    identity: Identity,
    /// The calls that sleep.
    asleep: Sleepers,
}

impl Agent {
    fn hear(&mut self, message: Message) {
        match message.kind {
            Kind::Call => self.call(&message),
            Kind::Fork => self.fork(message),
            Kind::End => end(),
            _ => {}
        }
    }

    fn call(&mut self, message: &Message) {
        let [number, a, b, c, d, e, tid, flags, id] = message.words;
        self.begin_work();
        self.link.serve(id);
        let (number, args) = (number as i64, [a, b, c, d, e]);
        let tid = Pid::from_raw(tid as i32);
        self.client.set_thread(tid.as_raw());
        let taken = self
            .identity
            .take_on(tid, self.client, flags & READ_IDS != 0);
        let served = match taken {
            Ok(()) if border::may_sleep(number) && self.has_registered() => Served::Again,
            Ok(()) => border::serve(&*self.link, number, args),
            Err(why) => border::refuse(&*self.link, number, args, libc::EACCES, &why),
        };
        if filter::is_change_of_ids(number) {
            registry::before_change_of_credentials();
        }
        let step = match served {
            Served::Value(value) => Step::Value(value),
            Served::ByKernel => Step::Pass,
            Served::Again => Step::Again,
            Served::Asleep(asleep) => self.sleep(id, tid, asleep),
        };
        registry::served::end_work();
        self.link.done(&step);
    }

    /// Registers the client before a call that may sleep, if it was not. Whether the thread has left its call by that: it
    /// cannot sleep there.
    fn has_registered(&self) -> bool {
        let is_registered = registry::served::register().is_ok();
        // Refused, it is not needed where the call does not sleep.
        self.link.reach();
        is_registered && self.link.has_run()
    }

    fn sleep(&mut self, id: u64, tid: Pid, mut asleep: Box<Asleep>) -> Step {
        if self.link.has_run() {
            // Out of its call, the thread would notice no signal.
            let answer = asleep.step(&*self.link, Some(&End::Again));
            let is_over = |answer: &i64| *answer != -i64::from(libc::EINTR);
            return answer.filter(is_over).map_or(Step::Again, Step::Value);
        }
        self.asleep.push(id, self.process(), tid, asleep);
        Step::Asleep
    }

    fn process(&self) -> Pid {
        Pid::from_raw(self.client.pid())
    }

    /// Looks at the calls that sleep.
    fn look(&mut self) {
        if self.asleep.is_empty() {
            return;
        }
        self.begin_work();
        let (link, process) = (&self.link, self.process());
        self.asleep.look(process, |id, asleep, end| {
            link.serve(id);
            let answer = asleep.step(&**link, end);
            if let Some(answer) = answer {
                link.say(Kind::Awake, &[id, answer as u64]);
            }
            answer.is_none()
        });
        registry::served::end_work();
    }

    /// Begins to work in the client's name. Ends this agent if its client has ended, or runs another program by now.
    fn begin_work(&self) {
        if !registry::served::begin_work() {
            // Before another agent takes over what the client owes.
            registry::abandon_sleeps();
            self.link.say(Kind::Stale, &[]);
            end();
        }
    }

    fn fork(&mut self, message: Message) {
        self.begin_work();
        registry::served::prepare_fork();
        let forked = match message.fd {
            Some(fd) => sys::fork().map(|result| (result, fd)),
            None => Err(Errno::EBADF),
        };
        match forked {
            Ok((ForkResult::Child, fd)) => {
                // Those that sleep are the parent's.
                self.asleep.clear();
                self.link = Link::to(Socket::of(fd));
                let child = self.link.wait_for(Kind::Child).map(|message| message.words);
                match child {
                    Some([pid, ..]) if pid != 0 => registry::served::in_child(pid as i32),
                    _ => sys::leave(0),
                }
                self.link.done(&Step::Value(0));
            }
            Ok((ForkResult::Parent { .. }, fd)) => {
                drop(fd);
                self.link.say(Kind::Forked, &[]);
                let forked = self
                    .link
                    .wait_for(Kind::Forked)
                    .map(|message| message.words);
                registry::served::after_fork(!matches!(forked, Some([0, ..])));
                registry::served::end_work();
                self.link.done(&Step::Value(0));
            }
            Err(error) => {
                registry::served::after_fork(true);
                registry::served::end_work();
                self.link.done(&Step::Value(-(error as i64)));
            }
        }
    }
}

/// The client has ended, or runs another program.
fn end() -> ! {
    registry::abandon_sleeps();
    registry::served::end();
    sys::leave(0)
}
