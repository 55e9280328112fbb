//! Starts a program under the library: in place of this process, or as a child.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::door::{self, Door};
use crate::error::{Error, NO_PROGRAM, NOT_SERVED, Outcome, RUN_FAILED};
use crate::library;
use crate::output::{complain, escaped};

/// A program that is about to be started.
#[derive(Debug)]
pub struct Launch {
    /// The program as it was named, which is its `argv[0]`.
    name: OsString,
    /// The file that is executed.
    file: PathBuf,
    arguments: Vec<OsString>,
    /// What is added to its environment.
    environment: Vec<(OsString, OsString)>,
}

impl Launch {
    /// Finds the program and how it is served. Where the kernel would serve it, that is refused, or said if
    /// `allow_kernel`.
    pub fn new(words: &[OsString], allow_kernel: bool) -> Outcome<Launch> {
        let Some((name, arguments)) = words.split_first() else {
            return Err(Error::new(RUN_FAILED, "no program is named"));
        };
        let route = door::find(name, arguments)?;
        let file = route.chain.files.first().cloned().unwrap_or_default();
        let mut launch = Launch {
            name: name.clone(),
            file,
            arguments: arguments.to_vec(),
            environment: Vec::new(),
        };
        match route.door {
            Door::Preload {
                name, first, note, ..
            } => {
                if let Some(note) = note {
                    complain(&note);
                }
                let value = preload(std::env::var_os("LD_PRELOAD"), &name, &first);
                launch.set("LD_PRELOAD", value);
            }
            Door::Supervisor { command, .. } => {
                let mut behind = vec!["--".into(), launch.file.clone().into_os_string()];
                behind.append(&mut launch.arguments);
                launch.arguments = behind;
                launch.name = command.clone().into_os_string();
                launch.file = command;
            }
            Door::Kernel { why } if allow_kernel => {
                complain(&format!("the kernel serves this program: {why}"));
            }
            Door::Kernel { why } => {
                return Err(Error::new(
                    NOT_SERVED,
                    format!("{why} (--allow-kernel runs it all the same)"),
                ));
            }
        }
        Ok(launch)
    }

    /// Adds a variable to the program's environment.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.environment.push((name.into(), value.into()));
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.file);
        command
            .arg0(&self.name)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Replaces this process by the program: then signals, the terminal and job control are the program's own. Returns
    /// only when that fails.
    pub fn exec(&self) -> Error {
        let error = self.command().exec();
        self.not_started(&error)
    }

    /// Starts the program as a child, in this process's group and on its terminal.
    pub fn spawn(&self) -> Outcome<Child> {
        self.command()
            .spawn()
            .map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &io::Error) -> Error {
        let status = match error.kind() {
            io::ErrorKind::NotFound => NO_PROGRAM,
            _ => NOT_SERVED,
        };
        Error::new(
            status,
            format!("{} cannot be run: {error}", escaped(&self.file)),
        )
    }
}

/// `LD_PRELOAD` with the library in it: the sanitizers' runtimes, what stood there, and the library, unless it stood there.
fn preload(inherited: Option<OsString>, library: &OsStr, first: &[String]) -> OsString {
    let inherited = inherited.unwrap_or_default();
    let words: Vec<&[u8]> = inherited
        .as_bytes()
        .split(|byte| b": \t\n".contains(byte))
        .filter(|word| !word.is_empty())
        .collect();
    let name_of = |word: &[u8]| {
        word.rsplit(|&byte| byte == b'/')
            .next()
            .unwrap_or(word)
            .to_vec()
    };
    let stands_there = words
        .iter()
        .any(|word| name_of(word) == library::NAME.as_bytes());
    let is_new = |runtime: &&String| !words.iter().any(|word| name_of(word) == runtime.as_bytes());
    let mut value = OsString::new();
    let mut add = |word: &OsStr| {
        if !value.is_empty() {
            value.push(" ");
        }
        value.push(word);
    };
    for runtime in first.iter().filter(is_new) {
        add(runtime.as_ref());
    }
    for word in &words {
        add(OsStr::from_bytes(word));
    }
    if !stands_there {
        add(library);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_what_is_preloaded_already() {
        let ours = OsStr::new("/lib/libshmshim.so");
        let join = |inherited: &str, first: &[&str]| {
            let first: Vec<String> = first.iter().map(ToString::to_string).collect();
            let value = preload(Some(inherited.into()), ours, &first);
            value.into_string().unwrap()
        };
        assert_eq!(join("", &[]), "/lib/libshmshim.so");
        assert_eq!(join("a.so:b.so", &[]), "a.so b.so /lib/libshmshim.so");
        assert_eq!(join("libshmshim.so a.so", &[]), "libshmshim.so a.so");
        assert_eq!(
            join("a.so", &["libasan.so.8"]),
            "libasan.so.8 a.so /lib/libshmshim.so"
        );
        assert_eq!(
            join("/x/libasan.so.8 a.so", &["libasan.so.8"]),
            "/x/libasan.so.8 a.so /lib/libshmshim.so"
        );
    }
}
