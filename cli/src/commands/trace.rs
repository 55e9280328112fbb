//! `shmshim trace`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::Pid;

use crate::calls::{self, Record, chrome, summary};
use crate::error::{Error, Outcome, RUN_FAILED};
use crate::launch::Launch;
use crate::output::{complain_raw, escaped};
use crate::parent::{self, End, Parent};
use crate::place::Place;

const EXAMPLES: &str = "\
Each call is printed in strace's form, with its time and duration, and the reason if it failed; what is no call stands
between dashes: forks and execs with attaches, dead processes that were found, segments that went with them. A call that
falls asleep is printed at once, with `= ?`, on what it sleeps and who stands in its way, and again when it comes back.

Examples:
  shmshim trace -- ./program                       on standard error
  shmshim trace -o calls.txt -- ./program          to a file
  shmshim trace --summary -- ./program             calls, errors and times, as strace -c
  shmshim trace --chrome timeline.json -- ./server for ui.perfetto.dev: a bar for each attach, a slice for each call

An attach that ends by munmap, or by the death of its process, has a bar up to the last that was seen of the process.
With --summary and --chrome signals are passed on to the program as by shmshim run --private.
Exit status: as that of shmshim run.";

/// What `shmshim trace` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Count calls, errors and time, as strace -c
    #[arg(long)]
    summary: bool,
    /// Write the timeline of all processes for a trace viewer (Perfetto)
    #[arg(long, value_name = "FILE")]
    chrome: Option<PathBuf>,
    /// Print to a file, not to standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Run a program that the kernel would serve all the same, with a warning
    #[arg(long)]
    allow_kernel: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

/// Run a program and print, count or draw each of its calls.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    let mut launch = Launch::new(&args.words, args.allow_kernel)?;
    if !args.summary && args.chrome.is_none() {
        let destination = match &args.output {
            Some(path) => made(path)?,
            None => "stderr".into(),
        };
        launch.set("SHMSHIM_TRACE", destination);
        launch.set("SHMSHIM_TRACE_FORMAT", "long");
        return Err(launch.exec());
    }
    let (mut drawing, mut table) = (
        Destination::open(args.chrome.as_deref())?,
        Destination::open(args.output.as_deref())?,
    );
    let (end, records) = traced(&mut launch)?;
    if let Some(file) = &mut drawing {
        file.write(&(chrome::timeline(&records).to_string() + "\n"))?;
    }
    if args.summary {
        let text = summary::table(&records);
        match &mut table {
            Some(file) => file.write(&text)?,
            None => complain_raw(&text),
        }
    }
    Ok(parent::leave(end))
}

/// Runs the program to its end. Nothing is left of its trace but what is returned.
fn traced(launch: &mut Launch) -> Outcome<(End, Vec<Record>)> {
    let trace = Trace::new()?;
    launch.set("SHMSHIM_TRACE", &trace.path);
    launch.set("SHMSHIM_TRACE_FORMAT", "json");
    let mut parent = Parent::new()?;
    let child = launch.spawn()?;
    let end = parent.wait(Pid::from_child(&child))?;
    let records = trace.read();
    drop(trace);
    // Whoever is to read what is written now may never do so.
    let end = parent.release().map_or(end, End::Killed);
    Ok((end, records?))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        RUN_FAILED,
        format!("{} cannot be written: {error}", escaped(&path)),
    )
}

/// An empty file of the user's own, by a path that the program finds from any directory.
fn made(path: &Path) -> Outcome<OsString> {
    let absolute = std::path::absolute(path).map_err(|error| failed(path, &error))?;
    File::create(&absolute).map_err(|error| failed(path, &error))?;
    Ok(absolute.into_os_string())
}

/// A file that is opened before the program runs, so that what is wrong with it is said then, and a fifo's reader sees no end.
struct Destination<'p> {
    path: &'p Path,
    file: File,
}

impl<'p> Destination<'p> {
    fn open(path: Option<&'p Path>) -> Outcome<Option<Destination<'p>>> {
        let open = |path| {
            let file = File::create(path).map_err(|error| failed(path, &error))?;
            Ok(Destination { path, file })
        };
        path.map(open).transpose()
    }

    fn write(&mut self, text: &str) -> Outcome<()> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(|error| failed(self.path, &error))
    }
}

/// The file that the processes of the run write to; it goes with this.
struct Trace {
    path: PathBuf,
}

impl Trace {
    fn new() -> Outcome<Trace> {
        let now = chrono::Utc::now().timestamp_nanos_opt().unwrap_or(0);
        let name = format!("shmshim-trace.{}.{now}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let made = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        made.map_err(|error| failed(&path, &error))?;
        Ok(Trace { path })
    }

    fn read(&self) -> Outcome<Vec<Record>> {
        let bytes = fs::read(&self.path).map_err(|error| {
            let path = escaped(&self.path);
            Error::new(RUN_FAILED, format!("{path} cannot be read: {error}"))
        })?;
        Ok(calls::read(&String::from_utf8_lossy(&bytes)))
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
