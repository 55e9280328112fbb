//! PostgreSQL under `shmshim run --private`: a cluster is made, loaded and stopped, and nothing is left.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{copy, library};
use nix::unistd::{User, chown, geteuid};

/// All shared memory is System V, and the server's segments are counted while it runs.
const SESSION: &str = "
set -e
export PGDATA=$HOME/data PGHOST=$HOME PGPORT=5432 PGUSER=owner PGDATABASE=postgres
initdb --no-sync --auth=trust --username=owner --locale=C >/dev/null
cat >>$PGDATA/postgresql.conf <<CONF
shared_memory_type = sysv
dynamic_shared_memory_type = sysv
listen_addresses = ''
unix_socket_directories = '$HOME'
shared_buffers = 16MB
fsync = off
CONF
pg_ctl start -w -t 300 -s -l $HOME/log
trap 'pg_ctl stop -w -t 300 -s -m fast' EXIT
pgbench -i -q -s 1 >/dev/null 2>&1
pgbench -c 4 -t 20 -n 2>&1 | grep 'actually processed'
echo segments: $(ipcs -m | grep -c '^0x')
";

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .flatten()
        .map(|version| version.path().join("bin"))
        .filter(|bin| bin.join("initdb").exists() && Path::new("/usr/bin/pgbench").exists())
        .collect();
    found.sort();
    found.pop()
}

#[test]
fn a_cluster_leaves_nothing_behind() {
    let Some(bin) = programs() else {
        eprintln!("skipped: PostgreSQL is not installed");
        return;
    };
    let home = tempfile::Builder::new()
        .prefix("shmshim-test.")
        .tempdir()
        .unwrap();
    // The server refuses to run as root, and another user may not reach the build.
    let installed = home.path().join("bin/shmshim");
    std::fs::create_dir(home.path().join("bin")).unwrap();
    std::fs::create_dir(home.path().join("lib")).unwrap();
    copy(env!("CARGO_BIN_EXE_shmshim"), &installed);
    copy(library(), home.path().join("lib/libshmshim.so"));
    let mut command = Command::new(&installed);
    if geteuid().is_root() {
        let user = User::from_name("nobody").unwrap().unwrap();
        chown(home.path(), Some(user.uid), Some(user.gid)).unwrap();
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = command
        .args([
            "run",
            "--private",
            "--fail-on-leak",
            "--",
            "bash",
            "-c",
            SESSION,
        ])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("LC_ALL", "C")
        .current_dir(home.path())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(printed.contains("actually processed: 80/80"), "{printed}");
    let segments: u32 = printed
        .lines()
        .find_map(|line| line.strip_prefix("segments: "))
        .and_then(|count| count.parse().ok())
        .unwrap();
    assert!(segments >= 1, "{printed}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
