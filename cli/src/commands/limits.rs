//! `shmshim limits`.

use std::process::ExitCode;

use serde::Serialize;
use shmshim_core::registry::inspect;
use shmshim_core::sysv::msg::{MsgLimitName, MsgLimits};
use shmshim_core::sysv::sem::SemLimits;
use shmshim_core::sysv::{LimitName, Limits};

use crate::error::{Error, Outcome};
use crate::limits::{self, SEM_NAMES, Setting, msg_value, sem_values};
use crate::output::{complain, print_json, print_table, set_right, table};
use crate::place::Place;

const EXAMPLES: &str = "\
Examples:
  shmshim limits                                what the namespace allows
  shmshim limits shmmax=1073741824 shmmni=100   smaller ones, to see how a program meets them
  shmshim limits shm_rmid_forced=1              segments go with the last process that uses them
  shmshim limits semmni=128 msgmnb=65536        of semaphore sets and message queues
  shmshim limits sem='250 32000 32 128'         semmsl, semmns, semopm and semmni, as the file sem has them

They are those of /proc/sys/kernel, and a program under the library finds these values there. Numbers
are written as there: decimal, octal with 0 in front, hexadecimal with 0x. In user scope their owner
may set them, in system scope root. All that can be set are set, or none.

JSON: an object with shmmax (bytes), shmall (pages), shmmni (segments), shm_rmid_forced (true or false),
semmsl, semmns, semopm, semmni, msgmax, msgmnb (bytes), msgmni";

/// What `shmshim limits` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The limits to be set
    #[arg(value_name = "NAME=VALUE", value_parser = limits::parse)]
    settings: Vec<Setting>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown {
    shmmax: u64,
    shmall: u64,
    shmmni: u32,
    shm_rmid_forced: bool,
    semmsl: i32,
    semmns: i32,
    semopm: i32,
    semmni: i32,
    msgmax: u32,
    msgmnb: u32,
    msgmni: u32,
}

/// Show or set the limits of a namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    if !args.settings.is_empty() {
        set(&args.settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut sem = SemLimits::KERNEL_DEFAULTS;
    let mut msg = MsgLimits::KERNEL_DEFAULTS;
    let limits = match inspect::here()? {
        Some(inspection) => {
            // Without a file of its own it has those that the file begins with.
            if let Some(objects) = inspection.objects()? {
                (sem, msg) = objects.limits();
            }
            inspection.namespace().limits
        }
        None => {
            complain(
                "there is no namespace here yet; these are the limits that a new one begins with",
            );
            Limits::KERNEL_DEFAULTS
        }
    };
    match args.json {
        true => print_json(&Shown {
            shmmax: limits.shmmax,
            shmall: limits.shmall,
            shmmni: limits.shmmni,
            shm_rmid_forced: limits.shm_rmid_forced,
            semmsl: sem.semmsl,
            semmns: sem.semmns,
            semopm: sem.semopm,
            semmni: sem.semmni,
            msgmax: msg.msgmax,
            msgmnb: msg.msgmnb,
            msgmni: msg.msgmni,
        })?,
        false => print_limits(&limits, &sem, &msg)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets them one after the other, but only if the rules accept every one.
fn set(settings: &[Setting]) -> Outcome<()> {
    for setting in settings {
        setting
            .check()
            .map_err(|refusal| Error::usage(refusal.why.to_string()))?;
    }
    for setting in settings {
        setting.set()?;
    }
    Ok(())
}

fn print_limits(limits: &Limits, sem: &SemLimits, msg: &MsgLimits) -> Outcome<()> {
    let mut table = table(&["NAME", "VALUE", "MEANING"]);
    set_right(&mut table, &[1]);
    let mut add = |name: &str, value: String, meaning: &str| {
        table.add_row([name.to_owned(), value, meaning.to_owned()]);
    };
    for name in LimitName::ALL {
        let (value, meaning) = match name {
            LimitName::Shmmax => (limits.shmmax, "bytes that a segment may have"),
            LimitName::Shmall => (limits.shmall, "pages that all segments together may have"),
            LimitName::Shmmni => (limits.shmmni.into(), "segments that there may be"),
            LimitName::ShmRmidForced => (
                limits.shm_rmid_forced.into(),
                "1: a segment goes with the last process that uses it",
            ),
        };
        add(name.file_name(), value.to_string(), meaning);
    }
    let meanings = [
        "semaphores that a set may have",
        "semaphores that all sets together may have",
        "operations that a call of semop may have",
        "semaphore sets that there may be",
    ];
    for ((name, value), meaning) in SEM_NAMES.iter().zip(sem_values(sem)).zip(meanings) {
        add(name, value.to_string(), meaning);
    }
    for name in MsgLimitName::ALL {
        let meaning = match name {
            MsgLimitName::Msgmax => "bytes that a message may have",
            MsgLimitName::Msgmnb => "bytes that a new message queue may hold",
            MsgLimitName::Msgmni => "message queues that there may be",
        };
        add(name.file_name(), msg_value(msg, name).to_string(), meaning);
    }
    print_table(&table)
}
