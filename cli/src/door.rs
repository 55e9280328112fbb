//! How a program can be served, or why it cannot: whether the loader would put the library into it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Uid, getegid, getuid};

use crate::elf::{self, Binary};
use crate::error::Outcome;
use crate::library::{self, Found, Library, Refused};
use crate::output::escaped;
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
    let shown = escaped(&path);
    let kernel = |why: String| Door::Kernel { why };
    if let Some(cleaner) = &chain.cleaner {
        return kernel(format!(
            "{cleaner} takes LD_PRELOAD out of the environment: put `shmshim run` behind it"
        ));
    }
    for file in &chain.files {
        if let Some(why) = more_rights(file) {
            return kernel(why);
        }
    }
    let found = library::look();
    if let Some(other) = other_libc(chain, binary) {
        return kernel(format!(
            "{shown} has another C library than {}, and neither starts with the other's in LD_PRELOAD: put `shmshim run` behind that",
            escaped(&other)
        ));
    }
    match binary {
        Ok(Some(binary)) => choose_library(path, binary, &found),
        Ok(None) => kernel(format!(
            "{shown} is neither an ELF file nor a script, so what would run it is not known"
        )),
        // What may be executed and not read has the loader of its kind, most likely the machine's.
        Err(error) => match found.libraries.first() {
            Some(library) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let note =
                    format!("{shown} cannot be read: whether it loads the library is not known");
                let name = library.path.clone().into_os_string();
                preload(library, name, Vec::new(), Some(note))
            }
            Some(_) => kernel(format!("{shown} cannot be read: {error}")),
            None => kernel(no_library(&found)),
        },
    }
}

/// A program on the way to the last one that loads another C library than that: musl's, or glibc's.
fn other_libc<'c>(
    chain: &'c Chain,
    binary: &std::io::Result<Option<Binary>>,
) -> Option<&'c PathBuf> {
    let last = binary.as_ref().ok()?.as_ref()?;
    last.linker.as_ref()?;
    chain.files.iter().find(|file| {
        let read = elf::read(file).ok().flatten();
        read.is_some_and(|one| one.linker.is_some() && one.abi.libc != last.abi.libc)
    })
}

/// Why there is none.
fn no_library(found: &Found) -> String {
    match found.chosen.iter().chain(&found.refused).next() {
        Some(Refused { why, cure }) => format!("{why}: {cure}"),
        None => format!(
            "there is no {}: install shmshim, or name the library's path in SHMSHIM_LIB",
            library::NAME
        ),
    }
}

fn choose_library(path: &Path, binary: &Binary, found: &Found) -> Door {
    let shown = escaped(&path);
    if binary.linker.is_none() {
        let why = format!("{shown} is statically linked, so no library can be loaded into it");
        let is_for_it = cfg!(target_arch = "x86_64") && binary.abi.is_64;
        return match library::supervisor() {
            Some(command) if is_for_it => Door::Supervisor { command, why },
            None if is_for_it => Door::Kernel {
                why: format!("{why}: install shmshim-static beside this command"),
            },
            _ => Door::Kernel {
                why: format!(
                    "{why}, and shmshim-static serves x86-64 programs alone: link it dynamically"
                ),
            },
        };
    }
    let all = &found.libraries;
    let fitting = all.iter().find(|library| library.abi == binary.abi);
    if let (Some(library), None) = (fitting, &found.chosen) {
        let first = binary.needed.iter().filter(|name| is_sanitizer(name));
        let note = binary.is_go.then(|| {
            format!("{shown} is a Go program: what it does past C's functions is the kernel's; shmshim-static serves it whole")
        });
        let name = library::preload_name(library, all, binary.linker.as_deref());
        return preload(library, name, first.cloned().collect(), note);
    }
    let why = match all.first() {
        Some(other) if found.chosen.is_none() && found.refused.is_empty() => format!(
            "{shown} is a {} program, and the library is there for {} alone: docs/targets.md says how to build it",
            binary.abi.name(),
            other.abi.name()
        ),
        _ => no_library(found),
    };
    Door::Kernel { why }
}

fn preload(library: &Library, name: OsString, first: Vec<String>, note: Option<String>) -> Door {
    let bytes = name.as_encoded_bytes();
    if bytes.iter().any(|byte| b": \t\n".contains(byte)) {
        return Door::Kernel {
            why: format!(
                "LD_PRELOAD cannot name {}: move the library to a path without spaces and colons",
                escaped(&library.path)
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
    let shown = escaped(&path);
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
    if !getuid().is_root() && gives_capabilities(path) {
        return Some(format!(
            "{shown} has file capabilities, and the loader drops LD_PRELOAD then: run it as root, or a copy without them"
        ));
    }
    None
}

/// Whether this user gets capabilities by a file: those that it gives, and those that it lets the user keep.
fn gives_capabilities(path: &Path) -> bool {
    let mut value = [0u8; 24];
    let len = rustix::fs::getxattr(path, "security.capability", &mut value[..]).unwrap_or(0);
    let read = value.get(..len).unwrap_or(&[]);
    let mut words = read.chunks_exact(4).map(|word| {
        word.iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u32::from(byte))
    });
    // A word with the effective bit, then permitted and inheritable ones in turn, 32 bits of each.
    let is_effective = words.next().unwrap_or(0) & 1 != 0;
    let words: Vec<u32> = words.take(4).collect();
    let any = |odd: usize| words.iter().skip(odd).step_by(2).any(|&word| word != 0);
    is_effective || any(0) || (any(1) && !status_of_own("CapInh:").trim_matches('0').is_empty())
}

/// The kernel takes no rights from a script.
fn is_script(path: &Path) -> bool {
    elf::read(path).is_ok_and(|binary| binary.is_none())
}

fn has_no_new_privileges() -> bool {
    status_of_own("NoNewPrivs:") == "1"
}

/// What /proc says of this process under this name.
fn status_of_own(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix(name));
    value.map_or_else(String::new, |value| value.trim().to_owned())
}
