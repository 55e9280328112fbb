//! SHM_HUGETLB: who may have huge pages, and whether there are any.

use super::credentials::Thread;
use super::error::{Error, Outcome};
use super::process::Registry;
use crate::os::signal_mask::Blocked;
use crate::os::{helper_process, huge};
use crate::storage::StorageError;
use crate::sysv::{self, Caller, HugePages, Refusal, flags, refusal};

/// Which huge pages a creation with these flags gets, `None` when it did not ask for any: kernel-semantics' D3 and
/// D4, and as much of D5 as can be known without trying. No session is held: this reads files of the system and may make
/// a directory.
#[inline]
pub fn ask(registry: &'static Registry, shmflg: i32) -> Outcome<Option<HugePages>> {
    if shmflg & flags::SHM_HUGETLB == 0 {
        Ok(None)
    } else {
        ask_system(registry, shmflg)
    }
}

#[cold]
#[inline(never)]
fn ask_system(registry: &'static Registry, shmflg: i32) -> Outcome<Option<HugePages>> {
    let _blocked = Blocked::all();
    let _undisturbed = registry.hold_off_forks();
    let mut sizes = [0u32; 16];
    let count = helper_process::with_descriptor(|| huge::page_sizes_log2(&mut sizes)).unwrap_or(0);
    let group = helper_process::with_descriptor(huge::allowed_group).unwrap_or(None);
    let in_group = group.is_some_and(|gid| Thread.in_group(gid));
    let sizes = sizes.get(..count).unwrap_or(&[]);
    let Some(pages) = sysv::check_hugetlb(shmflg, sizes, in_group, &Thread)? else {
        return Ok(None);
    };
    match registry
        .namespace
        .files()
        .huge()
        .ensure_home(pages.size_log2)
    {
        Ok(true) => Ok(Some(pages)),
        // Divergence: the kernel has a hugetlbfs of its own for this, which programs cannot use.
        Ok(false) => Err(not_mounted(pages.size_log2).into()),
        Err(error) => Err(Error::of_huge_home(error)),
    }
}

/// The rest of D5, where it has to come before another error: whether the pages could be had at this moment.
pub fn check_free(pages: HugePages, size: u64, shmflg: i32) -> Outcome<()> {
    let len = pages.round_up(size).unwrap_or(0);
    if shmflg & flags::SHM_NORESERVE != 0 || huge::could_reserve(pages.size_log2, len) {
        Ok(())
    } else {
        Err(none_free(size))
    }
}

/// Why the file of a new segment could not be made.
pub fn why_not_made(size: u64, error: StorageError) -> Error {
    match error {
        StorageError::Call { .. } => none_free(size),
        _ => error.into(),
    }
}

fn none_free(size: u64) -> Error {
    refusal!(Enomem, [size], "too few free huge pages for {size} bytes").into()
}

/// No hugetlbfs with pages of that size is mounted.
fn not_mounted(size_log2: u32) -> Refusal {
    refusal!(
        Enomem,
        [size_log2],
        "no hugetlbfs with pages of {number} {unit}iB is mounted; as root: mkdir -p /dev/hugepages && mount -t hugetlbfs -o mode=1777,pagesize={number}{unit} none /dev/hugepages",
        number = 1 << (size_log2 % 10),
        unit = match size_log2 / 10 {
            1 => "K",
            2 => "M",
            _ => "G",
        }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_size() {
        assert_eq!(
            none_free(100).why.to_string(),
            "too few free huge pages for 100 bytes"
        );
        for (size_log2, pages, option) in [
            (16, "64 KiB", "64K"),
            (21, "2 MiB", "2M"),
            (25, "32 MiB", "32M"),
            (29, "512 MiB", "512M"),
            (30, "1 GiB", "1G"),
            (34, "16 GiB", "16G"),
        ] {
            let sentence = not_mounted(size_log2).reason.to_string();
            assert!(
                sentence.starts_with(&format!("no hugetlbfs with pages of {pages} is mounted;"))
            );
            assert!(sentence.contains(&format!(",pagesize={option} none ")));
        }
    }
}
