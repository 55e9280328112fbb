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
