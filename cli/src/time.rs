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

/// How long ago a time in seconds since 1970 was: to the tenth as long as that matters.
pub fn span_since(since: f64) -> String {
    let now = Local::now().timestamp_millis() as f64 / 1000.0;
    match (now - since).max(0.0) {
        secs @ 0.0..60.0 => format!("{secs:.1} s"),
        secs @ 60.0..3600.0 => format!("{} min", (secs / 60.0) as u64),
        secs => format!("{} h", (secs / 3600.0) as u64),
    }
}

fn shown(secs: Option<i64>, format: &str) -> String {
    secs.and_then(|secs| Local.timestamp_opt(secs, 0).earliest())
        .map_or_else(|| "-".to_owned(), |time| time.format(format).to_string())
}
