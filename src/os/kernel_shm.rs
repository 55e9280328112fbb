//! The kernel's own segments, semaphores and messages, past whatever serves programs in its place: for the command, which shows and
//! copies them.

use super::pages::PageVec;
use super::{OsError, OsResult, raw};

/// SHM_RDONLY.
const READ_ONLY: usize = 0o10000;

/// A segment of the kernel's, attached to be read. It is detached when this is dropped.
pub struct KernelAttach {
    addr: usize,
}

impl KernelAttach {
    /// `shmat` with `SHM_RDONLY`, wherever there is room. The kernel counts it as an attach, and stamps the segment.
    pub fn to_read(shmid: i32) -> OsResult<KernelAttach> {
        let args = [shmid as usize, 0, READ_ONLY];
        // SAFETY: the kernel chooses the address; nothing is replaced, and nobody is given a reference to what is there.
        let addr = unsafe { raw::call(raw::sysv::SHMAT, args) }?;
        Ok(KernelAttach { addr })
    }

    /// Where it lies in this process.
    pub fn address(&self) -> u64 {
        self.addr as u64
    }
}

impl Drop for KernelAttach {
    fn drop(&mut self) {
        // SAFETY: our own attach, to whose bytes there are no references.
        let _ = unsafe { raw::call(raw::sysv::SHMDT, [self.addr]) };
    }
}

/// What can be asked of a semaphore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SemQuestion {
    /// GETPID: the process that changed it last.
    Pid = 11,
    /// GETVAL.
    Value = 12,
    /// GETNCNT: how many sleep until it grows.
    Growth = 14,
    /// GETZCNT: how many sleep until it is 0.
    Zero = 15,
}

/// Asks something of one semaphore of a set of the kernel's.
pub fn ask_semaphore(id: i32, number: u32, question: SemQuestion) -> OsResult<i32> {
    let args = [id as usize, number as usize, question as usize, 0];
    // SAFETY: these commands take no pointer and change nothing.
    unsafe { raw::call(raw::sysv::SEMCTL, args) }.map(|answer| answer as i32)
}

/// The values of all semaphores of a set of the kernel's, at one moment (GETALL).
pub fn all_values(id: i32, count: u32) -> OsResult<PageVec<u16>> {
    const GETALL: usize = 13;
    // No set has more; and one of which the number of semaphores was another one could be written whole.
    const MOST: usize = 65536;
    let mut values = PageVec::new();
    values.resize(MOST.max(count as usize), 0u16)?;
    let args = [id as usize, 0, GETALL, values.as_mut_ptr() as usize];
    // SAFETY: the kernel writes a value for each semaphore, for which there is room.
    unsafe { raw::call(raw::sysv::SEMCTL, args) }?;
    values.resize(count as usize, 0)?;
    Ok(values)
}

/// What IPC_STAT tells of a queue of the kernel's and `/proc/sysvipc/msg` does not, and by what a change is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueNow {
    /// Messages in it.
    pub messages: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Bytes that it may hold.
    pub capacity: u64,
    /// Who sent and received last, and when: seconds since 1970.
    pub last: [i64; 4],
}

/// The kernel's `struct msqid64_ds`. A time has its lower half first.
#[repr(C)]
#[derive(Default)]
struct Msqid {
    perm: [usize; if cfg!(target_pointer_width = "64") {
        6
    } else {
        9
    }],
    times: [[u32; 2]; 3],
    bytes: usize,
    messages: usize,
    capacity: usize,
    senders: [i32; 2],
    unused: [usize; 2],
}

const _: () = assert!(
    size_of::<Msqid>()
        == if cfg!(target_pointer_width = "64") {
            120
        } else {
            88
        }
);

/// Not in every libc.
const IPC_STAT: usize = 2;
const IPC_NOWAIT: i32 = 0o4000;

/// Asks for it. It takes the right to read the queue.
pub fn queue_now(id: i32) -> OsResult<QueueNow> {
    let mut stat = Msqid::default();
    let args = [id as usize, IPC_STAT, &raw mut stat as usize];
    // SAFETY: the kernel fills the structure, which is the one that it knows and may hold anything.
    unsafe { raw::call(raw::sysv::MSGCTL, args) }?;
    let [sent, received, _] = stat
        .times
        .map(|[low, high]| i64::from(high) << 32 | i64::from(low));
    let [sender, receiver] = stat.senders.map(i64::from);
    Ok(QueueNow {
        messages: stat.messages as u64,
        bytes: stat.bytes as u64,
        capacity: stat.capacity as u64,
        last: [sender, receiver, sent, received],
    })
}

/// Copies the message of a queue of the kernel's with this place from the oldest on, which stays where it is (MSG_COPY); `room`: bytes
/// that its text has at most. Calls `with` with its type and its text. `ENOSYS`: the kernel was built without
/// `CONFIG_CHECKPOINT_RESTORE`, and can only take messages out.
pub fn copy_message<T>(
    id: i32,
    place: u32,
    room: usize,
    with: impl FnOnce(i64, &[u8]) -> T,
) -> OsResult<T> {
    const COPY: i32 = 0o40000 | IPC_NOWAIT;
    const WORD: usize = size_of::<usize>();
    let mut buffer = PageVec::new();
    // The type, and a byte at least: the kernel reads what it overwrites.
    buffer.resize(WORD + room.max(1), 0u8)?;
    let args = [
        id as usize,
        buffer.as_mut_ptr() as usize,
        room,
        place as usize,
        COPY as usize,
    ];
    // SAFETY: the kernel writes the type, a word, and a text of `room` bytes at most behind it.
    let len = unsafe { raw::call(raw::sysv::MSGRCV, args) }?;
    let (mtype, text) = buffer.split_at_checked(WORD).ok_or(OsError(libc::EFAULT))?;
    let mtype = isize::from_ne_bytes(mtype.try_into().unwrap_or_default());
    let text = text.get(..len).ok_or(OsError(libc::EFAULT))?;
    Ok(with(mtype as i64, text))
}
