//! The rules of message queues.

mod limits;
mod msgctl;
mod state;

pub use limits::MsgLimits;
pub use msgctl::{MsgCommand, NewQueue};
pub use state::{
    Message, QueueFacts, QueueState, Received, Receiver, ReceiverAnswer, Sender, SenderAnswer,
};
