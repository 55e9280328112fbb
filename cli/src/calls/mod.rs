//! What the library's trace tells in JSON (`SHMSHIM_TRACE_FORMAT=json`): calls and events of all processes of a run.

pub mod chrome;
pub mod summary;

use serde::Deserialize;

/// One line of the trace. A line that is not understood, because it was cut by a full disk, is passed over.
#[derive(Deserialize, Debug, Clone)]
pub struct Record {
    /// When it began, in seconds since 1970.
    pub time: f64,
    /// The process.
    pub pid: i64,
    /// The thread.
    pub tid: i64,
    /// What it tells.
    #[serde(flatten)]
    pub what: What,
}

/// What a line tells.
#[derive(Deserialize, Debug, Clone)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum What {
    /// A call.
    Call(Call),
    /// A call has begun to sleep.
    Sleep(Sleep),
    /// Something else.
    Event(Event),
}

/// A call.
#[derive(Deserialize, Debug, Clone)]
pub struct Call {
    /// Its name.
    pub call: String,
    /// How long it took, in seconds.
    pub duration: f64,
    /// How long of that it slept, if it did.
    pub slept: Option<f64>,
    /// What it returned.
    pub result: i64,
    /// The errno's name, if it failed.
    pub error: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
    /// shmget's key.
    pub key: Option<i32>,
    /// shmget's size.
    pub size: Option<u64>,
    /// The flags of shmget and shmat.
    pub flags: Option<String>,
    /// The segment.
    pub shmid: Option<i64>,
    /// shmat's and shmdt's address.
    pub addr: Option<u64>,
    /// shmctl's command.
    pub cmd: Option<String>,
}

impl Call {
    /// Its name, with shmctl's command.
    pub fn name(&self) -> String {
        match &self.cmd {
            Some(cmd) => format!("{}({cmd})", self.call),
            None => self.call.clone(),
        }
    }
}

/// A call that has begun to sleep. It is told again, as a call, if it comes back.
#[derive(Deserialize, Debug, Clone)]
pub struct Sleep {
    /// Its name.
    pub call: String,
    /// On what it sleeps, and who stands in its way.
    pub reason: String,
}

/// Something that is no call.
#[derive(Deserialize, Debug, Clone)]
pub struct Event {
    /// Its name.
    pub event: String,
    /// It in words.
    pub text: String,
    /// Of a child: its parent.
    pub parent: Option<i64>,
}

/// The records of a trace, by time.
pub fn read(text: &str) -> Vec<Record> {
    let mut records: Vec<Record> = text
        .lines()
        .filter_map(|line| line.find('{').and_then(|at| line.get(at..)))
        .filter_map(|object| serde_json::from_str(object).ok())
        .collect();
    records.sort_by(|one, other| one.time.total_cmp(&other.time));
    records
}
