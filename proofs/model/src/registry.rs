//! The calls on sets and queues, as `src/registry` has them, over what stands for the rest of it: a process is a thread.

// Where its files are: see `build.rs`.
include!(concat!(env!("OUT_DIR"), "/calls.rs"));

/// The calling thread, which may do anything.
pub mod credentials {
    use crate::sysv::{Caller, Capability};

    pub struct Thread;

    impl Caller for Thread {
        fn euid(&self) -> u32 {
            0
        }

        fn in_group(&self, _: u32) -> bool {
            true
        }

        fn capable(&self, _: Capability) -> bool {
            true
        }
    }

    pub fn is_granted_at_once(_: u32, _: u32, _: u32, _: u32) -> bool {
        true
    }

    pub fn may_set_limits() -> bool {
        true
    }
}

/// The calling thread's process.
pub mod process {
    use super::error::Outcome;
    use crate::mortal;
    use crate::os::atomic::OnceRef;
    use crate::storage::Namespace;
    use crate::storage::table::Identity;

    pub struct Registry {
        pub namespace: &'static Namespace,
        pub local: Local,
    }

    /// Its cell.
    pub struct Local(u32);

    pub struct Session {
        pub me: Identity,
    }

    static REGISTRY: OnceRef<'static, Registry> = OnceRef::new();

    /// Lets the calling thread's process be one of `namespace`.
    pub fn join(namespace: &'static Namespace) {
        let local = Local(mortal::me());
        let _ = REGISTRY.set(mortal::keep(Registry { namespace, local }));
    }

    pub fn registry() -> Outcome<&'static Registry> {
        Ok(REGISTRY.get().expect("a process without a namespace"))
    }

    pub fn registry_if_open() -> Option<&'static Registry> {
        REGISTRY.get()
    }

    impl Registry {
        pub fn enter(&self) -> Outcome<Session> {
            let me = crate::scene::process(self.local.0);
            Ok(Session { me })
        }

        pub fn hold_off_forks(&self) -> Option<()> {
            None
        }
    }

    impl Local {
        pub fn identity(&self) -> u32 {
            crate::scene::process(self.0).packed()
        }

        pub fn pid(&self) -> i32 {
            (mortal::FIRST_PID + self.0) as i32
        }
    }
}

/// The file of sets and queues, as the calling thread's process has it.
pub fn file() -> &'static crate::storage::ipc::IpcFile<'static> {
    &objects::objects().expect("the file opens").file
}

/// The calling thread's process among those that sleep or owe.
pub fn owner() -> u32 {
    objects::objects().unwrap().owner_if_entered()
}

/// Where a process notes the blocks that it keeps, and of how many sizes.
pub const KEPT: usize = objects::own::KEPT;
pub const KEPT_SIZES: usize = objects::own::KEPT_SIZES as usize;
