//! Times, as people read them.

use chrono::{Local, TimeZone};

/// A time in seconds since 1970, to the second, on the clock of the user's time zone; `-` for none.
pub fn long(secs: Option<i64>) -> String {
    shown(secs, "%Y-%m-%d %H:%M:%S")
}

/// The same to the minute.
pub fn short(secs: Option<i64>) -> String {
    shown(secs, "%Y-%m-%d %H:%M")
}

fn shown(secs: Option<i64>, format: &str) -> String {
    secs.and_then(|secs| Local.timestamp_opt(secs, 0).earliest())
        .map_or_else(|| "-".to_owned(), |time| time.format(format).to_string())
}
