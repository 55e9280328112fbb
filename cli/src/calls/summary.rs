//! How many calls there were, how many failed, how long they took: as `strace -c` prints it.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Record, What};

#[derive(Default)]
struct Row {
    calls: u64,
    errors: u64,
    seconds: f64,
}

/// The table, by falling time.
pub fn table(records: &[Record]) -> String {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for record in records {
        if let What::Call(call) = &record.what {
            let row = rows.entry(call.name()).or_default();
            row.calls += 1;
            row.errors += u64::from(call.error.is_some());
            row.seconds += call.duration;
        }
    }
    let mut total = Row::default();
    for row in rows.values() {
        total.calls += row.calls;
        total.errors += row.errors;
        total.seconds += row.seconds;
    }
    let mut sorted: Vec<(&String, &Row)> = rows.iter().collect();
    sorted.sort_by(|(_, one), (_, other)| other.seconds.total_cmp(&one.seconds));
    let rule = "------ ----------- ----------- --------- --------- ----------------\n";
    let mut text = "% time     seconds  usecs/call     calls    errors call\n".to_owned() + rule;
    let line = |name: &str, row: &Row, per_call: bool| {
        let share = match total.seconds > 0.0 {
            true => row.seconds / total.seconds * 100.0,
            false => 0.0,
        };
        let each = match per_call {
            true => format!("{:.1}", row.seconds * 1e6 / row.calls.max(1) as f64),
            false => String::new(),
        };
        let errors = match row.errors {
            0 => String::new(),
            errors => errors.to_string(),
        };
        format!(
            "{share:>6.2} {:>11.6} {each:>11} {:>9} {errors:>9} {name}\n",
            row.seconds, row.calls
        )
    };
    for (name, row) in sorted {
        let _ = text.write_str(&line(name, row, true));
    }
    text += rule;
    text += &line("total", &total, false);
    text
}
