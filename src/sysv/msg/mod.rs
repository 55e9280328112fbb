//! The rules of message queues.

pub mod flags;
mod limits;
mod msgctl;
mod msgget;
mod msgrcv;
mod msgsnd;
mod procfs;
mod state;
mod wake;

#[cfg(test)]
mod for_tests;
#[cfg(test)]
mod msgrcv_tests;

pub use limits::{MsgLimitName, MsgLimits};
pub use msgctl::{
    MsgCommand, NewQueue, may_remove_queue, may_set_queue, may_stat_queue, parse_msgctl, set_queue,
};
pub use msgget::{check_new_queue, missing_queue_key, new_queue, open_queue};
pub use msgrcv::{
    check_receive, copy, find, matches, may_receive, nothing, receive, too_long_meanwhile,
};
pub use msgsnd::{Sent, check_message, full, may_send, send};
pub use procfs::{MSG_HEADER, write_msg_line};
pub use state::{
    Message, QueueFacts, QueueState, Received, Receiver, ReceiverAnswer, Sender, SenderAnswer, fits,
};
pub use wake::{drop_sleepers, wake_receivers, wake_senders};
