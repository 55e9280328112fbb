//! The text of `/proc/sysvipc/sem`.

use core::fmt;

use super::state::SetPerm;

/// The first line.
pub const SEM_HEADER: &str =
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";

/// Writes the line of one set. The sets follow each other by ascending index, and everybody sees all of them.
pub fn write_sem_line(out: &mut impl fmt::Write, set: &SetPerm) -> fmt::Result {
    let perm = &set.perm;
    writeln!(
        out,
        "{:10} {:10}  {:4o} {:10} {:5} {:5} {:5} {:5} {:10} {:10}",
        set.key.0,
        perm.id.raw(),
        perm.mode,
        set.count,
        perm.uid,
        perm.gid,
        perm.cuid,
        perm.cgid,
        set.otime as u64,
        set.ctime as u64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::for_tests::set_perm;
    use crate::sysv::{IpcPerm, Key, ShmId};

    fn line(set: &SetPerm) -> String {
        let mut line = String::new();
        assert_eq!(write_sem_line(&mut line, set), Ok(()));
        line
    }

    /// A set of root's.
    fn roots(key: i32, mode: u32, count: u32, slot: u32) -> SetPerm {
        let set = set_perm(mode, count);
        SetPerm {
            key: Key(key),
            perm: IpcPerm {
                id: ShmId::new(slot, 0),
                uid: 0,
                gid: 0,
                cuid: 0,
                cgid: 0,
                ..set.perm
            },
            ctime: 1795915071,
            ..set
        }
    }

    // The lines are Linux's own, of sets made to be like these.

    #[test]
    fn a_set_after_a_call_of_semop() {
        let set = SetPerm {
            otime: 1795915071,
            ..roots(5678, 0o640, 3, 0)
        };
        assert_eq!(
            line(&set),
            "      5678          0   640          3     0     0     0     0 1795915071 1795915071\n"
        );
    }

    #[test]
    fn a_negative_key_and_a_large_set() {
        assert_eq!(
            line(&roots(-2, 0, 32000, 1)),
            "        -2          1     0      32000     0     0     0     0          0 1795915071\n"
        );
    }

    #[test]
    fn the_header_stands_over_the_columns() {
        assert_eq!(SEM_HEADER.len(), line(&set_perm(0o600, 3)).len());
        assert!(SEM_HEADER.ends_with("ctime\n"));
    }
}
