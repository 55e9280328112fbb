//! `shmshim limits`.

use crate::common::Namespace;
use serde_json::json;

#[test]
fn shows_what_a_new_namespace_begins_with() {
    let here = Namespace::new();
    let defaults = json!({"shmmax": u64::MAX - (1 << 24), "shmall": u64::MAX - (1 << 24),
                          "shmmni": 4096, "shm_rmid_forced": false,
                          "semmsl": 32000, "semmns": 1_024_000_000, "semopm": 500, "semmni": 32000,
                          "msgmax": 8192, "msgmnb": 16384, "msgmni": 32000});
    let output = here.shmshim(["limits", "--json"]).assert().success();
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        stderr.contains("there is no namespace here yet"),
        "{stderr}"
    );
    assert_eq!(here.json(&["limits"]), defaults);
    here.make("0x1", "100");
    assert_eq!(here.json(&["limits"]), defaults);
    let lines = here.words(&["limits"]);
    assert_eq!(lines[0], ["NAME", "VALUE", "MEANING"]);
    assert_eq!(lines[1][..2], ["shmmax", "18446744073692774399"]);
    assert_eq!(lines[3][..2], ["shmmni", "4096"]);
}

#[test]
fn sets_what_programs_then_meet() {
    let here = Namespace::new();
    here.shmshim(["limits", "shmmax=0x2000", "shmmni=2"])
        .assert()
        .success()
        .stdout("");
    assert_eq!(here.json(&["limits"])["shmmax"], json!(8192));
    here.make("0x1", "8192");
    let refused = here
        .client(&["make", "0x2", "8193", "600"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(9));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("Invalid argument"));
    here.make("0x2", "100");
    let refused = here
        .client(&["make", "0x3", "100", "600"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("No space left"));
    let seen = here
        .program("cat")
        .arg("/proc/sys/kernel/shmmni")
        .output()
        .unwrap();
    assert_eq!(seen.stdout, b"2\n");
    // With this one segments go with their last user.
    here.shmshim(["limits", "shm_rmid_forced=1"])
        .assert()
        .success();
    assert_eq!(here.json(&["ls"]), json!([]));
}

#[test]
fn sets_all_or_none() {
    let here = Namespace::new();
    let refused = |setting: &str, sentence: &str| {
        let (_, stderr) = here.texts(["limits", "shmmni=7", setting], 2);
        assert!(stderr.contains(sentence), "{stderr}");
    };
    refused("shmmax", "write NAME=VALUE");
    refused("shmmin=1", "there is no limit \"shmmin\"");
    refused("shmmax=", "shmmax has no value");
    refused("shmmax=many", "shmmax");
    refused("shmmni=32769", "shmmni");
    refused("shm_rmid_forced=2", "shm_rmid_forced");
    assert_eq!(here.json(&["limits"])["shmmni"], json!(4096));
}
