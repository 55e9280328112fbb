//! `shmshim limits`.

use std::process::ExitCode;

use serde::Serialize;
use shmshim_core::registry::{self, inspect};
use shmshim_core::sysv::{LimitName, Limits};

use crate::error::{Error, Outcome};
use crate::output::{complain, print_json, print_table, set_right, table};
use crate::place::Place;

const EXAMPLES: &str = "\
Examples:
  shmshim limits                                what the namespace allows
  shmshim limits shmmax=1073741824 shmmni=100   smaller ones, to see how a program meets them
  shmshim limits shm_rmid_forced=1              segments go with the last process that uses them

They are those of /proc/sys/kernel, and a program under the library finds these values there. Numbers
are written as there: decimal, octal with 0 in front, hexadecimal with 0x. In user scope their owner
may set them, in system scope root. All that can be set are set, or none.

JSON: an object with shmmax (bytes), shmall (pages), shmmni (segments), shm_rmid_forced (true or false)";

/// What `shmshim limits` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The limits to be set
    #[arg(value_name = "NAME=VALUE", value_parser = setting)]
    settings: Vec<Setting>,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// A limit, and what is to be written to it.
#[derive(Debug, Clone)]
struct Setting {
    name: LimitName,
    value: String,
}

fn setting(text: &str) -> Result<Setting, String> {
    let names = || LimitName::ALL.map(LimitName::file_name).join(", ");
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("write NAME=VALUE; the names are {}", names()))?;
    let name = LimitName::ALL
        .into_iter()
        .find(|known| known.file_name() == name)
        .ok_or_else(|| format!("there is no limit {name:?}; the names are {}", names()))?;
    match value.trim() {
        // The kernel accepts a write of nothing and changes nothing.
        "" => Err(format!("{} has no value", name.file_name())),
        value => Ok(Setting {
            name,
            value: value.to_owned(),
        }),
    }
}

#[derive(Serialize)]
struct Shown {
    shmmax: u64,
    shmall: u64,
    shmmni: u32,
    shm_rmid_forced: bool,
}

/// Show or set the limits of a namespace.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    if !args.settings.is_empty() {
        set(&args.settings)?;
        return Ok(ExitCode::SUCCESS);
    }
    let limits = match inspect::here()? {
        Some(inspection) => inspection.namespace().limits,
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
        })?,
        false => print_limits(&limits)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Sets them one after the other, but only if the rules accept every one.
fn set(settings: &[Setting]) -> Outcome<()> {
    for Setting { name, value } in settings {
        let mut tried = Limits::KERNEL_DEFAULTS;
        tried
            .parse_and_set(*name, value.as_bytes())
            .map_err(|refusal| Error::usage(registry::Error::from(refusal).why.to_string()))?;
    }
    for Setting { name, value } in settings {
        registry::set_limit(*name, value.as_bytes())?;
    }
    Ok(())
}

fn print_limits(limits: &Limits) -> Outcome<()> {
    let mut table = table(&["NAME", "VALUE", "MEANING"]);
    set_right(&mut table, &[1]);
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
        table.add_row([
            name.file_name().to_owned(),
            value.to_string(),
            meaning.to_owned(),
        ]);
    }
    print_table(&table)
}
