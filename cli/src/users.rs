//! Users and groups by their names.

use std::collections::BTreeMap;

use nix::unistd::{Gid, Group, Uid, User};

/// The names that were asked for so far.
#[derive(Default)]
pub struct Names {
    users: BTreeMap<u32, Option<String>>,
    groups: BTreeMap<u32, Option<String>>,
}

impl Names {
    /// What this user is called, if it has a name.
    pub fn user(&mut self, uid: u32) -> Option<String> {
        let look_up = || {
            User::from_uid(Uid::from_raw(uid))
                .ok()?
                .map(|user| user.name)
        };
        self.users.entry(uid).or_insert_with(look_up).clone()
    }

    /// What this group is called, if it has a name.
    pub fn group(&mut self, gid: u32) -> Option<String> {
        let look_up = || {
            Group::from_gid(Gid::from_raw(gid))
                .ok()?
                .map(|group| group.name)
        };
        self.groups.entry(gid).or_insert_with(look_up).clone()
    }
}

/// A name, or the number of what has none.
pub fn shown(name: Option<&str>, number: u32) -> String {
    name.map_or_else(|| number.to_string(), str::to_owned)
}
