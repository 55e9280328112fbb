//! This process's cell in the table: taken at the first call that changes something, or adopted from the parent's fork; and
//! the records that count its attaches.

use super::error::Outcome;
use super::process::{Local, Registry, live_locked};
use crate::os::{own_stack, process};
use crate::storage::table::Held;
use crate::storage::table::Identity;
use crate::storage::table::attach_record;

impl Registry {
    /// The calling process's cell. On return the process is registered, what a child has inherited is known, and what earlier
    /// calls could not enter into the table is there.
    #[inline]
    pub(super) fn begin(&'static self, local: &mut Local) -> Outcome<Identity> {
        let me = match self.me() {
            Some(me) => me,
            None => self.begin_as_new(local)?,
        };
        if !self.local.are_words_valid() {
            self.adopt_inherited(me, local)?;
        }
        if self.namespace.processes().has_unfinished() {
            self.finish(me, local)?;
        }
        Ok(me)
    }

    /// Enters into the table what earlier calls of this process could not, because another process kept the table's lock.
    #[cold]
    #[inline(never)]
    fn finish(&'static self, me: Identity, local: &mut Local) -> Outcome<()> {
        let held = self.namespace.lock(me)?;
        self.namespace.processes().forget_unfinished(&held);
        attach_record::reduce(&held, me, |id| local.attaches.pieces_of(id));
        learn_records(&held, me, local);
        count_missing(&held, me, local, None);
        drop(held);
        self.namespace.sweep(me);
        Ok(())
    }

    /// At the first call of a child of a raw clone: counts what it has inherited.
    #[cold]
    pub(super) fn notice_child(&'static self) -> Outcome<&'static Registry> {
        self.enter_to_follow().map(|_| self)
    }

    /// Registers a process without a cell: a new one, or a child that nothing was prepared for.
    #[cold]
    #[inline(never)]
    fn begin_as_new(&'static self, local: &mut Local) -> Outcome<Identity> {
        self.disown_plan(local);
        own_stack::call(|| self.register(local))
    }

    /// In a child that was not prepared, but has inherited the mapping of a prepared cell's lock: ends its hold on that lock,
    /// which is its parent's (a child itself that has made no call yet) or a sibling's (it was made in the middle of a fork).
    #[cold]
    #[inline(never)]
    pub(super) fn disown_plan(&self, local: &mut Local) {
        if let Some(plan) = local.fork.take() {
            plan.drop_mapping();
        }
    }

    /// In a child whose parent has counted for it: looks up which records count for it, and forgets what was not inherited.
    /// This is done at the child's first call, because many children never make one.
    #[cold]
    #[inline(never)]
    fn adopt_inherited(&self, me: Identity, local: &mut Local) -> Outcome<()> {
        self.local.forget_fork();
        if let Some(plan) = local.fork.take() {
            plan.keep_to_oneself();
        }
        local.attaches.drop_not_inherited();
        let held = self.namespace.lock(me)?;
        learn_records(&held, me, local);
        drop(held);
        self.local.set_words_valid();
        Ok(())
    }

    /// Takes a cell for this process, and counts there what it has attached: a child of a raw clone, for which no fork handler
    /// ran, has inherited attaches.
    fn register(&'static self, local: &mut Local) -> Outcome<Identity> {
        let me = self.namespace.processes().register(process::pid())?;
        self.local.set_identity(me.packed());
        // Asked now, because a filter that the program installs later may forbid it.
        self.local.pid();
        self.local.forget_fork();
        local.attaches.drop_not_inherited();
        if !local.attaches.is_empty() {
            let stamp = Some((process::parent_pid(), process::now_secs()));
            // Refused, it is unfinished, and the next call does it.
            if let Ok(held) = self.namespace.lock(me) {
                count_missing(&held, me, local, stamp);
            }
        }
        self.local.set_words_valid();
        self.namespace.tidy(me, None);
        Ok(me)
    }
}

/// Looks up which records of the table count this process's attaches.
fn learn_records(held: &Held<'_>, me: Identity, local: &mut Local) {
    attach_record::for_each_record(held, me, |slot, record| {
        local.attaches.set_record(slot, record);
    });
}

/// Counts in the table those attaches of this process that are not counted yet.
fn count_missing(held: &Held<'_>, me: Identity, local: &mut Local, stamp: Option<(i32, i64)>) {
    for at in 0..local.attaches.len() {
        let Some(id) = local.attaches.entries().get(at).map(|entry| entry.piece.id) else {
            continue;
        };
        let known = local.attaches.record_of(id.slot());
        let counted = known.map_or(0, |record| {
            attach_record::counted_by(held, record, me, id.raw())
        });
        let missing = local.attaches.pieces_of(id.raw()).saturating_sub(counted);
        if missing > 0 && live_locked(held, id).is_some() {
            if let Ok(record) = attach_record::attach(held, id.slot(), me, known, missing, stamp) {
                local.attaches.set_record(id.slot(), record);
            }
        }
    }
}
