//! SHM_HUGETLB.

use super::caller::Thread;
use super::failure::Outcome;
use crate::os::huge;
use crate::sysv::{Caller, Errno, Reason, Refusal, shmget as rules};

/// Decides about SHM_HUGETLB: kernel-semantics' D3 to D5.
///
/// Divergence: a segment of huge pages is refused as on a machine that has none free, also with SHM_NORESERVE.
pub fn check(size: u64, shmflg: i32) -> Outcome<()> {
    if shmflg & crate::sysv::flags::SHM_HUGETLB == 0 {
        return Ok(());
    }
    let mut sizes = [0u32; 16];
    let count = huge::page_sizes_log2(&mut sizes);
    let in_group = huge::allowed_group().is_some_and(|gid| Thread.in_group(gid));
    rules::check_hugetlb(shmflg, sizes.get(..count).unwrap_or(&[]), in_group, &Thread)?;
    Err(Refusal {
        errno: Errno::Enomem,
        reason: Reason::NoHugePages { asked: size },
    }
    .into())
}
