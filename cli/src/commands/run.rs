//! `shmshim run`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, LEAK, Outcome, RUN_FAILED};
use crate::launch::Launch;
use crate::limits::{self, Setting};
use crate::output::{complain, complain_raw, escaped};
use crate::parent::{self, End, Parent};
use crate::place::Place;
use crate::private::{Private, Report};

/// What `shmshim run` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  shmshim run -- ./program                   serve a program
  shmshim run --private -- make check        a namespace for this run alone, and what it left behind
  shmshim run --private --fail-on-leak -- ./tests
  shmshim run --trace=calls.txt -- ./program
  shmshim run --guard --report -- ./program  find what it does wrong with its segments
  shmshim run --fail shmget:ENOSPC:3 -- ./program
  timeout 60 shmshim run -- ./program        also under xargs, nohup, sudo, a shell's job control

With --private shmshim waits for the program. Signals that are sent to shmshim are passed on to it, those of real time
without the value that sigqueue gives them, and of many at once perhaps not each. Not passed on are KILL, STOP and CHLD, those
that tell a program of an error of its own (BUS, FPE, ILL, SEGV, SYS, TRAP), and what was ignored when shmshim was started.

Descriptors that are closed are closed in the program, too. SIGPIPE is at its default in the program, also where it was ignored.

Exit status: that of the program; by a signal if it ended by one; 70 for a leak; 125 if shmshim fails,
126 if the program cannot be run or not be served, 127 if it is not there.")]
pub struct Args {
    /// Run a program that the kernel would serve all the same, with a warning
    #[arg(long)]
    allow_kernel: bool,
    /// A fresh namespace for this run, removed afterwards; says which segments, semaphore sets and message queues the program left in it
    #[arg(long, help_heading = "A namespace for the run")]
    private: bool,
    /// Exit with 70 if the program succeeded but left segments, semaphore sets or message queues
    #[arg(long, requires = "private", help_heading = "A namespace for the run")]
    fail_on_leak: bool,
    /// How to say what was left
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        requires = "private",
        help_heading = "A namespace for the run"
    )]
    leak_format: Format,
    /// Keep the namespace instead of removing it
    #[arg(long, requires = "private", help_heading = "A namespace for the run")]
    keep: bool,
    /// Wait for the processes that the program left in the background, then report
    #[arg(long, requires = "private", help_heading = "A namespace for the run")]
    wait: bool,
    /// Set a limit of the namespace first: shmmax, semmni, msgmnb, … (shmshim limits lists them)
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limits::parse)]
    limits: Vec<Setting>,
    /// Print each call, on standard error or to FILE, as SHMSHIM_TRACE
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "stderr"
    )]
    trace: Option<OsString>,
    /// Put inaccessible pages on both sides of each attach, and say which segment an access runs over, as SHMSHIM_GUARD
    #[arg(long, help_heading = "Finding the bug in the program")]
    guard: bool,
    /// Have a call fail: shmget:ENOSPC:3 the third one, shmat:ENOMEM:p0.01 one in a hundred, as SHMSHIM_FAIL
    #[arg(
        long = "fail",
        value_name = "CALL:ERRNO[:WHEN]",
        help_heading = "Finding the bug in the program"
    )]
    failures: Vec<String>,
    /// Say at the end of each process what it left and what looks like a mistake, as SHMSHIM_REPORT
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "stderr",
        help_heading = "Finding the bug in the program"
    )]
    report: Option<OsString>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

/// How a report is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// For people; nothing if nothing was left.
    Text,
    /// One object, also if nothing was left.
    Json,
}

/// Run a program with its System V shared memory served by the library.
pub fn run(args: Args, place: &Place) -> Outcome<ExitCode> {
    let mut launch = Launch::new(&args.words, args.allow_kernel)?;
    for (name, file) in [
        ("SHMSHIM_TRACE", &args.trace),
        ("SHMSHIM_REPORT", &args.report),
    ] {
        if let Some(file) = file {
            launch.set(name, destination(file)?);
        }
    }
    if args.guard {
        launch.set("SHMSHIM_GUARD", "1");
    }
    if !args.failures.is_empty() {
        launch.set("SHMSHIM_FAIL", args.failures.join(","));
    }
    if !args.private {
        set_limits(&args.limits)?;
        return Err(launch.exec());
    }
    let private = Private::make()?;
    let chosen = Place {
        dir: Some(private.path().to_path_buf()),
        scope: place.scope,
    };
    chosen.choose();
    set_limits(&args.limits)?;
    let mut parent = Parent::new()?;
    let child = launch.spawn()?;
    let mut end = parent.wait(Pid::from_child(&child))?;
    let name = args.words.first();
    let name = name.map_or_else(String::new, |name| escaped(name).to_string());
    if args.wait {
        await_others(&private, &mut parent, &mut end)?;
    }
    let report = private.report()?;
    let (kept, removed) = match args.keep {
        true => (Some(private.keep()), Ok(())),
        false => (None, private.remove()),
    };
    // Nothing has to be put away any more, and whoever is to read what is said now may never do so.
    end = parent.release().map_or(end, End::Killed);
    say(&report, args.leak_format, &name)?;
    if let Some(path) = kept {
        let path = escaped(&path);
        complain(&format!("the namespace is kept: shmshim --dir {path} ls"));
    }
    removed?;
    if args.fail_on_leak && end == End::Exit(0) && report.has_leaks() {
        return Ok(ExitCode::from(LEAK));
    }
    Ok(parent::leave(end))
}

/// The file that lines go to, as the program finds it from any directory.
fn destination(given: &OsString) -> Outcome<OsString> {
    if given == "stderr" || given == "1" {
        return Ok(given.clone());
    }
    let path = std::path::absolute(given).map_err(|error| {
        Error::new(
            RUN_FAILED,
            format!("{} cannot be made a path: {error}", escaped(given)),
        )
    })?;
    Ok(path.into_os_string())
}

fn set_limits(limits: &[Setting]) -> Outcome<()> {
    for setting in limits {
        setting.set().map_err(|failure| {
            Error::new(
                RUN_FAILED,
                format!(
                    "{} cannot be set to {}: {}",
                    setting.name.text(),
                    setting.value,
                    failure.why
                ),
            )
        })?;
    }
    Ok(())
}

fn say(report: &Report, format: Format, name: &str) -> Outcome<()> {
    let text = match format {
        Format::Text => report.text(name),
        Format::Json => {
            let json = serde_json::to_string(report)
                .map_err(|error| Error::new(RUN_FAILED, error.to_string()))?;
            json + "\n"
        }
    };
    complain_raw(&text);
    Ok(())
}

/// Waits until no process uses the namespace, or a signal ends the waiting.
fn await_others(private: &Private, parent: &mut Parent, end: &mut End) -> Outcome<()> {
    let mut is_said = false;
    loop {
        let others = private.report()?.processes;
        let Some(first) = others.first() else {
            return Ok(());
        };
        if !is_said {
            is_said = true;
            let pids: Vec<String> = others.iter().map(|one| one.pid.to_string()).collect();
            complain(&format!(
                "waiting for processes that the program left: {}",
                pids.join(", ")
            ));
        }
        await_end(first.pid);
        if let Some(signal) = parent.is_interrupted() {
            *end = End::Killed(signal);
            return Ok(());
        }
    }
}

/// Waits for the end of a process that is no child, one second at the most: for signals, and for others that come.
fn await_end(pid: i32) {
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let fd = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    match fd {
        Some(fd) => {
            let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&second));
        }
        // It has ended, or the kernel has no such descriptors.
        None => std::thread::sleep(Duration::from_millis(50)),
    }
}
