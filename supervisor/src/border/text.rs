//! Messages: each has its type, a word, in front of its text, in the client's memory as here.

use super::asked::Asked;
use crate::trace::{Call, SHOWN_BYTES, Told};
use shmshim_core::registry::msg::Received;

/// Bytes of a message's type.
pub const TYPE_BYTES: usize = 8;
/// For the trace.
pub fn told(mtype: i64, text: &[u8]) -> Told {
    let mut first = [0; SHOWN_BYTES];
    for (shown, byte) in first.iter_mut().zip(text) {
        *shown = *byte;
    }
    Told::Message {
        mtype,
        len: text.len() as u64,
        first,
    }
}

/// A message has been received: it is copied to the client. A bad buffer is noticed when it is gone, as on the kernel.
pub fn give(asked: &mut Asked<'_>, received: Received, buffer: &mut [u8]) -> Result<u64, i32> {
    let Call::Msgrcv { message, .. } = asked.call else {
        return Err(libc::ENOSYS);
    };
    let (mtype, text) = buffer.split_at_mut(TYPE_BYTES);
    mtype.copy_from_slice(&received.mtype.to_ne_bytes());
    let text = text.get(..received.len as usize).unwrap_or(&[]);
    asked.told = told(received.mtype, text);
    let whole = TYPE_BYTES + received.len as usize;
    asked.put(message, buffer.get(..whole).unwrap_or(&[]))?;
    asked.answer(&Ok(()), |()| received.len)
}
