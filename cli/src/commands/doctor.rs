//! `shmshim doctor`.

use std::ffi::OsString;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use crate::diagnosis::{self, Finding, Level};
use crate::door::{self, Door, Route};
use crate::error::{FOUND, Outcome};
use crate::output::{self, escaped};
use crate::place::Place;

/// What `shmshim doctor` takes.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Each line is ok, a note, or a problem, with what to do about it.

Examples:
  shmshim doctor                  the library, the namespace, and what surrounds it
  shmshim doctor ./legacy-server  and whether this program, or the script's interpreter, can be served

Exit status: 0 if there is no problem, 1 if there is one.")]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A program, with its arguments if it is env; options of doctor come before it
    #[arg(trailing_var_arg = true, value_name = "PROGRAM")]
    words: Vec<OsString>,
}

/// Tell which namespace would be used and whether a program can be served.
pub fn run(args: Args, _place: &Place) -> Outcome<ExitCode> {
    if let Some(option) = taken_for_an_argument(&args.words) {
        output::complain(&format!(
            "{option} behind the program is an argument of the program; write it before the program if it is for doctor"
        ));
    }
    let mut findings = diagnosis::of_surroundings();
    if let Some((program, arguments)) = args.words.split_first() {
        match door::find(program, arguments) {
            Ok(route) => findings.extend(of_route(&route)),
            Err(error) => findings.push(Finding::problem("program", error.sentence, None)),
        }
    }
    if args.json {
        output::print_json(&findings)?;
    } else {
        output::print(&text(&findings))?;
    }
    let has_problem = findings
        .iter()
        .any(|finding| finding.level == Level::Problem);
    Ok(match has_problem {
        true => ExitCode::from(FOUND),
        false => ExitCode::SUCCESS,
    })
}

/// An option of this command that stands among the words of the program, unless `--` says that it belongs there.
fn taken_for_an_argument(words: &[OsString]) -> Option<&'static str> {
    const OPTIONS: [&str; 3] = ["--json", "--dir", "--scope"];
    if std::env::args_os().any(|word| word == "--") {
        return None;
    }
    OPTIONS.into_iter().find(|option| {
        let is_it = |word: &OsString| {
            let rest = word.as_bytes().strip_prefix(option.as_bytes());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"="))
        };
        words.iter().skip(1).any(is_it)
    })
}

/// What stands between a command line and the program that is loaded for it.
fn of_route(route: &Route) -> Vec<Finding> {
    const TOPIC: &str = "program";
    let mut findings = Vec::new();
    for pair in route.chain.files.windows(2) {
        if let [file, next] = pair {
            let text = format!("{} is run by {}", escaped(&file), escaped(&next));
            findings.push(Finding::ok(TOPIC, text));
        }
    }
    let shown = escaped(route.chain.last());
    if let Some(binary) = &route.binary {
        let linker = match &binary.linker {
            Some(linker) => format!("loaded by {}", escaped(linker)),
            None => "statically linked".to_owned(),
        };
        let text = format!("{shown}: {}, {linker}", binary.abi.name());
        findings.push(Finding::ok(TOPIC, text));
    }
    match &route.door {
        Door::Preload {
            library,
            first,
            note,
            ..
        } => {
            for runtime in first {
                let text = format!("{shown} has a sanitizer: {runtime} is preloaded first");
                findings.push(Finding::ok(TOPIC, text));
            }
            findings.push(Finding::ok(
                TOPIC,
                format!("served: {} is loaded into it", escaped(&library.path)),
            ));
            if let Some(note) = note {
                findings.push(Finding::note(TOPIC, note, None));
            }
        }
        Door::Supervisor { command, why } => findings.push(Finding::note(
            TOPIC,
            format!("served by {}: {why}", escaped(&command)),
            None,
        )),
        Door::Kernel { why } => findings.push(Finding::problem(
            TOPIC,
            format!("the kernel would serve it: {why}"),
            None,
        )),
    }
    findings
}

fn text(findings: &[Finding]) -> String {
    let is_coloured = output::has_colour();
    let width = findings.iter().map(|finding| finding.topic.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let (word, colour) = match finding.level {
            Level::Ok => ("ok", AnsiColor::Green),
            Level::Note => ("note", AnsiColor::Yellow),
            Level::Problem => ("problem", AnsiColor::Red),
        };
        let style = match is_coloured {
            true => Style::new().fg_color(Some(colour.into())),
            false => Style::new(),
        };
        let cure = finding
            .cure
            .as_ref()
            .map_or_else(String::new, |cure| format!("; {cure}"));
        let _ = writeln!(
            text,
            "{style}{word:<7}{style:#}  {:<width$}  {}{cure}",
            finding.topic, finding.text
        );
    }
    text
}
