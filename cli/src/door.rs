//! How a program can be served, or why it cannot: whether the loader would put the library into it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, Uid, eaccess, getegid, getuid};

use crate::elf::{self, Binary};
use crate::error::Outcome;
use crate::library::{self, Library};
use crate::program::{self, Chain};

/// How a program is reached.
#[derive(Debug)]
pub enum Door {
    /// The loader puts a library into it.
    Preload {
        /// Which one.
        library: Library,
        /// What `LD_PRELOAD` says for it.
        name: OsString,
        /// The sanitizers' runtimes, which demand to be loaded before all others.
        first: Vec<String>,
        /// What may still pass the library by.
        note: Option<String>,
    },
    /// No library can be loaded into it; the supervisor serves it.
    Supervisor {
        /// The supervisor's command.
        command: PathBuf,
        /// Why no library.
        why: String,
    },
    /// The kernel would serve it.
    Kernel {
        /// Why, and what to do: a sentence.
        why: String,
    },
}

/// A program, what is run for it, and how that is reached.
#[derive(Debug)]
pub struct Route {
    /// What is executed in turn.
    pub chain: Chain,
    /// What was read of the last, if it can be read.
    pub binary: Option<Binary>,
    /// The door.
    pub door: Door,
}

/// Finds a program and the door to it.
pub fn find(program: &std::ffi::OsStr, arguments: &[OsString]) -> Outcome<Route> {
    let path = program::find(program)?;
    let chain = program::follow(&path, arguments)?;
    let binary = elf::read(chain.last());
    let door = choose(&chain, &binary);
    Ok(Route {
        chain,
        binary: binary.ok().flatten(),
        door,
    })
}

fn choose(chain: &Chain, binary: &std::io::Result<Option<Binary>>) -> Door {
    let path = chain.last();
    let shown = path.display();
    let kernel = |why: String| Door::Kernel { why };
    if let Some(cleaner) = &chain.cleaner {
        return kernel(format!(
            "{cleaner} takes LD_PRELOAD out of the environment of {shown}: put `shmshim run` behind it"
        ));
    }
    for file in &chain.files {
        if let Some(why) = more_rights(file) {
            return kernel(why);
        }
    }
    let all = library::all();
    match binary {
        Ok(Some(binary)) => choose_library(path, binary, &all),
        Ok(None) => kernel(format!(
            "{shown} is neither an ELF file nor a script, so what would run it is not known"
        )),
        // What may be executed and not read has the loader of its kind, most likely the machine's.
        Err(error) => match all.into_iter().next() {
            Some(library) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let note =
                    format!("{shown} cannot be read: whether it loads the library is not known");
                preload(
                    &library,
                    std::slice::from_ref(&library),
                    Vec::new(),
                    Some(note),
                )
            }
            Some(_) => kernel(format!("{shown} cannot be read: {error}")),
            None => kernel(no_library()),
        },
    }
}

fn no_library() -> String {
    match library::chosen() {
        Some(path) => format!(
            "there is no library {}: correct SHMSHIM_LIB, or unset it",
            path.display()
        ),
        None => format!(
            "there is no {}: install shmshim, or name the library's path in SHMSHIM_LIB",
            library::NAME
        ),
    }
}

fn choose_library(path: &Path, binary: &Binary, all: &[Library]) -> Door {
    let shown = path.display();
    if binary.linker.is_none() {
        let why = format!("{shown} is statically linked, so no library can be loaded into it");
        return match library::supervisor() {
            Some(command) if cfg!(target_arch = "x86_64") && binary.abi.is_64 => {
                Door::Supervisor { command, why }
            }
            _ => Door::Kernel {
                why: format!("{why}: install shmshim-static (x86-64 only) beside this command"),
            },
        };
    }
    let fitting: Vec<&Library> = all
        .iter()
        .filter(|library| library.abi == binary.abi)
        .collect();
    let readable = |library: &&&Library| eaccess(&library.path, AccessFlags::R_OK).is_ok();
    if let Some(library) = fitting.iter().find(readable) {
        let first = binary.needed.iter().filter(|name| is_sanitizer(name));
        let note = binary.is_go.then(|| {
            format!("{shown} is a Go program: what it does past C's functions is the kernel's; shmshim-static serves it whole")
        });
        return preload(library, all, first.cloned().collect(), note);
    }
    let why = if let Some(library) = fitting.first() {
        format!(
            "{} cannot be read by this user: chmod a+r it, and a+x the directories above it",
            library.path.display()
        )
    } else if let Some(other) = all.first() {
        format!(
            "{shown} is a {} program, and the library is there for {} alone: docs/targets.md says how to build it",
            binary.abi.name(),
            other.abi.name()
        )
    } else {
        no_library()
    };
    Door::Kernel { why }
}

fn preload(library: &Library, all: &[Library], first: Vec<String>, note: Option<String>) -> Door {
    let name = library::preload_name(library, all);
    let bytes = name.as_encoded_bytes();
    if bytes.iter().any(|byte| b": \t\n".contains(byte)) {
        return Door::Kernel {
            why: format!(
                "LD_PRELOAD cannot name {}: move the library to a path without spaces and colons",
                library.path.display()
            ),
        };
    }
    Door::Preload {
        library: library.clone(),
        name,
        first,
        note,
    }
}

/// gcc's libasan.so.8, clang's libclang_rt.asan-x86_64.so, and their kin that demand to be first.
fn is_sanitizer(name: &str) -> bool {
    ["asan", "tsan", "lsan", "hwasan", "msan"]
        .iter()
        .any(|kind| {
            name.starts_with(&format!("lib{kind}.so"))
                || name.starts_with(&format!("libclang_rt.{kind}"))
        })
}

/// Why a file is run with more rights than this user has: the loader drops `LD_PRELOAD` then.
fn more_rights(path: &Path) -> Option<String> {
    let status = std::fs::metadata(path).ok()?;
    let ignored = statvfs(path).is_ok_and(|system| system.flags().contains(FsFlags::ST_NOSUID))
        || has_no_new_privileges();
    if ignored || is_script(path) {
        return None;
    }
    let shown = path.display();
    let mode = status.mode();
    let advice = "the loader drops LD_PRELOAD then: run `shmshim run` inside of it, as that user";
    if mode & 0o4000 != 0 && status.uid() != getuid().as_raw() {
        let owner = nix::unistd::User::from_uid(Uid::from_raw(status.uid()));
        let owner = owner
            .ok()
            .flatten()
            .map_or_else(|| status.uid().to_string(), |user| user.name);
        return Some(format!("{shown} is set-user-ID {owner}, and {advice}"));
    }
    if mode & 0o2010 == 0o2010 && status.gid() != getegid().as_raw() {
        return Some(format!("{shown} is set-group-ID, and {advice}"));
    }
    let mut value = [0u8; 64];
    let has_capabilities = rustix::fs::getxattr(path, "security.capability", &mut value[..]);
    if !getuid().is_root() && has_capabilities.is_ok_and(|len| len > 0) {
        return Some(format!(
            "{shown} has file capabilities, and the loader drops LD_PRELOAD then: run it as root, or a copy without them"
        ));
    }
    None
}

/// The kernel takes no rights from a script.
fn is_script(path: &Path) -> bool {
    elf::read(path).is_ok_and(|binary| binary.is_none())
}

fn has_no_new_privileges() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| {
        status
            .lines()
            .any(|line| line.starts_with("NoNewPrivs:") && line.ends_with('1'))
    })
}
