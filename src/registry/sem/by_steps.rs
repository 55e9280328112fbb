//! semop of a caller whose thread has others to serve while it sleeps (`os/served.rs`): it comes back from time to time.

use super::semop::{SemCall, operate};
use crate::os::atomic::Ordering;
use crate::os::process;
use crate::registry::blocked::Listener;
use crate::registry::error::Outcome;
use crate::registry::objects::{Objects, thread};
use crate::registry::sleep::{LONGEST, Sleep, Step, Woken};
use crate::storage::ipc::{ObjectKind, Root};
use crate::sysv::ShmId;
use crate::sysv::sem::{Answer, Operation, Process, SetState};

/// semop(2), asleep. Until it is over it is to be looked at, with the operations that it began with.
pub struct Operating {
    objects: &'static Objects,
    id: ShmId,
    by: Process,
    root: Root,
    place: u32,
    until: Option<u64>,
}

impl Operating {
    /// Begins: as [`semop`](super::semop), but where that sleeps this returns. `None`: it is over. `asleep` is told when it begins
    /// to sleep.
    pub fn begin(
        id: i32,
        operations: &[Operation],
        limit: Option<u64>,
        asleep: Listener<'_>,
    ) -> Outcome<Option<Operating>> {
        let begun = process::fine_nanos();
        operate(id, operations, asleep, None, |call, mut found, at| {
            let objects = call.objects;
            let owner = objects.owner()?;
            let by = Process { owner, ..call.by };
            let call = SemCall { by, ..*call };
            let place = objects
                .file
                .take_place(owner, thread(), ObjectKind::Set, id)?;
            objects.asleep().fetch_add(1, Ordering::Relaxed);
            let lies = call.lie_down_or_go_on(&mut found, at, place);
            if !matches!(lies, Ok(true)) {
                call.objects.end_sleep(place);
            }
            Ok(lies?.then(|| Operating {
                objects: call.objects,
                id: call.id,
                by: call.by,
                root: found.root,
                place,
                until: limit.map(|limit| begun.saturating_add(limit)),
            }))
        })
    }

    /// Looks whether it is over.
    pub fn step(&self, operations: &[Operation], woken: Woken) -> Outcome<Step<()>> {
        let stepped = self.try_step(operations, woken);
        if !matches!(stepped, Ok(Step::Sleep(_))) {
            self.objects.end_sleep(self.place);
        }
        stepped
    }

    fn try_step(&self, operations: &[Operation], woken: Woken) -> Outcome<Step<()>> {
        let call = SemCall {
            objects: self.objects,
            id: self.id,
            operations,
            by: self.by,
            asleep: None,
        };
        let (root, place) = (self.root, self.place);
        let file = &self.objects.file;
        let Some(word) = file.futex_of(place) else {
            return Err(file.is_damaged("a sleeper's place is not there").into());
        };
        loop {
            let seen = word.load(Ordering::Acquire);
            let Some((found, index)) = call.found_sleeping(root, place) else {
                return Err(call.left(root));
            };
            let sleeper = found.set.sleeper(index);
            if !found.is_still() {
                continue;
            }
            let left = self
                .until
                .map(|until| until.saturating_sub(process::fine_nanos()));
            let error = if sleeper.answer != Answer::Waits {
                call.left(root)
            } else if woken == Woken::BySignal {
                call.interrupted()
            } else if matches!(self.objects.reap_in_set(&found, false), Ok(true)) {
                // For want of room the dead stay until there is some.
                continue;
            } else if left == Some(0) {
                let refused = call.would_block(&found, sleeper.blocked_at, Some(place));
                if !found.is_still() {
                    continue;
                }
                refused.into()
            } else {
                return Ok(Step::Sleep(Sleep {
                    word,
                    seen,
                    nanos: left.map_or(LONGEST, |left| left.min(LONGEST)),
                    mask: 0,
                }));
            };
            let answer = call.get_up(root, place).unwrap_or(Err(error));
            return answer.map(Step::Done);
        }
    }
}
