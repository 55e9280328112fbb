//! What the supervisor and an agent say to each other: datagrams of some words, some bytes, perhaps a descriptor.

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Which message it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Kind {
    /// To the agent: serve a call. Number, five arguments, thread id, [`READ_IDS`], the notification's id.
    Call,
    /// To the agent: the answer to [`Kind::Run`], [`Kind::Read`] or [`Kind::Write`]: a value, negative for an errno, or a
    /// number of bytes; and whether nothing could be done, because the client cannot be traced.
    Result,
    /// To the agent: the client is about to fork. With the socket of the agent that will serve the child.
    Fork,
    /// To the agent: it has forked, or has failed to (a word).
    Forked,
    /// To a new agent: the process id of the child that it serves, or 0: there is none.
    Child,
    /// To the agent: the client has ended.
    End,
    /// To the supervisor: make a system call in the client. Number and six arguments; with the descriptor for the fifth.
    Run,
    /// To the supervisor: read so many bytes of the client at an address, for the call of this notification.
    Read,
    /// To the supervisor: write these bytes there.
    Write,
    /// To the supervisor: this step is over. The call's answer, and [`COUNTED`], [`ATTACHED`], [`PASS`], [`AGAIN`],
    /// [`ASLEEP`].
    Done,
    /// To the supervisor: a call that slept is over. Its notification's id and its answer.
    Awake,
    /// To the supervisor: the client runs another program by now; this agent ends.
    Stale,
}

/// The calling thread's credentials may be others than the last time.
pub const READ_IDS: u64 = 1;

/// The client has a cell.
pub const COUNTED: u64 = 1;
/// The client has something attached.
pub const ATTACHED: u64 = 2;
/// The kernel is to serve the call.
pub const PASS: u64 = 4;
/// The client is to make the call again.
pub const AGAIN: u64 = 8;
/// The call sleeps.
pub const ASLEEP: u64 = 16;

const ALL: [Kind; 12] = [
    Kind::Call,
    Kind::Result,
    Kind::Fork,
    Kind::Forked,
    Kind::Child,
    Kind::End,
    Kind::Run,
    Kind::Read,
    Kind::Write,
    Kind::Done,
    Kind::Awake,
    Kind::Stale,
];

const WORDS: usize = 9;
const HEAD_BYTES: usize = 8 * (WORDS + 1);
/// The most bytes of a message.
pub const DATA_BYTES: usize = 4096;
/// From here on an agent's connection has its number.
const KEPT: RawFd = 20;

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Which.
    pub kind: Kind,
    /// Its words; zeros behind those that were given.
    pub words: [u64; WORDS],
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its descriptor.
    pub fd: Option<OwnedFd>,
}

/// No message has come.
pub struct NoneNow;

/// One end of the connection.
pub struct Socket(OwnedFd);

impl Socket {
    /// Two ends.
    pub fn pair() -> nix::Result<(Socket, Socket)> {
        let (one, other) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Socket(one), Socket(other)))
    }

    /// The end that another process has handed over.
    pub fn of(fd: OwnedFd) -> Socket {
        Socket(fd)
    }

    /// In a fresh child: closes all other descriptors but the standard ones.
    pub fn alone(self) -> nix::Result<Socket> {
        // First, for no other may be left.
        crate::sys::close_but(self.0.as_raw_fd());
        // Behind those that a helper of the library's closes (`os/helper_process.rs`).
        crate::sys::place_at(&self.0, KEPT).map(Socket)
    }

    /// Its descriptor.
    pub fn fd(&self) -> &OwnedFd {
        &self.0
    }

    /// Sends a message.
    pub fn send(&self, kind: Kind, words: &[u64]) -> nix::Result<()> {
        self.send_all(kind, words, &[], None)
    }

    /// Sends a message with bytes and a descriptor.
    pub fn send_all(
        &self,
        kind: Kind,
        words: &[u64],
        data: &[u8],
        fd: Option<BorrowedFd<'_>>,
    ) -> nix::Result<()> {
        let mut bytes = [0u8; HEAD_BYTES];
        let all = std::iter::once(kind as u64).chain(words.iter().copied());
        for (place, word) in bytes.chunks_exact_mut(8).zip(all) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        let numbers: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() {
            &[][..]
        } else {
            &rights[..]
        };
        let parts = [IoSlice::new(&bytes), IoSlice::new(data)];
        loop {
            match sendmsg::<()>(
                self.0.as_raw_fd(),
                &parts,
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Err(Errno::EINTR) => {}
                answer => return answer.map(|_| ()),
            }
        }
    }

    /// Waits for a message. `None`: the other end is gone.
    pub fn receive(&self) -> Option<Message> {
        self.receive_with(MsgFlags::empty()).unwrap_or(None)
    }

    /// The next message, if there is one. `Err`: there is none now.
    pub fn try_receive(&self) -> Result<Option<Message>, NoneNow> {
        self.receive_with(MsgFlags::MSG_DONTWAIT)
    }

    fn receive_with(&self, flags: MsgFlags) -> Result<Option<Message>, NoneNow> {
        let mut bytes = [0u8; HEAD_BYTES + DATA_BYTES];
        let mut space = cmsg_space!(RawFd);
        let (len, fd) = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match recvmsg::<()>(
                self.0.as_raw_fd(),
                &mut parts,
                Some(&mut space),
                flags | MsgFlags::MSG_CMSG_CLOEXEC,
            ) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(NoneNow),
                Err(_) => return Ok(None),
                Ok(message) => {
                    let rights = message.cmsgs().ok().and_then(|mut all| {
                        all.find_map(|one| match one {
                            ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
                            _ => None,
                        })
                    });
                    break (message.bytes, rights.map(crate::sys::own));
                }
            }
        };
        Ok(bytes.get(..len).and_then(|bytes| Message::parse(bytes, fd)))
    }
}

impl Message {
    fn parse(bytes: &[u8], fd: Option<OwnedFd>) -> Option<Message> {
        let (head, data) = bytes.split_at_checked(HEAD_BYTES)?;
        let mut all = head.chunks_exact(8).map(|word| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            u64::from_ne_bytes(bytes)
        });
        let kind = *ALL.get(all.next()? as usize)?;
        let mut words = [0; WORDS];
        words
            .iter_mut()
            .zip(all)
            .for_each(|(place, word)| *place = word);
        Some(Message {
            kind,
            words,
            data: data.to_vec(),
            fd,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_it_was_sent() {
        let (one, other) = Socket::pair().unwrap();
        one.send_all(
            Kind::Write,
            &[7, u64::MAX],
            b"bytes",
            Some(std::os::fd::AsFd::as_fd(one.fd())),
        )
        .unwrap();
        one.send(Kind::Stale, &[]).unwrap();
        assert!(one.try_receive().is_err());
        let got = other.receive().unwrap();
        assert_eq!(
            (got.kind, got.words, &got.data[..]),
            (
                Kind::Write,
                [7, u64::MAX, 0, 0, 0, 0, 0, 0, 0],
                &b"bytes"[..]
            )
        );
        assert!(got.fd.is_some());
        let got = other.receive().unwrap();
        assert!(got.kind == Kind::Stale && got.fd.is_none() && got.data.is_empty());
        drop((one, got));
    }

    #[test]
    fn kinds_have_the_numbers_that_they_are_found_by() {
        for (number, kind) in ALL.iter().enumerate() {
            assert_eq!(number as u64, *kind as u64);
        }
    }
}
