//! Where the library lies that a program can be served by, and the supervisor for programs that can load none.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::elf::{self, Abi};

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

/// Every library that there is on this machine for us, in the order in which one is taken: the one that `SHMSHIM_LIB`
/// names, those that were installed or built with this command, and those that the dynamic linker knows.
pub fn all() -> Vec<Library> {
    let mut found: Vec<Library> = Vec::new();
    let mut add = |path: PathBuf| {
        if found.iter().any(|library| library.path == path) {
            return;
        }
        if let Ok(Some(binary)) = elf::read(&path) {
            let abi = binary.abi;
            found.push(Library { path, abi });
        }
    };
    if let Some(path) = chosen() {
        add(path);
    }
    for path in beside_this_command() {
        add(path);
    }
    for path in known_to_the_linker() {
        add(path);
    }
    found
}

/// What `SHMSHIM_LIB` names.
pub fn chosen() -> Option<PathBuf> {
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
        .filter(|path| path.exists())
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
/// it, that name is taken: then programs of the other size that this one starts find theirs.
pub fn preload_name(library: &Library, all: &[Library]) -> OsString {
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
            if !directory.ends_with(own) {
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
