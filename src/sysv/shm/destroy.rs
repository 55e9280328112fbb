//! When a segment is destroyed: the one rule, which everything that may end a segment asks.
//!
//! | what has happened | asked |
//! |---|---|
//! | an attach ended: shmdt, munmap, a process died, an attach that failed late | [`must_destroy`] |
//! | IPC_RMID has marked the segment | [`must_destroy`] |
//! | a process that is about to exit is the last to have it attached | [`must_destroy`] |
//! | the creator has ended, or shm_rmid_forced was set after that | [`must_destroy_orphan`] |

/// Whether a segment is destroyed that `nattch` attaches are left of.
pub fn must_destroy(marked: bool, nattch: u64, rmid_forced: bool) -> bool {
    // "Mark the segment to be destroyed. The segment will actually be destroyed only after
    // the last process detaches it" - man shmctl(2)
    //
    // With shm_rmid_forced every segment is treated as if it were marked.
    nattch == 0 && (marked || rmid_forced)
}

/// Whether a segment is destroyed though nothing was detached: with shm_rmid_forced, once its creator has ended. The
/// creator's other threads do not save it; a creator that is still there keeps an unattached segment alive.
pub fn must_destroy_orphan(nattch: u64, rmid_forced: bool, creator_alive: bool) -> bool {
    !creator_alive && must_destroy(false, nattch, rmid_forced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_goes_when_nothing_is_left_and_it_is_marked_or_forced() {
        for (marked, nattch, rmid_forced, goes) in [
            (false, 0, false, false),
            (true, 0, false, true),
            (false, 0, true, true),
            (true, 0, true, true),
            (true, 1, true, false),
            (true, u64::MAX, true, false),
        ] {
            assert_eq!(must_destroy(marked, nattch, rmid_forced), goes);
        }
    }

    #[test]
    fn an_orphan_goes_only_when_forced_and_unattached() {
        for (nattch, rmid_forced, creator_alive, goes) in [
            (0, true, false, true),
            (0, true, true, false),
            (0, false, false, false),
            (1, true, false, false),
        ] {
            let ruling = must_destroy_orphan(nattch, rmid_forced, creator_alive);
            assert_eq!(ruling, goes);
        }
    }
}
