//! The rights of a segment's file: its mode, the sticky bit of one that is marked, and in system scope an access list.

use super::file::Files;
use crate::os::path::Path;
use crate::os::{OsError, OsResult, file, helper_process, process};
use crate::storage::error::{StorageError, Stored};
use crate::storage::runtime_dir::Scope;
use crate::storage::table::SlotImage;
use crate::storage::table::layout::MODE_MARKED;
use core::ffi::CStr;

impl Files<'_> {
    /// Gives the file of a segment the rights that the table says: its permission bits, and the sticky bit of one
    /// that is marked. In system scope, where the file's rights are what protects the segment from a program that
    /// does not ask the table, an owner or group other than the creator's gets its own entry in an access list.
    #[inline(never)]
    pub fn set_rights(&self, image: &SlotImage) -> Stored<()> {
        let listed = self.directory.scope() == Scope::System
            && (image.uid != image.cuid || image.gid != image.cgid);
        let mode = image.mode & 0o777 | image.mode & MODE_MARKED;
        self.change_rights(image, |fd| {
            if !listed {
                let _ = file::remove_attribute_of_path_fd(fd, ACCESS_LIST);
            }
            file::set_permissions_of_path_fd(fd, mode)?;
            if listed {
                file::set_attribute_of_path_fd(fd, ACCESS_LIST, &access_list(image))?;
            }
            Ok(())
        })
    }

    /// Sets the sticky bit of the file of a segment that is marked, and leaves the rest of its mode as it is.
    pub fn mark(&self, image: &SlotImage) -> Stored<()> {
        self.change_rights(image, |fd| {
            let mode = file::status(fd)?.permissions() | MODE_MARKED;
            file::set_permissions_of_path_fd(fd, mode)
        })
    }

    /// Makes the file of a segment, gives it its creator and its rights, and has `write` fill it.
    pub fn make_filled<E: From<StorageError>>(
        &self,
        image: &SlotImage,
        write: impl FnOnce(file::Fd) -> Result<(), E>,
    ) -> Result<(), E> {
        let to_be_filled = SlotImage {
            mode: 0o600,
            cuid: process::euid(),
            ..*image
        };
        self.make(&to_be_filled, true)?;
        let filled = self
            .open_to_fill(&to_be_filled)
            .map_err(E::from)
            .and_then(|(fd, path)| {
                let status = file::status(&fd);
                let is_its =
                    status.is_ok_and(|status| status.uid == image.cuid && status.gid == image.cgid);
                if !is_its {
                    file::set_owner(&fd, image.cuid, image.cgid)
                        .map_err(|error| StorageError::system("set the owner of", &path, error))?;
                }
                self.set_rights(image)?;
                write(fd)
            });
        if filled.is_err() {
            let _ = self.unlink(image);
        }
        filled
    }

    fn change_rights(
        &self,
        image: &SlotImage,
        change: impl Fn(&file::Fd) -> OsResult<()> + Sync,
    ) -> Stored<()> {
        self.directory.check_in_place()?;
        let mut path = Path::new();
        self.path_of(image, &mut path)?;
        helper_process::with_descriptor(|| change(&self.open_to_change(&path, image)?))
            .map_err(|error| self.directory.error("set the rights of", &path, error))
    }

    /// Opens the file of a segment to change its rights: never one that has another name somewhere, which may be
    /// anything.
    fn open_to_change(&self, path: &Path, image: &SlotImage) -> OsResult<file::Fd> {
        let dir = self.directory.open_parent(path)?;
        let fd = file::open_in(dir.as_ref(), path, libc::O_PATH, 0)?;
        let status = file::status(&fd)?;
        if status.is_file() && status.links == 1 && status.uid == image.cuid {
            Ok(fd)
        } else {
            Err(OsError(libc::EPERM))
        }
    }
}

const ACCESS_LIST: &CStr = c"system.posix_acl_access";

/// A POSIX access list in the kernel's form: owner, the creator's group and others as the mode says, and the present
/// owner and group as if they were the creator's.
fn access_list(image: &SlotImage) -> [u8; 52] {
    const ANYBODY: u32 = u32::MAX;
    let (owner, group, other) = (image.mode >> 6 & 7, image.mode >> 3 & 7, image.mode & 7);
    // Tags of linux/posix_acl.h: ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_GROUP, ACL_MASK, ACL_OTHER.
    let entries = [
        (1u16, owner, ANYBODY),
        (2, owner, image.uid),
        (4, group, ANYBODY),
        (8, group, image.gid),
        (16, owner | group, ANYBODY),
        (32, other, ANYBODY),
    ];
    let mut list = [0u8; 52];
    let (version, rest) = list.split_at_mut(4);
    version.copy_from_slice(&2u32.to_le_bytes());
    for (place, (tag, rights, id)) in rest.chunks_exact_mut(8).zip(entries) {
        let [t0, t1] = tag.to_le_bytes();
        let [r0, r1] = (rights as u16).to_le_bytes();
        let [i0, i1, i2, i3] = id.to_le_bytes();
        place.copy_from_slice(&[t0, t1, r0, r1, i0, i1, i2, i3]);
    }
    list
}
