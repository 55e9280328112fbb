//! The rules of message queues.
//!
//! | file | decides |
//! |---|---|
//! | [`state`](QueueState) | what is known of a queue |
//! | [`limits`](MsgLimits) | msgmax, msgmnb, msgmni and their files |
//! | [`procfs`](write_msg_line) | the text of `/proc/sysvipc/msg` |

pub mod flags;
mod limits;
mod msgctl;
mod procfs;
mod state;

#[cfg(test)]
mod for_tests;

pub use limits::{MsgLimitName, MsgLimits};
pub use msgctl::{MsgCommand, NewQueue};
pub use procfs::{MSG_HEADER, write_msg_line};
pub use state::{
    Message, QueueFacts, QueueState, Received, Receiver, ReceiverAnswer, Sender, SenderAnswer,
};
