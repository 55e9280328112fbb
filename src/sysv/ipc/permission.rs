//! Who may do what to an object, and to a namespace: the rules that all kinds of objects share.

use super::flags::MODE_BITS;
use super::id::ShmId;
use super::kind::{Kind, Named};
use super::refusal::{Ruling, refusal};
use core::fmt;

/// Whose an object is and what its mode grants: `struct ipc_perm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpcPerm {
    /// What the object is.
    pub kind: Kind,
    /// The object's identifier.
    pub id: ShmId,
    /// Owner.
    pub uid: u32,
    /// Owner's group.
    pub gid: u32,
    /// Creator; never changes.
    pub cuid: u32,
    /// Creator's group; never changes.
    pub cgid: u32,
    /// The permission bits, and others above them.
    pub mode: u32,
}

impl IpcPerm {
    /// Kind and identifier as one number of a sentence.
    fn named(&self) -> u64 {
        Named::number(self.kind, self.id)
    }
}

/// A privilege that some rule asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    /// CAP_IPC_OWNER: every access to every object.
    IpcOwner,
    /// CAP_SYS_ADMIN: IPC_SET and IPC_RMID of any object.
    SysAdmin,
    /// CAP_IPC_LOCK: SHM_LOCK of any segment without limit, huge pages.
    IpcLock,
    /// CAP_SYS_RESOURCE: a message queue of more bytes than the limit.
    SysResource,
}

/// The calling thread, as the rules see it. Each answer may cost a system call: a rule asks only what it needs, and in
/// the order of what answers are likely to cost.
pub trait Caller {
    /// The effective user id.
    fn euid(&self) -> u32;
    /// Whether `gid` is the file system group id (not the effective one) or one of the
    /// supplementary groups.
    fn in_group(&self, gid: u32) -> bool;
    /// Whether the capability is effective.
    fn capable(&self, capability: Capability) -> bool;
}

/// How far the owner's bits of a mode stand from the right.
const OWNER_SHIFT: u32 = 6;
/// The same of the group's.
const GROUP_SHIFT: u32 = 3;

/// Whose bits of a mode stand there.
fn class_name(shift: u64) -> &'static str {
    match shift as u32 {
        OWNER_SHIFT => "owner",
        GROUP_SHIFT => "group",
        _ => "others",
    }
}

/// One class's bits, as ls shows them.
struct Rwx(u64);

impl fmt::Display for Rwx {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(4, "r"), (2, "w"), (1, "x")] {
            out.write_str(if self.0 & bit != 0 { letter } else { "-" })?;
        }
        Ok(())
    }
}

/// Whether the caller may do `wanted`, an OR of [`READ`](super::flags::READ),
/// [`WRITE`](super::flags::WRITE) and [`EXEC`](super::flags::EXEC).
///
/// Exactly one class of the mode decides, the first that fits: what the owner is refused,
/// the bits of group and others do not give back. A caller who wants nothing is never refused.
pub fn may_access(perm: &IpcPerm, wanted: u32, caller: &impl Caller) -> Ruling<()> {
    let wanted = wanted & 7;
    // Where every class grants it, it does not matter which one the caller is in.
    if owners_bits_grant(perm.mode, false, wanted) {
        return Ok(());
    }
    let shift = if owns(perm, caller) {
        OWNER_SHIFT
    } else if caller.in_group(perm.cgid) || (perm.gid != perm.cgid && caller.in_group(perm.gid)) {
        GROUP_SHIFT
    } else {
        0
    };
    let mode = perm.mode & MODE_BITS;
    let granted = mode >> shift;
    if wanted & !granted != 0 && !caller.capable(Capability::IpcOwner) {
        // "The user does not have permission to access the shared memory segment, and does
        // not have the CAP_IPC_OWNER capability in the user namespace that governs its IPC
        // namespace." - man shmget(2), man semop(2) and man msgop(2) alike
        return Err(refusal!(
            Eacces,
            [object = perm.named(), mode, shift, wanted],
            "{} with mode {mode:04o} grants its {} {}, {} asked",
            Named::numbered(object),
            class_name(shift),
            Rwx(mode >> shift),
            Rwx(wanted)
        ));
    }
    Ok(())
}

/// Whether `wanted` is granted for no other reason than what the owner's bits say to an owner or creator, and to anybody
/// else what all three classes have in common: then nothing needs to be known of the caller's groups and capabilities.
#[inline(always)]
pub fn owners_bits_grant(mode: u32, is_owner: bool, wanted: u32) -> bool {
    let owner = mode >> 6 & 7;
    let granted = if is_owner {
        owner
    } else {
        owner & mode >> 3 & mode
    };
    wanted & 7 & !granted == 0
}

/// Whether the caller is the object's owner or creator. Giving an object away does not
/// take this from its creator.
pub fn owns(perm: &IpcPerm, caller: &impl Caller) -> bool {
    is_owner(caller.euid(), perm.uid, perm.cuid)
}

/// The same, for a caller with only its effective user id known.
#[inline(always)]
pub fn is_owner(euid: u32, uid: u32, cuid: u32) -> bool {
    euid == cuid || euid == uid
}

/// Whether the caller is owner or creator, or has the capability `instead`; the mode plays no part.
pub fn must_own(perm: &IpcPerm, caller: &impl Caller, instead: Capability) -> Ruling<()> {
    if owns(perm, caller) || caller.capable(instead) {
        return Ok(());
    }
    // "the effective user ID of the calling process is not that of the creator (found in
    // shm_perm.cuid), or the owner (found in shm_perm.uid), and the process was not
    // privileged" - man shmctl(2), man semctl(2) and man msgctl(2) alike
    Err(refusal!(
        Eperm,
        [
            object = perm.named(),
            uid = perm.uid,
            cuid = perm.cuid,
            euid = caller.euid()
        ],
        "{} is owned by uid {uid} and was created by uid {cuid}, the caller is uid {euid}",
        Named::numbered(object)
    ))
}

/// What IPC_SET is to set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewPerm {
    /// The new owner.
    pub uid: u32,
    /// The new group.
    pub gid: u32,
    /// The new permission bits.
    pub mode: u32,
}

/// Whether an object can have `new`, and what is then set: the permission bits alone. Others of the mode stay as they are.
pub fn check_new_perm(new: &NewPerm) -> Ruling<NewPerm> {
    if new.uid == u32::MAX || new.gid == u32::MAX {
        // The manual is silent: −1 is nobody's id, and the whole call fails for it.
        return Err(refusal!(
            Einval,
            [uid = new.uid, gid = new.gid],
            "uid {} and gid {} asked, nobody has the id -1",
            uid as i32,
            gid as i32
        ));
    }
    // "shm_perm.uid, shm_perm.gid, and (the least significant 9 bits of) shm_perm.mode."
    // - man shmctl(2), man semctl(2) and man msgctl(2) alike
    Ok(NewPerm {
        mode: new.mode & MODE_BITS,
        ..*new
    })
}

/// The rights that the low nine bits of a get call's flags ask for on an existing object. The three
/// classes mean the same here: 0004, 0040 and 0400 all ask for reading.
pub fn wanted_bits(flags: i32) -> u32 {
    let bits = flags as u32 & MODE_BITS;
    (bits >> 6 | bits >> 3 | bits) & 7
}

/// The mode of a new object. The umask plays no part.
pub fn new_mode(flags: i32) -> u32 {
    // "The least significant 9 bits of shm_perm.mode are set to the least significant 9
    // bit of shmflg." - man shmget(2), man semget(2) and man msgget(2) alike
    flags as u32 & MODE_BITS
}

/// Whether a process may unlink the files of the creator `cuid`: in a sticky directory, which all share, its own, and as
/// root or as the directory's owner all. In a directory of one user everybody who gets there may try.
pub fn may_unlink(euid: u32, cuid: u32, directory_owner: u32, is_shared: bool) -> bool {
    !is_shared || euid == 0 || euid == cuid || euid == directory_owner
}

/// Whether a process may set the limits of a namespace: root, and the user whose own the namespace is.
///
/// Divergence: the kernel asks for the uid 0 of the user namespace that the IPC namespace belongs to.
pub fn may_set_limits(euid: u32, sole_user: Option<u32>) -> bool {
    euid == 0 || sole_user == Some(euid)
}

#[cfg(test)]
mod tests {
    use super::super::flags::{EXEC, READ, WRITE};
    use super::*;
    use crate::sysv::Errno;
    use crate::sysv::for_tests::{
        ALL_CAPABILITIES, CREATOR, OWNER, Person, STRANGER, errno, refused, segment,
    };

    const MODES: [u32; 12] = [
        0o700, 0o070, 0o007, 0o400, 0o600, 0o200, 0o040, 0o004, 0o500, 0o300, 0o640, 0o777,
    ];

    /// What of "rwxs" the caller may: shmat with SHM_RDONLY, shmat, shmat with SHM_RDONLY and
    /// SHM_EXEC, IPC_STAT.
    fn granted(mode: u32, caller: &Person) -> String {
        [
            ('r', READ),
            ('w', READ | WRITE),
            ('x', READ | EXEC),
            ('s', READ),
        ]
        .into_iter()
        .filter(|(_, wanted)| {
            let ruling = may_access(&segment(mode).perm(), *wanted, caller);
            assert!(ruling.is_ok() || errno(ruling) == Some(Errno::Eacces));
            ruling.is_ok()
        })
        .map(|(letter, _)| letter)
        .collect()
    }

    fn check(who: &str, caller: &Person, expected: [&str; 12]) {
        for (mode, expected) in MODES.into_iter().zip(expected) {
            assert_eq!(granted(mode, caller), expected, "{who}, mode {mode:04o}");
        }
    }

    #[test]
    fn owner_and_creator_are_judged_by_the_owners_bits_alone() {
        let expected = [
            "rwxs", "", "", "rs", "rws", "", "", "", "rxs", "", "rws", "rwxs",
        ];
        check("creator", &Person::with_euid(CREATOR), expected);
        check("owner", &Person::with_euid(OWNER), expected);
        let too = Person::with_euid(OWNER).in_groups(&[OWNER, CREATOR]);
        check("owner in the group", &too, expected);
    }

    #[test]
    fn both_groups_are_judged_by_the_groups_bits_alone() {
        let expected = ["", "rwxs", "", "", "", "", "rs", "", "", "", "rs", "rwxs"];
        let stranger = Person::with_euid(STRANGER);
        check("gid", &stranger.clone().in_groups(&[7, OWNER]), expected);
        check("cgid", &stranger.in_groups(&[CREATOR]), expected);
    }

    #[test]
    fn everybody_else_is_judged_by_the_last_bits_root_without_capabilities_too() {
        let expected = ["", "", "rwxs", "", "", "", "", "rs", "", "", "", "rwxs"];
        check("stranger", &Person::with_euid(STRANGER), expected);
        check("root", &Person::with_euid(0), expected);
        let others = &[Capability::SysAdmin, Capability::IpcLock];
        check(
            "wrong capability",
            &Person::with_euid(0).with(others),
            expected,
        );
    }

    #[test]
    fn cap_ipc_owner_grants_everything() {
        let caller = Person::with_euid(STRANGER).with(&[Capability::IpcOwner]);
        check("capable", &caller, ["rwxs"; 12]);
        assert_eq!(may_access(&segment(0).perm(), 7, &caller), Ok(()));
    }

    #[test]
    fn the_owner_of_0077_has_less_than_a_stranger() {
        assert!(may_access(&segment(0o077).perm(), READ, &Person::with_euid(OWNER)).is_err());
        assert!(may_access(&segment(0o077).perm(), READ, &Person::with_euid(STRANGER)).is_ok());
    }

    #[test]
    fn a_caller_who_wants_nothing_is_not_even_asked() {
        let caller = Person::with_euid(STRANGER);
        assert_eq!(may_access(&segment(0).perm(), 0, &caller), Ok(()));
        assert_eq!(caller.asked.get(), [0, 0, 0]);
    }

    #[test]
    fn no_more_is_asked_than_is_needed() {
        let asked = |mode, caller: Person| {
            let granted = may_access(&segment(mode).perm(), READ, &caller).is_ok();
            (granted, caller.asked.get())
        };
        let stranger = Person::with_euid(STRANGER);
        // Everybody may read: who it is does not matter.
        assert_eq!(asked(0o444, stranger.clone()), (true, [0, 0, 0]));
        assert_eq!(asked(0o600, Person::with_euid(OWNER)), (true, [1, 0, 0]));
        assert_eq!(asked(0o604, stranger.clone()), (true, [1, 2, 0]));
        assert_eq!(asked(0o600, stranger), (false, [1, 2, 1]));
    }

    #[test]
    fn mode_flags_above_the_nine_bits_grant_nothing() {
        let caller = Person::with_euid(STRANGER);
        assert!(may_access(&segment(0o3000).perm(), READ, &caller).is_err());
        assert!(may_access(&segment(0o3007).perm(), 7, &caller).is_ok());
    }

    #[test]
    fn a_refusal_names_the_class_that_decided() {
        let refusal = may_access(
            &segment(0o640).perm(),
            READ | WRITE,
            &Person::with_euid(OWNER),
        );
        assert_eq!(refusal, Ok(()));
        let caller = Person::with_euid(STRANGER).in_groups(&[OWNER]);
        let sentence = "segment 32769 with mode 0640 grants its group r--, rw- asked";
        assert_eq!(
            refused(may_access(&segment(0o640).perm(), READ | WRITE, &caller)),
            Some((Errno::Eacces, sentence.into()))
        );
    }

    #[test]
    fn only_owner_and_creator_own() {
        assert!(owns(&segment(0).perm(), &Person::with_euid(OWNER)));
        assert!(owns(&segment(0).perm(), &Person::with_euid(CREATOR)));
        let capable = Person::with_euid(0).with(&ALL_CAPABILITIES);
        assert!(!owns(&segment(0o777).perm(), &capable));
    }

    #[test]
    fn only_creator_directory_owner_and_root_unlink_in_a_shared_directory() {
        const DIRECTORY_OWNER: u32 = 54009;
        for (euid, in_shared) in [
            (0, true),
            (CREATOR, true),
            (DIRECTORY_OWNER, true),
            (OWNER, false),
            (STRANGER, false),
        ] {
            assert_eq!(may_unlink(euid, CREATOR, DIRECTORY_OWNER, true), in_shared);
            assert!(may_unlink(euid, CREATOR, DIRECTORY_OWNER, false));
        }
    }

    #[test]
    fn root_and_a_namespaces_only_user_set_its_limits() {
        for (euid, sole_user, may) in [
            (0, None, true),
            (0, Some(54001), true),
            (54001, Some(54001), true),
            (54001, Some(54002), false),
            (54001, None, false),
        ] {
            assert_eq!(may_set_limits(euid, sole_user), may);
        }
    }
}
