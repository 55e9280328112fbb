//! `shmshim trace`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::unistd::Pid;

use crate::calls::{self, Record, chrome, summary};
use crate::error::{Error, Outcome, RUN_FAILED};
use crate::launch::Launch;
use crate::output::complain_raw;
use crate::parent::{self, Parent};
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
    // Found out before the program has run.
    for path in args.output.iter().chain(&args.chrome) {
        made(path)?;
    }
    let trace = Trace::new()?;
    launch.set("SHMSHIM_TRACE", &trace.path);
    launch.set("SHMSHIM_TRACE_FORMAT", "json");
    let mut parent = Parent::new()?;
    let child = launch.spawn()?;
    let end = parent.wait(Pid::from_raw(child.id() as i32))?;
    let records = trace.read()?;
    if let Some(path) = &args.chrome {
        write(path, &(chrome::timeline(&records).to_string() + "\n"))?;
    }
    if args.summary {
        let table = summary::table(&records);
        match &args.output {
            Some(path) => write(path, &table)?,
            None => complain_raw(&table),
        }
    }
    Ok(parent::leave(end))
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::new(
        RUN_FAILED,
        format!("{} cannot be written: {error}", path.display()),
    )
}

/// An empty file of the user's own, by a path that the program finds from any directory.
fn made(path: &Path) -> Outcome<OsString> {
    let absolute = std::path::absolute(path).map_err(|error| failed(path, &error))?;
    File::create(&absolute).map_err(|error| failed(path, &error))?;
    Ok(absolute.into_os_string())
}

fn write(path: &Path, text: &str) -> Outcome<()> {
    fs::write(path, text).map_err(|error| failed(path, &error))
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
            let path = self.path.display();
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
