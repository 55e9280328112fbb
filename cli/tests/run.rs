//! `shmshim run`.

mod common;

use common::{Namespace, client};

#[test]
fn serves_a_program() {
    let here = Namespace::new();
    let client = client().to_str().unwrap();
    here.shmshim([
        "run", "--", client, "make", "0x162e", "4096", "600", "attach", "write", "by one",
    ])
    .assert()
    .success();
    assert_eq!(
        here.run(&["open", "0x162e", "0", "attach", "read"])
            .lines()
            .last(),
        Some("by one")
    );
}

#[test]
fn exits_as_the_program_does() {
    let here = Namespace::new();
    let client = client().to_str().unwrap();
    here.shmshim(["run", client, "exit", "42"])
        .assert()
        .code(42);
}

#[test]
fn says_that_there_is_no_such_program() {
    let here = Namespace::new();
    here.shmshim(["run", "/no/such/program"])
        .assert()
        .code(127)
        .stderr("shmshim: there is no program /no/such/program\n");
}
