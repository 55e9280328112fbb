//! shmctl.

use super::asked::Asked;
use crate::abi::{ShmInfo, ShmidDs, Shminfo};
use crate::trace::Told;
use shmshim_core::registry;
use shmshim_core::sysv::{self, Command};

/// shmctl(2).
pub fn control(mut asked: Asked<'_>, shmid: i32, cmd: i32, buf: u64) -> Result<u64, i32> {
    // Whether command and id can be right at all comes before everything.
    let command = asked.ruling(sysv::parse_shmctl(shmid, cmd))?;
    match command {
        Command::IpcRmid => asked.answer(&registry::remove(shmid), |()| 0),
        Command::ShmLock => asked.answer(&registry::lock(shmid), |()| 0),
        Command::ShmUnlock => asked.answer(&registry::unlock(shmid), |()| 0),
        Command::IpcSet => {
            let mut copied = [0; size_of::<ShmidDs>()];
            asked.take(buf, &mut copied)?;
            let new = ShmidDs::new_perm(&copied);
            asked.told = Told::NewPerm(new);
            asked.answer(&registry::set(shmid, new), |()| 0)
        }
        Command::IpcStat | Command::ShmStat | Command::ShmStatAny => asked.give(
            &registry::stat(shmid, command),
            buf,
            ShmidDs::of,
            |segment| Told::Segment(*segment),
            |segment| match command {
                Command::IpcStat => 0,
                _ => segment.id.raw() as u64,
            },
        ),
        Command::IpcInfo => asked.give(
            &registry::limits(),
            buf,
            |(limits, _)| Shminfo::of(limits),
            |(limits, _)| Told::Limits(*limits),
            |(_, highest)| *highest as u64,
        ),
        Command::ShmInfo => asked.give(
            &registry::usage(),
            buf,
            ShmInfo::of,
            |usage| Told::Usage(*usage),
            |usage| usage.highest as u64,
        ),
    }
}
