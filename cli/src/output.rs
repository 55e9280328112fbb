//! What is printed: lines, tables, JSON, and colours only where they are welcome.

use std::ffi::OsStr;
use std::io::{self, IsTerminal, Write};
use std::os::unix::ffi::OsStrExt;

use anstyle::Style;
use serde::Serialize;
use shmshim_core::os::path::OnOneLine;

use crate::error::{Error, Outcome};
use crate::startup;

/// A path, or another text of others', as everything here prints it: on one line, and without what could write elsewhere on
/// a terminal.
pub fn escaped<N: AsRef<OsStr> + ?Sized>(name: &N) -> OnOneLine<'_> {
    OnOneLine(name.as_ref().as_bytes())
}

/// Says one sentence on standard error. The number of an error says nothing that its words do not.
pub fn complain(sentence: &str) {
    let mut said = String::new();
    let mut rest = sentence;
    while let Some((words, behind)) = rest.split_once(" (os error ") {
        said.push_str(words);
        rest = behind.split_once(')').map_or("", |(_, behind)| behind);
    }
    said.push_str(rest);
    let _ = writeln!(io::stderr(), "shmshim: {}", escaped(&said));
}

/// Puts text on standard error as it is.
pub fn complain_raw(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Prints to standard output.
pub fn print(text: &str) -> Outcome<()> {
    let mut out = io::stdout();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush())).map(drop)
}

/// What has become of text for standard output. `false`: nobody reads on. A closed pipe is an end, not an error.
pub fn written(result: io::Result<()>) -> Outcome<bool> {
    let why = match result {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
        Err(_) if !startup::has_output() => "it is closed".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Error::refused(format!(
        "standard output cannot be written: {why}"
    )))
}

/// Prints a value as JSON, indented, with a newline.
pub fn print_json(value: &impl Serialize) -> Outcome<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::refused(format!("no JSON can be made of this: {error}")))?;
    print(&(text + "\n"))
}

/// Whether standard output may be coloured: a terminal, and no `NO_COLOR`.
pub fn has_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A table without borders: columns are as wide as they need, numbers are set right by the caller's choice.
pub fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Prints a table, no line with spaces at its end.
pub fn print_table(table: &comfy_table::Table) -> Outcome<()> {
    print_table_in_colour(table, &[])
}

/// The same where colours are welcome: the header in bold, and a row in its style.
pub fn print_table_in_colour(table: &comfy_table::Table, rows: &[Style]) -> Outcome<()> {
    let is_coloured = has_colour();
    let mut text = String::new();
    for (at, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let style = match at.checked_sub(1) {
            _ if !is_coloured => Style::new(),
            None => Style::new().bold(),
            Some(row) => rows.get(row).copied().unwrap_or_default(),
        };
        text.push_str(&format!("{style}{line}{style:#}\n"));
    }
    print(&text)
}

/// Sets these columns right: those of numbers.
pub fn set_right(table: &mut comfy_table::Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
}

/// The rest of a text that is wider than `width` is dropped for an ellipsis.
pub fn shortened(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        None => text.to_owned(),
        Some(_) => text
            .chars()
            .take(width.saturating_sub(1))
            .chain(['…'])
            .collect(),
    }
}

/// A size as people write it: `4096` is `4 KiB`; what is no whole number has one decimal.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value.fract() == 0.0 || unit == "B" {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}
