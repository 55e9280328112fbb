//! Where the library lies that a program can be served by, and the supervisor for programs that can load none.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf::{self, Abi};
use crate::output::escaped;

/// The library's file name, everywhere.
pub const NAME: &str = "libshmshim.so";

/// A library that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Library {
    /// The file.
    pub path: PathBuf,
    /// For which programs.
    pub abi: Abi,
}

/// What lies in the places for libraries.
#[derive(Default, Debug)]
pub struct Found {
    /// Those that can be loaded, in the order in which one is taken.
    pub libraries: Vec<Library>,
    /// Those that this user cannot load.
    pub refused: Vec<Refused>,
    /// What is wrong with the one that `SHMSHIM_LIB` names; then no other is taken in its place.
    pub chosen: Option<Refused>,
}

/// A library that cannot be loaded.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub why: String,
    /// What to do.
    pub cure: &'static str,
}

impl Refused {
    fn new(path: &Path, read: io::Result<Option<elf::Binary>>) -> Refused {
        let shown = escaped(&path);
        let wrong = "correct SHMSHIM_LIB, or unset it";
        let (why, cure) = match read {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => (
                format!("{shown} cannot be read by this user"),
                "chmod a+r it, and a+x the directories above it",
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (format!("there is no library {shown}"), wrong)
            }
            Err(error) => (format!("{shown} cannot be read: {error}"), wrong),
            Ok(_) => (format!("{shown} is no library"), wrong),
        };
        Refused { why, cure }
    }
}

/// Looks for every library that there is on this machine for us: the one that `SHMSHIM_LIB` names, those that were installed
/// or built with this command, and those that the dynamic linker knows.
pub fn look() -> Found {
    let mut found = Found::default();
    if let Some(path) = chosen() {
        match elf::read(&path) {
            Ok(Some(binary)) => found.add(path, binary.abi),
            read => found.chosen = Some(Refused::new(&path, read)),
        }
    }
    for path in beside_this_command()
        .into_iter()
        .chain(known_to_the_linker())
    {
        match elf::read(&path) {
            Ok(Some(binary)) => found.add(path, binary.abi),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.refused.push(Refused::new(&path, Err(error)));
            }
            _ => {}
        }
    }
    found
}

impl Found {
    fn add(&mut self, path: PathBuf, abi: Abi) {
        if self.libraries.iter().all(|library| library.path != path) {
            self.libraries.push(Library { path, abi });
        }
    }
}

/// What `SHMSHIM_LIB` names.
fn chosen() -> Option<PathBuf> {
    let value = std::env::var_os("SHMSHIM_LIB").filter(|value| !value.is_empty())?;
    std::path::absolute(value).ok()
}

/// The directory of this command's file.
fn own_directory() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.parent().map(Path::to_path_buf)
}

/// The places next to the command: `bin/../lib`, as scripts/install lays them out, and a build's own directories.
fn beside_this_command() -> Vec<PathBuf> {
    let Some(bin) = own_directory() else {
        return Vec::new();
    };
    let mut directories = vec![bin.clone()];
    if let Some(prefix) = bin.parent() {
        let lib = prefix.join("lib");
        let mut of_machines = entries(&lib, |name| name.contains("-linux-"));
        directories.append(&mut of_machines);
        directories.extend([
            prefix.join("lib64"),
            lib.clone(),
            prefix.join("lib32"),
            lib.join("musl"),
        ]);
        // A build: target/release, target/i686-unknown-linux-gnu/release.
        directories.push(prefix.join("release"));
        let of_targets = entries(prefix, |name| name.contains("-linux-"));
        directories.extend(of_targets.iter().map(|target| target.join("release")));
    }
    directories
        .into_iter()
        .map(|directory| directory.join(NAME))
        .collect()
}

/// The entries of a directory with such names, in order.
fn entries(directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&is_wanted))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Those in the dynamic linker's cache, where the bare name would do.
fn known_to_the_linker() -> Vec<PathBuf> {
    let listing = ["/sbin/ldconfig", "/usr/sbin/ldconfig"]
        .iter()
        .find_map(|ldconfig| Command::new(ldconfig).arg("-p").output().ok());
    let listing = listing.map_or_else(Vec::new, |output| output.stdout);
    String::from_utf8_lossy(&listing)
        .lines()
        .filter(|line| line.trim_start().starts_with(NAME))
        .filter_map(|line| line.split_once(" => "))
        .map(|(_, path)| PathBuf::from(path.trim()))
        .collect()
}

/// The supervisor for programs that can load no library, if it was installed or built with this command.
pub fn supervisor() -> Option<PathBuf> {
    let bin = own_directory()?;
    let mut places = vec![bin.join("shmshim-static")];
    if let Some(target) = bin.parent() {
        places.push(target.join("release/shmshim-static"));
    }
    places.into_iter().find(|path| path.is_file())
}

/// What stands for a library in `LD_PRELOAD`. Where those for programs of the machine's two word sizes lie as `$LIB` says
/// it, that name is taken: then programs of the other size that this one starts find theirs. `linker` is the one that reads it,
/// and has a `$LIB` of its own: Debian's i386 packages lie in lib/i386-linux-gnu, those of libc6-i386 in lib32.
pub fn preload_name(library: &Library, all: &[Library], linker: Option<&str>) -> OsString {
    let linker = linker.and_then(|linker| Path::new(linker).canonicalize().ok());
    let says_lib = |own: &str| {
        let directory = linker.as_deref().and_then(Path::parent);
        directory.is_some_and(|directory| directory.ends_with(own))
    };
    let pairs = if Path::new("/etc/debian_version").exists() {
        [("lib/x86_64-linux-gnu", "lib/i386-linux-gnu")]
    } else {
        [("lib64", "lib")]
    };
    for (wide, narrow) in pairs {
        for (own, other) in [(wide, narrow), (narrow, wide)] {
            let Some(directory) = library.path.parent() else {
                continue;
            };
            if !directory.ends_with(own) || !says_lib(own) {
                continue;
            }
            let depth = Path::new(own).components().count();
            let Some(prefix) = directory.ancestors().nth(depth) else {
                continue;
            };
            let counterpart = prefix.join(other).join(NAME);
            let is_pair = |one: &&Library| {
                one.path == counterpart
                    && one.abi.libc == library.abi.libc
                    && one.abi.is_64 != library.abi.is_64
            };
            if all.iter().any(|one| is_pair(&one)) {
                return prefix.join("$LIB").join(NAME).into_os_string();
            }
        }
    }
    library.path.clone().into_os_string()
}
