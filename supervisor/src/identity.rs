//! The client's credentials, taken on by its agent. Files of the namespace are then opened, made and refused as they would be
//! by the client itself.

use crate::proc::{self, Status};
use crate::sys;
use nix::errno::Errno;
use nix::unistd::{
    Gid, Pid, Uid, getegid, geteuid, getgroups, seteuid, setfsgid, setfsuid, setgroups, setresgid,
    setresuid,
};
use shmshim_core::os::credentials;
use shmshim_core::os::served::Client;

/// The set of all capabilities.
const ALL: u64 = u64::MAX;

/// What is known of the calling threads' credentials.
#[derive(Default)]
pub struct Identity {
    known: Option<Known>,
}

#[derive(PartialEq, Eq)]
struct Known {
    status: Status,
    /// Those of its capabilities that count here.
    capabilities: u64,
}

impl Identity {
    /// Takes on the credentials of the thread that calls. `again`: they may have changed since the last call. An error says
    /// why the call cannot be served.
    pub fn take_on(&mut self, tid: Pid, client: &Client, again: bool) -> Result<(), String> {
        if self.known.is_some() && !again {
            return Ok(());
        }
        let last = self.known.take();
        let may_not = |what: &str, error| format!("the supervisor may not {what} ({error})");
        let set = |capabilities| {
            sys::set_effective_capabilities(capabilities)
                .map_err(|error| may_not("set its capabilities", error))
        };
        // The user that this process acted for last may not look at one with more rights.
        set(ALL)?;
        let now = Known::of(tid).ok_or_else(|| {
            format!("/proc/{tid}/status, which tells the caller's ids, cannot be read")
        })?;
        if last.as_ref() != Some(&now) {
            let euid = now.status.euid;
            become_user(&now.status)
                .map_err(|error| may_not(&format!("act for uid {euid}"), error))?;
            credentials::forget();
            client.set_credentials(now.status.uid, now.capabilities);
        }
        // Which files it may open depends on these, too.
        set(now.capabilities)?;
        self.known = Some(now);
        Ok(())
    }
}

impl Known {
    fn of(tid: Pid) -> Option<Known> {
        let status = Status::of(tid)?;
        // In a user namespace of its own it has rights that end there.
        let capabilities = match proc::is_in_our_user_namespace(tid) {
            true => status.capabilities,
            false => 0,
        };
        Some(Known {
            status,
            capabilities,
        })
    }
}

fn become_user(status: &Status) -> nix::Result<()> {
    let groups: Vec<Gid> = status.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(status.euid), Gid::from_raw(status.egid));
    let for_files = (Uid::from_raw(status.fsuid), Gid::from_raw(status.fsgid));
    if geteuid() == uid
        && getegid() == gid
        && ids_for_files() == for_files
        && getgroups()? == groups
    {
        return Ok(());
    }
    // Only root becomes another, and goes on to be root by its saved uid.
    seteuid(Uid::from_raw(0))?;
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(Uid::from_raw(status.uid), uid, Uid::from_raw(0))?;
    sys::set_effective_capabilities(ALL)?;
    setfsgid(for_files.1);
    setfsuid(for_files.0);
    match ids_for_files() == for_files {
        true => Ok(()),
        false => Err(Errno::EPERM),
    }
}

/// The ids that files see of this process. No id has this number, so asking for it changes nothing.
fn ids_for_files() -> (Uid, Gid) {
    let none = u32::MAX;
    (setfsuid(Uid::from_raw(none)), setfsgid(Gid::from_raw(none)))
}
