//! `shmshim generate`: what scripts/install installs beside the command.
//!
//! A page for each subcommand, as git has them, from the same text as `--help`. What `--help` has behind the options
//! becomes sections: lines behind `Examples:` stand as they are, a paragraph that begins with `Exit status:` is that section.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap_complete::Shell;
use clap_mangen::Man;

use crate::error::{Error, Outcome};
use crate::output::escaped;

/// What the main page says beyond the subcommands.
const MAIN: &str = include_str!("generate.roff");

/// What `shmshim generate` takes.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The directory, which is made: man1, bash, zsh and fish are made in it
    directory: PathBuf,
}

/// Write the manual pages and the shells' completions of the whole command line.
pub fn run(args: Args, whole: clap::Command) -> Outcome<ExitCode> {
    pages(&args.directory, whole.clone())
        .and_then(|()| completions(&args.directory, whole))
        .map_err(|error| {
            let shown = escaped(&args.directory);
            Error::refused(format!("{shown} cannot be written: {error}"))
        })?;
    Ok(ExitCode::SUCCESS)
}

fn pages(directory: &Path, whole: clap::Command) -> io::Result<()> {
    let directory = directory.join("man1");
    std::fs::create_dir_all(&directory)?;
    let mut main = whole.disable_help_subcommand(true);
    // Gives the subcommands their full names and the global options.
    main.build();
    std::fs::write(directory.join("shmshim.1"), page(&main, MAIN)?)?;
    for command in main.get_subcommands() {
        if command.is_hide_set() {
            continue;
        }
        let name = format!("shmshim-{}", command.get_name());
        let file = directory.join(format!("{name}.1"));
        let command = command.clone().display_name(&name);
        let see_also = ".SH \"SEE ALSO\"\n.BR shmshim (1),\n.BR shmshim (7)\n";
        std::fs::write(file, page(&command, see_also)?)?;
    }
    Ok(())
}

fn page(command: &clap::Command, rest: &str) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone())
        .manual("shmshim")
        .source(format!("shmshim {}", env!("CARGO_PKG_VERSION")))
        .date("");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().next().is_some() {
        man.render_options_section(&mut text)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(help) = command
        .get_after_help()
        .filter(|_| !command.has_subcommands())
    {
        text.extend(sections(&help.to_string()).into_bytes());
    }
    text.extend(rest.as_bytes());
    Ok(text)
}

/// What stands behind the options of `--help`, as sections.
fn sections(help: &str) -> String {
    let mut text = String::new();
    for paragraph in help.split("\n\n") {
        let escape = |line: &str| {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            match line.starts_with(['.', '\'']) {
                true => format!("\\&{line}"),
                false => line,
            }
        };
        if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
            text.push_str(".SH EXAMPLES\n.nf\n");
            for line in examples.lines() {
                text.push_str(&escape(line.strip_prefix("  ").unwrap_or(line)));
                text.push('\n');
            }
            text.push_str(".fi\n");
            continue;
        }
        let (heading, rest) = match paragraph.strip_prefix("Exit status: ") {
            Some(rest) => (".SH \"EXIT STATUS\"\n", rest),
            None => (".SH NOTES\n", paragraph),
        };
        text.push_str(heading);
        for line in rest.trim().lines() {
            text.push_str(&escape(line));
            text.push('\n');
        }
    }
    text
}

fn completions(directory: &Path, mut whole: clap::Command) -> io::Result<()> {
    for (shell, place) in [
        (Shell::Bash, "bash"),
        (Shell::Zsh, "zsh"),
        (Shell::Fish, "fish"),
    ] {
        let directory = directory.join(place);
        std::fs::create_dir_all(&directory)?;
        clap_complete::generate_to(shell, &mut whole, "shmshim", directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_becomes_sections() {
        assert_eq!(
            sections("A word.\n\nExamples:\n  a -b\n    c\n\nExit status: 0\nor 1.\n"),
            ".SH NOTES\nA word.\n.SH EXAMPLES\n.nf\na \\-b\n  c\n.fi\n.SH \"EXIT STATUS\"\n0\nor 1.\n"
        );
    }
}
