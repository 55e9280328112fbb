//! `shmshim log`.

use crate::common::Namespace;
use serde_json::Value;

fn log(here: &Namespace, arguments: &[&str]) -> String {
    here.out([&["log"], arguments].concat(), 0)
}

/// The sentences, without their times.
fn sentences(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| line.split_once("  ").unwrap().1)
        .collect()
}

#[test]
fn tells_the_life_of_a_segment_that_has_gone() {
    let here = Namespace::new();
    let mut holder = here.hold(&["make", "0x162e", "4096", "600", "attach", "hold"]);
    let id = holder.id();
    here.run(&["open", "0x162e", "0", "remove"]);
    let pid = holder.pid();
    holder.kill();
    // The next process finds it dead.
    here.run(&["make", "0", "4096", "600"]);
    let uid = nix::unistd::geteuid();
    let text = log(&here, &[&id.to_string()]);
    let told = sentences(&text);
    assert_eq!(told.len(), 3, "{text}");
    assert_eq!(
        told[0],
        format!(
            "segment {id} (key 0x0000162e) of 4096 bytes was created by pid {pid} (client), uid {uid}"
        )
    );
    assert!(
        told[1].starts_with(&format!(
            "segment {id} (key 0x0000162e) was removed by pid "
        )) && told[1].ends_with(&format!(
            " (client), uid {uid}, with IPC_RMID while it was attached once"
        )),
        "{text}"
    );
    assert!(
        told[2].starts_with(&format!(
            "segment {id} (key 0x0000162e) went with the end of pid {pid} (client), uid {uid}, which had it attached last; pid "
        )),
        "{text}"
    );
    assert_eq!(log(&here, &["0x162e"]), text, "by the key that it had");
    let all = log(&here, &[]);
    assert!(all.contains(" the namespace was made by pid "), "{all}");
    let dead = format!(" pid {pid} (client), uid {uid} had ended with 1 attached; pid ");
    assert!(all.contains(&dead), "{all}");
}

#[test]
fn tells_how_segments_went() {
    let here = Namespace::new();
    let one = here.run(&["make", "0", "4096", "600", "remove"]);
    let other = here.run(&["make", "0", "4096", "600", "attach", "remove", "detach"]);
    let told = |id: &str| {
        let text = log(&here, &[id.trim()]);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let one = told(&one);
    assert!(
        one.len() == 2 && one[1].ends_with(", with IPC_RMID, and is gone: nobody had it attached"),
        "{one:?}"
    );
    let other = told(&other);
    assert!(other.len() == 3, "{other:?}");
    assert!(
        other[2].contains(" went with its last attach, which pid "),
        "{other:?}"
    );
}

#[test]
fn tells_limits_and_programs_in_json() {
    let here = Namespace::new();
    here.make("0x162e", "5000");
    let set = here
        .program("sh")
        .args(["-c", "echo 4242 >/proc/sys/kernel/shmmni"])
        .status()
        .unwrap();
    assert!(set.success());
    let events: Value = serde_json::from_str(&log(&here, &["--json"])).unwrap();
    let events = events.as_array().unwrap();
    let names: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["namespace-made", "created", "limit-set"]);
    assert_eq!(events[1]["size"], 5000);
    assert_eq!(events[1]["key"], 0x162e);
    assert_eq!(events[1]["program"], "client");
    assert_eq!(events[2]["limit"], "shmmni");
    assert_eq!(events[2]["value"], 4242);
    let numbers: Vec<_> = events
        .iter()
        .map(|event| event["number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
}

#[test]
fn keeps_the_newest_events() {
    let here = Namespace::new();
    let words = ["make", "0", "4096", "600", "remove"];
    let many: Vec<&str> = words.iter().copied().cycle().take(5 * 2100).collect();
    here.run(&many);
    let text = log(&here, &["--json"]);
    let events: Value = serde_json::from_str(&text).unwrap();
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 4096);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["number"], &last["event"]),
        (&4200.into(), &"removed".into())
    );
    assert_eq!(events[0]["number"], 105);
}

#[test]
fn forgets_what_is_older_than_asked() {
    let here = Namespace::new();
    here.make("0x162e", "4096");
    assert_eq!(log(&here, &["--since", "1h"]).lines().count(), 2);
    here.shmshim(["log", "--since", "soon"]).assert().code(2);
}

#[test]
fn follows_what_happens() {
    use std::io::{BufRead, BufReader};
    let here = Namespace::new();
    here.make("0x162e", "4096");
    let mut follower = here
        .shmshim_std(["log", "--follow", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["event"], "namespace-made");
    assert_eq!(next()["event"], "created");
    let id: i32 = here.make("0", "4096");
    assert_eq!(next()["shmid"], id);
    // Also in the namespace that comes after this one.
    here.texts(["rm", "--namespace"], 0);
    let mut said = BufReader::new(follower.stderr.take().unwrap()).lines();
    let said = said.next().unwrap().unwrap();
    assert!(said.contains("the namespace was removed"), "{said}");
    let id: i32 = here.make("0", "4096");
    assert_eq!(next()["event"], "namespace-made");
    assert_eq!(next()["shmid"], id);
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn says_that_it_knows_nothing() {
    let here = Namespace::new();
    here.shmshim(["log"]).assert().code(3).stderr(
        "shmshim: there is no namespace yet: no program under the library has used shared memory here\n",
    );
    here.make("0x162e", "4096");
    here.shmshim(["log", "0x9999"]).assert().code(3).stderr(
        "shmshim: nothing is known of a segment with key 0x00009999: shmshim log without a name tells what is\n",
    );
    here.shmshim(["log", "postgres"]).assert().code(2);
}
