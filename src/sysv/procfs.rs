//! The text of `/proc/sysvipc/shm`.

use core::fmt;

use super::segment::Segment;

/// The first line.
pub const SHM_HEADER: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

/// Writes the line of one segment. The segments follow each other by ascending slot, and
/// everybody sees all of them. `rss_bytes` are resident, `swap_bytes` swapped out.
pub fn write_shm_line(
    out: &mut impl fmt::Write,
    seg: &Segment,
    rss_bytes: u64,
    swap_bytes: u64,
) -> fmt::Result {
    write!(
        out,
        "{:10} {:10}  {:4o} {:21} {:5} {:5}  {:5} {:5} {:5} {:5} {:5} ",
        seg.key.0,
        seg.id.raw(),
        seg.mode,
        seg.segsz,
        seg.cpid as u32,
        seg.lpid as u32,
        seg.nattch,
        seg.uid,
        seg.gid,
        seg.cuid,
        seg.cgid,
    )?;
    writeln!(
        out,
        "{:10} {:10} {:10} {:21} {:21}",
        seg.atime as u64, seg.dtime as u64, seg.ctime as u64, rss_bytes, swap_bytes,
    )
}
