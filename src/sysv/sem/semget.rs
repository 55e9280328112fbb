//! semget(2): which set a key opens, and what may be created.
//!
//! [`check_count`] comes before everything. Then, for a key that names a set: [`open_set`]. For one that does not:
//! [`missing_set_key`]; then, and for IPC_PRIVATE, [`check_new_set`].

use super::flags::{IPC_CREAT, IPC_EXCL};
use super::limits::SemLimits;
use super::state::SetPerm;
use crate::sysv::ipc::{Caller, Key, Ruling, may_access, refusal, wanted_bits};

/// Whether a set can have so many semaphores. Asked of existing sets, too.
pub fn check_count(count: i32, limits: &SemLimits) -> Ruling<()> {
    if count < 0 || count > limits.semmsl {
        // "nsems is less than 0 or greater than the limit on the number of semaphores per semaphore set (SEMMSL)."
        // - man semget(2)
        return Err(refusal!(
            Einval,
            [count, semmsl = limits.semmsl],
            "{} semaphores asked, semmsl is {}",
            count as i32,
            semmsl as i32
        ));
    }
    Ok(())
}

/// What semget gives for a key that names a set. Nothing about the set changes.
pub fn open_set(set: &SetPerm, count: i32, flags: i32, caller: &impl Caller) -> Ruling<()> {
    if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
        // "IPC_CREAT and IPC_EXCL were specified in semflg, but a semaphore set already exists for key."
        // - man semget(2)
        return Err(refusal!(
            Eexist,
            [key = set.key.0, id = set.perm.id.raw()],
            "key {} has semaphore set {id} already and IPC_EXCL was asked",
            Key(key as i32)
        ));
    }
    if i64::from(count) > i64::from(set.count) {
        // "A semaphore set corresponding to key already exists, but nsems is larger than the number of semaphores in that
        // set." - man semget(2)
        return Err(refusal!(
            Einval,
            [id = set.perm.id.raw(), has = set.count, count],
            "semaphore set {id} has {has} semaphores, {count} asked"
        ));
    }
    may_access(&set.perm, wanted_bits(flags), caller)
}

/// Whether semget may go on to create, when no set has `key`.
pub fn missing_set_key(key: Key, flags: i32) -> Ruling<()> {
    if flags & IPC_CREAT == 0 && !key.is_private() {
        // "No semaphore set exists for key and semflg did not specify IPC_CREAT." - man semget(2)
        return Err(refusal!(
            Enoent,
            [key = key.0],
            "key {} has no semaphore set and IPC_CREAT was not asked",
            Key(key as i32)
        ));
    }
    Ok(())
}

/// Whether there may be one set more, with `count` semaphores, than the `sets` that there are with `semaphores_in_use`.
pub fn check_new_set(
    count: i32,
    semaphores_in_use: u32,
    sets: u32,
    limits: &SemLimits,
) -> Ruling<()> {
    if count == 0 {
        // The manual is silent: 0 stands for any number where the set exists, and a new set needs a semaphore.
        return Err(refusal!(
            Einval,
            [],
            "a new semaphore set needs at least one semaphore"
        ));
    }
    // "A semaphore set has to be created but the system limit for the maximum number of semaphore sets (SEMMNI), or the
    // system wide maximum number of semaphores (SEMMNS), would be exceeded." - man semget(2)
    if i64::from(semaphores_in_use) + i64::from(count) > i64::from(limits.semmns) {
        return Err(refusal!(
            Enospc,
            [count, semaphores_in_use, semmns = limits.semmns],
            "{count} semaphores asked, {semaphores_in_use} in use, semmns is {}",
            semmns as i32
        ));
    }
    if i64::from(sets) >= i64::from(limits.semmni) {
        return Err(refusal!(
            Enospc,
            [sets, semmni = limits.semmni],
            "there are {sets} semaphore sets, semmni is {}",
            semmni as i32
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysv::Errno::{self, Eacces, Eexist, Einval, Enoent, Enospc};
    use crate::sysv::for_tests::{OWNER, Person, STRANGER, errno, refused, set_perm};

    const LIMITS: SemLimits = SemLimits::KERNEL_DEFAULTS;

    #[test]
    fn a_count_is_within_semmsl_before_anything_else() {
        let lowered = SemLimits {
            semmsl: 2,
            ..LIMITS
        };
        let none = SemLimits {
            semmsl: -1,
            ..LIMITS
        };
        for (count, limits, expected) in [
            (-1, LIMITS, Some(Einval)),
            (i32::MIN, LIMITS, Some(Einval)),
            (0, LIMITS, None),
            (32000, LIMITS, None),
            (32001, LIMITS, Some(Einval)),
            (2, lowered, None),
            (3, lowered, Some(Einval)),
            (0, none, Some(Einval)),
        ] {
            assert_eq!(errno(check_count(count, &limits)), expected, "{count}");
        }
        assert_eq!(
            refused(check_count(-3, &none)),
            Some((Einval, "-3 semaphores asked, semmsl is -1".into()))
        );
    }

    #[test]
    fn opening_refuses_exclusion_then_size_then_rights() {
        let exclusive = IPC_CREAT | IPC_EXCL;
        for (mode, count, flags, euid, expected) in [
            (0o600, 9, exclusive | 0o777, STRANGER, Some(Eexist)),
            (0o600, 4, 0o777, STRANGER, Some(Einval)),
            (0o600, 3, 0o777, STRANGER, Some(Eacces)),
            (0o600, 3, 0o600, OWNER, None),
            (0o600, 0, IPC_CREAT | 0o600, OWNER, None),
            (0o600, 1, IPC_EXCL, OWNER, None),
            (0, 3, 0, STRANGER, None),
            (0o604, 3, 0o4, STRANGER, None),
            (0o604, 3, 0o2, STRANGER, Some(Eacces)),
        ] {
            let ruling = open_set(&set_perm(mode, 3), count, flags, &Person::with_euid(euid));
            assert_eq!(errno(ruling), expected, "{mode:o} {count} {flags:o} {euid}");
        }
    }

    #[test]
    fn an_unknown_key_needs_ipc_creat() {
        assert_eq!(
            errno(missing_set_key(Key(1), IPC_EXCL | 0o600)),
            Some(Enoent)
        );
        assert_eq!(errno(missing_set_key(Key(1), IPC_CREAT)), None);
        assert_eq!(errno(missing_set_key(Key::PRIVATE, 0)), None);
    }

    #[test]
    fn a_new_set_has_semaphores_and_room_for_them() {
        let limits = SemLimits {
            semmns: 10,
            semmni: 2,
            ..LIMITS
        };
        let without_limits = SemLimits {
            semmns: -1,
            ..limits
        };
        for (count, semaphores, sets, limits, expected) in [
            (0, 10, 2, limits, Some(Einval)),
            (5, 6, 0, limits, Some(Enospc)),
            (5, 5, 1, limits, None),
            (5, 5, 2, limits, Some(Enospc)),
            (1, u32::MAX, 0, limits, Some(Enospc)),
            (1, 0, 0, without_limits, Some(Enospc)),
        ] {
            let ruling = check_new_set(count, semaphores, sets, &limits);
            assert_eq!(errno(ruling), expected, "{count} {semaphores} {sets}");
        }
    }

    #[test]
    fn refusals_say_what_was_asked_and_what_there_is() {
        let owner = Person::with_euid(OWNER);
        let check = |ruling, errno: Errno, sentence: &str| {
            assert_eq!(refused::<()>(ruling), Some((errno, sentence.into())));
        };
        check(
            open_set(&set_perm(0o600, 3), 0, IPC_CREAT | IPC_EXCL, &owner),
            Eexist,
            "key 0x0000162e has semaphore set 32769 already and IPC_EXCL was asked",
        );
        check(
            open_set(&set_perm(0o600, 3), 4, 0, &owner),
            Einval,
            "semaphore set 32769 has 3 semaphores, 4 asked",
        );
        check(
            open_set(&set_perm(0o400, 3), 3, 0o200, &owner),
            Eacces,
            "semaphore set 32769 with mode 0400 grants its owner r--, -w- asked",
        );
        check(
            missing_set_key(Key(-2), 0),
            Enoent,
            "key 0xfffffffe has no semaphore set and IPC_CREAT was not asked",
        );
        check(
            check_new_set(
                5,
                7,
                0,
                &SemLimits {
                    semmns: 9,
                    ..LIMITS
                },
            ),
            Enospc,
            "5 semaphores asked, 7 in use, semmns is 9",
        );
        check(
            check_new_set(
                5,
                7,
                3,
                &SemLimits {
                    semmni: 3,
                    ..LIMITS
                },
            ),
            Enospc,
            "there are 3 semaphore sets, semmni is 3",
        );
    }
}
