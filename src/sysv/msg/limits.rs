//! The limits of a namespace for message queues, and the text of the files that show and change them.

/// What a namespace allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsgLimits {
    /// Bytes of a message.
    pub msgmax: u32,
    /// Bytes that a new queue may hold.
    pub msgmnb: u32,
    /// Queues.
    pub msgmni: u32,
}

impl MsgLimits {
    /// What every new namespace starts with.
    pub const KERNEL_DEFAULTS: MsgLimits = MsgLimits {
        msgmax: 8192,
        msgmnb: 16384,
        msgmni: 32000,
    };
}
