//! Which file a program's name leads to, and what the kernel runs in its place: the interpreter of a script, and the
//! program behind `env`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use crate::error::{Error, NO_PROGRAM, NOT_SERVED, Outcome};
use crate::output::escaped;

/// How many interpreters may stand behind each other; the kernel follows five.
const DEPTH: usize = 8;
/// How much of a script's first line the kernel reads.
const LINE: u64 = 256;

/// What is executed in turn for one command line: the named program first, the one that the kernel loads last.
#[derive(Debug)]
pub struct Chain {
    /// The files.
    pub files: Vec<PathBuf>,
    /// What takes `LD_PRELOAD` out of the environment on the way.
    pub cleaner: Option<String>,
}

impl Chain {
    /// The program that the kernel loads.
    pub fn last(&self) -> &Path {
        self.files.last().map_or(Path::new(""), PathBuf::as_path)
    }
}

/// The file that is executed for this name, as `execvp` finds it.
pub fn find(name: &OsStr) -> Outcome<PathBuf> {
    let shown = escaped(name);
    if name.as_bytes().contains(&b'/') {
        let path = PathBuf::from(name);
        return match may_execute(&path) {
            Ok(()) => Ok(path),
            Err(Reason::Absent) => Err(Error::new(
                NO_PROGRAM,
                format!("there is no program {shown}"),
            )),
            Err(Reason::Closed(why)) => Err(Error::new(
                NOT_SERVED,
                format!("{shown} cannot be run: {why}"),
            )),
        };
    }
    let mut closed = None;
    for directory in search_path() {
        let path = directory.join(name);
        match may_execute(&path) {
            Ok(()) => return Ok(path),
            Err(Reason::Absent) => {}
            Err(Reason::Closed(why)) => {
                closed.get_or_insert(format!("{} cannot be run: {why}", escaped(&path)));
            }
        }
    }
    Err(match closed {
        Some(sentence) => Error::new(NOT_SERVED, sentence),
        None => Error::new(
            NO_PROGRAM,
            format!("there is no program {shown} in PATH; give its path if it lies elsewhere"),
        ),
    })
}

fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let here = |directory: PathBuf| match directory.as_os_str().is_empty() {
        true => PathBuf::from("."),
        false => directory,
    };
    std::env::split_paths(&path).map(here).collect()
}

enum Reason {
    Absent,
    Closed(String),
}

fn may_execute(path: &Path) -> Result<(), Reason> {
    let status = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Reason::Absent,
        _ => Reason::Closed(error.to_string()),
    })?;
    if status.is_dir() {
        return Err(Reason::Closed("it is a directory".into()));
    }
    eaccess(path, AccessFlags::X_OK).map_err(|error| {
        Reason::Closed(match error {
            nix::errno::Errno::EACCES => {
                "its mode, or the file system, does not let this user execute it".into()
            }
            other => other.desc().to_owned(),
        })
    })
}

/// Follows scripts, and `env`, from the named program to the one that is loaded.
pub fn follow(program: &Path, arguments: &[OsString]) -> Outcome<Chain> {
    let mut chain = Chain {
        files: vec![program.to_path_buf()],
        cleaner: None,
    };
    let mut arguments = arguments.to_vec();
    let mut path = program.to_path_buf();
    for _ in 0..DEPTH {
        let next = if let Some((interpreter, argument)) = shebang(&path) {
            let mut behind: Vec<OsString> = argument.into_iter().collect();
            behind.push(path.clone().into_os_string());
            behind.append(&mut arguments);
            arguments = behind;
            find_interpreter(&interpreter, &path)?
        } else if let Some(how) = starts_clean(&path, &arguments) {
            chain.cleaner = Some(how);
            return Ok(chain);
        } else if let Some((next, behind)) = behind_wrapper(&path, &arguments) {
            arguments = behind;
            next
        } else if path.file_name() == Some(OsStr::new("env")) {
            let Some(behind) = BehindEnv::read(&arguments) else {
                return Ok(chain);
            };
            if let Some(option) = behind.cleaner {
                chain.cleaner = Some(format!("{} {option}", escaped(&path)));
            }
            arguments = behind.arguments;
            match find(&behind.program) {
                Ok(path) => path,
                // env says it better, and with its own exit status.
                Err(_) => return Ok(chain),
            }
        } else {
            return Ok(chain);
        };
        chain.files.push(next.clone());
        path = next;
    }
    Err(Error::new(
        NOT_SERVED,
        format!(
            "{} leads from script to script without an end",
            escaped(&program)
        ),
    ))
}

fn find_interpreter(interpreter: &Path, script: &Path) -> Outcome<PathBuf> {
    match may_execute(interpreter) {
        Ok(()) => Ok(interpreter.to_path_buf()),
        Err(Reason::Absent) => Err(Error::new(
            NO_PROGRAM,
            format!(
                "the script {} asks for {}, which is not there",
                escaped(&script),
                escaped(&interpreter)
            ),
        )),
        Err(Reason::Closed(why)) => Err(Error::new(
            NOT_SERVED,
            format!(
                "the script {} asks for {}, which cannot be run: {why}",
                escaped(&script),
                escaped(&interpreter)
            ),
        )),
    }
}

/// The interpreter of a script and its argument, as the kernel reads the first line. A text without one is the shell's,
/// as for `execvp`.
fn shebang(path: &Path) -> Option<(PathBuf, Option<OsString>)> {
    let mut line = Vec::new();
    File::open(path)
        .ok()?
        .take(LINE)
        .read_to_end(&mut line)
        .ok()?;
    let Some(rest) = line.strip_prefix(b"#!") else {
        let is_text = !line.starts_with(b"\x7fELF") && !line.contains(&0);
        return is_text.then(|| (PathBuf::from("/bin/sh"), None));
    };
    let rest = rest.split(|&byte| byte == b'\n').next().unwrap_or(&[]);
    let rest = rest.trim_ascii();
    let end = rest
        .iter()
        .position(|&byte| byte == b' ' || byte == b'\t')
        .unwrap_or(rest.len());
    let (interpreter, argument) = rest.split_at_checked(end)?;
    let argument = argument.trim_ascii();
    let argument = (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec()));
    Some((
        PathBuf::from(OsString::from_vec(interpreter.to_vec())),
        argument,
    ))
}

/// Commands that run others for another user, in an environment of their own: how, if this is one of them.
fn starts_clean(path: &Path, arguments: &[OsString]) -> Option<String> {
    let shown = escaped(&path);
    match path.file_name()?.to_str()? {
        "sudo" | "doas" | "pkexec" => Some(shown.to_string()),
        "su" | "runuser" => {
            let is_login = |word: &&OsString| *word == "-" || *word == "-l" || *word == "--login";
            let option = arguments.iter().find(is_login)?;
            Some(format!("{shown} {}", escaped(option)))
        }
        _ => None,
    }
}

/// What these commands run in their own place, and leave the environment as it is: the first word that names a program, for
/// numbers, signals and the like do not.
fn behind_wrapper(path: &Path, arguments: &[OsString]) -> Option<(PathBuf, Vec<OsString>)> {
    const WRAPPERS: [&str; 9] = [
        "chrt", "ionice", "nice", "nohup", "setsid", "stdbuf", "taskset", "time", "timeout",
    ];
    if !WRAPPERS.contains(&path.file_name()?.to_str()?) {
        return None;
    }
    let mut words = arguments.iter().enumerate();
    words.find_map(|(at, word)| {
        let is_option = word.as_bytes().starts_with(b"-");
        let found = find(word).ok().filter(|_| !is_option)?;
        let behind = arguments.get(at + 1..).unwrap_or(&[]);
        Some((found, behind.to_vec()))
    })
}

/// What `env` runs.
struct BehindEnv {
    program: OsString,
    arguments: Vec<OsString>,
    /// The option that takes `LD_PRELOAD` away.
    cleaner: Option<&'static str>,
}

impl BehindEnv {
    /// Reads env's arguments as GNU and BSD take them; `None` where it runs nothing.
    fn read(arguments: &[OsString]) -> Option<BehindEnv> {
        let mut rest: Vec<OsString> = arguments.iter().rev().cloned().collect();
        let mut cleaner = None;
        while let Some(word) = rest.pop() {
            let text = word.as_bytes();
            if text == b"--" {
                continue;
            }
            if text == b"-" || text == b"--ignore-environment" {
                cleaner = Some("-i");
            } else if let Some(value) = text.strip_prefix(b"--unset=") {
                if value == b"LD_PRELOAD" {
                    cleaner = Some("-u LD_PRELOAD");
                }
            } else if let Some(string) = text.strip_prefix(b"--split-string=") {
                push_words(&mut rest, string);
            } else if text.starts_with(b"--") {
                // Another long option: it changes no variable.
            } else if let Some(letters) = text.strip_prefix(b"-") {
                read_letters(letters, &mut rest, &mut cleaner);
            } else if let Some(value) = text.strip_prefix(b"LD_PRELOAD=") {
                let name = super::library::NAME.as_bytes();
                if !value.windows(name.len()).any(|window| window == name) {
                    cleaner = Some("LD_PRELOAD=");
                }
            } else if !text.contains(&b'=') {
                rest.reverse();
                return Some(BehindEnv {
                    program: word,
                    arguments: rest,
                    cleaner,
                });
            }
        }
        None
    }
}

/// A word of short options: `-i`, `-u NAME`, `-vS 'a b'`, `-C DIR`.
fn read_letters(letters: &[u8], rest: &mut Vec<OsString>, cleaner: &mut Option<&'static str>) {
    for (at, letter) in letters.iter().enumerate() {
        let glued = letters.get(at + 1..).unwrap_or(&[]);
        let takes_value = matches!(letter, b'u' | b'C' | b'S' | b'P' | b'a');
        if *letter == b'i' {
            *cleaner = Some("-i");
        }
        if !takes_value {
            continue;
        }
        let value = match glued.is_empty() {
            false => Some(OsString::from_vec(glued.to_vec())),
            true => rest.pop(),
        };
        let value = value.unwrap_or_default();
        match letter {
            b'u' if value == "LD_PRELOAD" => *cleaner = Some("-u LD_PRELOAD"),
            b'S' => push_words(rest, value.as_bytes()),
            _ => {}
        }
        return;
    }
}

fn push_words(rest: &mut Vec<OsString>, string: &[u8]) {
    let words = string.split(u8::is_ascii_whitespace);
    let words = words.filter(|word| !word.is_empty());
    let mut words: Vec<OsString> = words
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    words.reverse();
    rest.append(&mut words);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(words: &[&str]) -> Option<(String, Vec<String>, Option<&'static str>)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        BehindEnv::read(&words).map(|behind| {
            let text = |word: OsString| word.into_string().unwrap();
            (
                text(behind.program),
                behind.arguments.into_iter().map(text).collect(),
                behind.cleaner,
            )
        })
    }

    #[test]
    fn finds_the_program_behind_env() {
        let perl = |arguments: &[&str], cleaner| {
            let arguments = arguments.iter().map(ToString::to_string).collect();
            Some(("perl".to_owned(), arguments, cleaner))
        };
        assert_eq!(env(&["perl", "-i", "x"]), perl(&["-i", "x"], None));
        assert_eq!(env(&["-S", "perl -w", "x"]), perl(&["-w", "x"], None));
        assert_eq!(env(&["-Sperl -w", "x"]), perl(&["-w", "x"], None));
        assert_eq!(env(&["A=1", "--", "B=2", "perl"]), perl(&[], None));
        assert_eq!(env(&["-u", "A", "perl"]), perl(&[], None));
        assert_eq!(env(&["-C", "/", "perl"]), perl(&[], None));
        assert_eq!(env(&["-i", "perl"]), perl(&[], Some("-i")));
        assert_eq!(env(&["-", "perl"]), perl(&[], Some("-i")));
        assert_eq!(
            env(&["-uLD_PRELOAD", "perl"]),
            perl(&[], Some("-u LD_PRELOAD"))
        );
        assert_eq!(
            env(&["LD_PRELOAD=other.so", "perl"]),
            perl(&[], Some("LD_PRELOAD="))
        );
        assert_eq!(env(&["LD_PRELOAD=libshmshim.so", "perl"]), perl(&[], None));
        assert_eq!(env(&["A=1"]), None);
    }
}
