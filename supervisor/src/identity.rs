//! The client's credentials, taken on by its agent. Files of the namespace are then opened, made and refused as they would be
//! by the client itself.

use crate::proc::{self, Status};
use nix::unistd::{
    Gid, Pid, Uid, getegid, geteuid, getgroups, seteuid, setgroups, setresgid, setresuid,
};
use shmshim_core::os::credentials;
use shmshim_core::os::served::Client;

/// What is known of the calling threads' credentials.
#[derive(Default)]
pub struct Identity {
    known: Option<Status>,
}

impl Identity {
    /// Takes on the credentials of the thread that calls. `again`: they may have changed since the last call. An error says
    /// why the call cannot be served.
    pub fn take_on(&mut self, tid: Pid, client: &Client, again: bool) -> Result<(), String> {
        if self.known.is_some() && !again {
            return Ok(());
        }
        let status = Status::of(tid).ok_or_else(|| {
            format!("/proc/{tid}/status, which tells the caller's ids, cannot be read")
        })?;
        if self.known.as_ref() == Some(&status) {
            return Ok(());
        }
        become_user(&status).map_err(|error| {
            format!(
                "the supervisor may not act for uid {} ({error})",
                status.euid
            )
        })?;
        credentials::forget();
        // In a user namespace of its own it has rights that end there.
        let capabilities = match proc::is_in_our_user_namespace(tid) {
            true => status.capabilities,
            false => 0,
        };
        client.set_credentials(status.uid, capabilities);
        self.known = Some(status);
        Ok(())
    }
}

fn become_user(status: &Status) -> nix::Result<()> {
    let groups: Vec<Gid> = status.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(status.euid), Gid::from_raw(status.egid));
    if geteuid() == uid && getegid() == gid && getgroups()? == groups {
        return Ok(());
    }
    // Only root becomes another, and goes on to be root by its saved uid. The client's limits are told to who has its real uid.
    seteuid(Uid::from_raw(0))?;
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(Uid::from_raw(status.uid), uid, Uid::from_raw(0))
}
