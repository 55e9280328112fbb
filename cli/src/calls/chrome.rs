//! The timeline for a trace viewer (Perfetto, chrome://tracing), in the Trace Event Format: a bar for each attach of each
//! process, a slice for each call, a mark for a call that falls asleep and for what else happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Call, Event, Record, Sleep, What};

/// A bar that has begun.
struct Bar {
    number: u64,
    shmid: i64,
}

#[derive(Default)]
struct Timeline {
    events: Vec<Value>,
    /// The attaches that there are, by process and address.
    bars: BTreeMap<i64, BTreeMap<u64, Bar>>,
    bars_begun: u64,
    /// When a process was seen last.
    last: BTreeMap<i64, f64>,
}

/// The whole document.
pub fn timeline(records: &[Record]) -> Value {
    let first = records.first().map_or(0.0, |record| record.time);
    let mut timeline = Timeline::default();
    for record in records {
        let at = micros(record.time - first);
        match &record.what {
            What::Call(call) => timeline.call(record, call, at),
            What::Sleep(sleep) => timeline.sleep(record, sleep, at),
            What::Event(event) => timeline.event(record, event, at),
        }
        timeline.last.insert(record.pid, at);
    }
    // What is still attached ends when its process was seen last: nothing is written at a death.
    for pid in timeline.bars.keys().copied().collect::<Vec<_>>() {
        let at = timeline.last.get(&pid).copied().unwrap_or(0.0);
        timeline.end_all(pid, at);
    }
    json!({ "traceEvents": timeline.events, "displayTimeUnit": "ns" })
}

fn micros(seconds: f64) -> f64 {
    (seconds * 1e9).round() / 1e3
}

impl Timeline {
    fn call(&mut self, record: &Record, call: &Call, at: f64) {
        let duration = micros(call.duration);
        let mut arguments = serde_json::Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                arguments.insert(name.to_owned(), value);
            }
        };
        put("key", call.key.map(|key| format!("{key:#010x}").into()));
        put("size", call.size.map(Value::from));
        put("flags", call.flags.clone().map(Value::from));
        put("shmid", call.shmid.map(Value::from));
        put("addr", call.addr.map(|addr| format!("{addr:#x}").into()));
        put("slept", call.slept.map(Value::from));
        put("error", call.error.clone().map(Value::from));
        put("reason", call.reason.clone().map(Value::from));
        put("result", Some(call.result.into()));
        self.events.push(json!({
            "ph": "X", "cat": "call", "name": call.name(), "ts": at, "dur": duration,
            "pid": record.pid, "tid": record.tid, "args": arguments,
        }));
        match (call.call.as_str(), call.result) {
            ("shmat", address @ 0..) => {
                let shmid = call.shmid.unwrap_or(0);
                self.begin(record.pid, address as u64, shmid, at + duration);
            }
            ("shmdt", 0) => {
                let of_process = self.bars.get_mut(&record.pid);
                let bar = call
                    .addr
                    .and_then(|addr| of_process.and_then(|bars| bars.remove_entry(&addr)));
                if let Some((addr, bar)) = bar {
                    self.end(record.pid, addr, &bar, at);
                }
            }
            _ => {}
        }
    }

    /// A mark: the slice comes with the call's end, if there is one.
    fn sleep(&mut self, record: &Record, sleep: &Sleep, at: f64) {
        self.events.push(json!({
            "ph": "i", "s": "t", "cat": "sleep", "name": format!("{} sleeps", sleep.call), "ts": at,
            "pid": record.pid, "tid": record.tid, "args": { "text": sleep.reason },
        }));
    }

    fn event(&mut self, record: &Record, event: &Event, at: f64) {
        let pid = record.pid;
        match event.event.as_str() {
            "process" => {
                // The same process as before executes another program: its attaches are gone.
                self.end_all(pid, at);
                let name = event
                    .text
                    .split_once(" serves ")
                    .and_then(|(_, rest)| rest.split_once(" in "));
                if let Some((name, _)) = name {
                    self.events.push(json!({
                        "ph": "M", "name": "process_name", "pid": pid, "tid": record.tid,
                        "args": { "name": name },
                    }));
                }
            }
            "child" => {
                let parent = event.parent.and_then(|parent| self.bars.get(&parent));
                let inherited: Vec<(u64, i64)> = parent
                    .into_iter()
                    .flatten()
                    .map(|(addr, bar)| (*addr, bar.shmid))
                    .collect();
                for (addr, shmid) in inherited {
                    self.begin(pid, addr, shmid, at);
                }
            }
            "exit" => self.end_all(pid, at),
            _ => {}
        }
        self.events.push(json!({
            "ph": "i", "s": "p", "cat": "event", "name": event.event, "ts": at,
            "pid": pid, "tid": record.tid, "args": { "text": event.text },
        }));
    }

    fn begin(&mut self, pid: i64, addr: u64, shmid: i64, at: f64) {
        self.bars_begun += 1;
        let bar = Bar {
            number: self.bars_begun,
            shmid,
        };
        self.bar("b", pid, addr, &bar, at);
        if let Some(replaced) = self.bars.entry(pid).or_default().insert(addr, bar) {
            self.end(pid, addr, &replaced, at);
        }
    }

    fn end(&mut self, pid: i64, addr: u64, bar: &Bar, at: f64) {
        self.bar("e", pid, addr, bar, at);
    }

    fn end_all(&mut self, pid: i64, at: f64) {
        for (addr, bar) in self.bars.remove(&pid).unwrap_or_default() {
            self.end(pid, addr, &bar, at);
        }
    }

    fn bar(&mut self, phase: &str, pid: i64, addr: u64, bar: &Bar, at: f64) {
        self.events.push(json!({
            "ph": phase, "cat": "attach", "id": bar.number, "ts": at, "pid": pid, "tid": pid,
            "name": format!("segment {}", bar.shmid), "args": { "addr": format!("{addr:#x}") },
        }));
    }
}
