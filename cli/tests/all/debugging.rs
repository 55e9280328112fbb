//! The sessions of docs/debugging.md show what the page says.

use std::process::Command;

use crate::common;

#[test]
fn the_guide_shows_what_the_commands_show() {
    let output = Command::new(common::workspace().join("scripts/debugging"))
        .env("SHMSHIM_COMMAND", env!("CARGO_BIN_EXE_shmshim"))
        .env("SHMSHIM_LIB", common::library())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
