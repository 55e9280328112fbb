//! The text of `/proc/sysvipc/msg`.

use core::fmt;

use super::state::QueueFacts;

/// The first line.
pub const MSG_HEADER: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";

/// Writes the line of one queue. The queues follow each other by ascending slot, and everybody sees all of them.
pub fn write_msg_line(out: &mut impl fmt::Write, queue: &QueueFacts) -> fmt::Result {
    let perm = &queue.perm;
    write!(
        out,
        "{:10} {:10}  {:4o}  {:10} {:10} {:5} {:5} ",
        queue.key.0,
        perm.id.raw(),
        perm.mode,
        queue.cbytes,
        queue.qnum,
        queue.lspid as u32,
        queue.lrpid as u32,
    )?;
    writeln!(
        out,
        "{:5} {:5} {:5} {:5} {:10} {:10} {:10}",
        perm.uid,
        perm.gid,
        perm.cuid,
        perm.cgid,
        queue.stime as u64,
        queue.rtime as u64,
        queue.ctime as u64,
    )
}

#[cfg(test)]
mod tests {
    use super::super::for_tests::facts;
    use super::*;
    use crate::sysv::{IpcPerm, Key, ShmId};

    fn line(queue: &QueueFacts) -> String {
        let mut line = String::new();
        assert_eq!(write_msg_line(&mut line, queue), Ok(()));
        line
    }

    // The lines below are Linux's own, of queues made to be like these.

    #[test]
    fn a_new_queue() {
        let queue = QueueFacts {
            perm: IpcPerm {
                id: ShmId::new(0, 0),
                uid: 0,
                gid: 0,
                cuid: 0,
                cgid: 0,
                ..facts(0o600).perm
            },
            key: Key(5678),
            ctime: 1795914747,
            ..facts(0o600)
        };
        assert_eq!(
            line(&queue),
            "      5678          0   600           0          0     0     0     0     0     0     0          0          0 1795914747\n"
        );
    }

    #[test]
    fn a_negative_key_and_an_owner_wider_than_its_column() {
        let queue = QueueFacts {
            perm: IpcPerm {
                id: ShmId::new(1, 0),
                uid: 4000000000,
                gid: 1,
                cuid: 0,
                cgid: 0,
                ..facts(0o640).perm
            },
            key: Key(-2),
            stime: 1795914747,
            rtime: 1795914747,
            ctime: 1795914747,
            cbytes: 20,
            qnum: 1,
            lspid: 26276,
            lrpid: 26276,
            ..facts(0o640)
        };
        assert_eq!(
            line(&queue),
            "        -2          1   640          20          1 26276 26276 4000000000     1     0     0 1795914747 1795914747 1795914747\n"
        );
    }

    #[test]
    fn the_header_stands_over_the_columns() {
        assert_eq!(MSG_HEADER.len(), line(&facts(0o600)).len());
        assert!(MSG_HEADER.ends_with("ctime\n"));
    }
}
