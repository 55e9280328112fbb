//! Which namespace is meant: `--dir` and `--scope`, else what a program would use.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// The options that choose a namespace.
#[derive(Args, Debug, Clone)]
pub struct Place {
    /// The base directory of the namespace, as SHMSHIM_DIR
    #[arg(long, global = true, value_name = "DIR", help_heading = "Namespace")]
    pub dir: Option<PathBuf>,
    /// Whose namespace: the user's own or that of all users, as SHMSHIM_SCOPE
    #[arg(long, global = true, value_name = "SCOPE", help_heading = "Namespace")]
    pub scope: Option<Scope>,
}

/// Whose a namespace is.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The user's own.
    User,
    /// That of all users.
    System,
}

impl Place {
    /// Puts the choice into this process's environment, where the registry and programs that are run find it. Called
    /// before anything else, while there is one thread.
    #[allow(
        unsafe_code,
        reason = "the environment of this process, before it has a second thread"
    )]
    pub fn choose(&self) {
        let put = |name: &str, value: &std::ffi::OsStr| {
            // SAFETY: `main` calls this first; no other thread can read the environment at the same time.
            unsafe { std::env::set_var(name, value) };
        };
        if let Some(dir) = &self.dir {
            put("SHMSHIM_DIR", dir.as_os_str());
        }
        if let Some(scope) = self.scope {
            let name = match scope {
                Scope::User => "user",
                Scope::System => "system",
            };
            put("SHMSHIM_SCOPE", name.as_ref());
        }
    }
}
