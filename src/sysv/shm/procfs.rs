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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::for_tests::segment;
    use crate::sysv::{Key, ShmId};

    fn line(seg: &Segment, rss_bytes: u64) -> String {
        let mut line = String::new();
        assert_eq!(write_shm_line(&mut line, seg, rss_bytes, 0), Ok(()));
        line
    }

    // The three lines below are Linux's own, of segments made to be like these.

    #[test]
    fn a_segment_that_was_never_attached() {
        let seg = Segment {
            id: ShmId::new(0, 0),
            uid: 0,
            gid: 0,
            cuid: 0,
            cgid: 0,
            ctime: 1795416657,
            ..segment(0o600)
        };
        assert_eq!(
            line(&seg, 0),
            "      5678          0   600                  4096  4200     0      0     0     0     0     0          0          0 1795416657                     0                     0\n"
        );
    }

    #[test]
    fn a_large_segment_marked_and_locked() {
        let seg = Segment {
            id: ShmId::new(1, 0),
            key: Key::PRIVATE,
            uid: 0,
            gid: 0,
            cuid: 0,
            cgid: 0,
            segsz: 1 << 45,
            atime: 1795416657,
            ctime: 1795416657,
            lpid: 4200,
            nattch: 1,
            ..segment(0o3777)
        };
        assert_eq!(
            line(&seg, 8192),
            "         0          1  3777        35184372088832  4200  4200      1     0     0     0     0 1795416657          0 1795416657                  8192                     0\n"
        );
    }

    #[test]
    fn a_negative_key_and_an_owner_wider_than_its_column() {
        let seg = Segment {
            id: ShmId::new(2, 0),
            key: Key(-2),
            uid: 4000000000,
            gid: 1,
            cuid: 0,
            cgid: 0,
            segsz: 1,
            ctime: 1795416657,
            ..segment(0)
        };
        assert_eq!(
            line(&seg, 0),
            "        -2          2     0                     1  4200     0      0 4000000000     1     0     0          0          0 1795416657                     0                     0\n"
        );
    }

    #[test]
    fn the_header_stands_over_the_columns() {
        assert_eq!(SHM_HEADER.len(), line(&segment(0o600), 0).len());
        assert!(SHM_HEADER.ends_with("swap\n"));
    }
}
