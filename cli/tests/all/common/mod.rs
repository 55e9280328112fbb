//! What the command's tests share: a namespace of their own, the command in it, and a program that uses shared memory.
//!
//! `scripts/check-command` builds the library and runs them. SHMSHIM_LIB names another library than
//! target/release/libshmshim.so.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

/// The library under test.
pub fn library() -> PathBuf {
    let path = match std::env::var_os("SHMSHIM_LIB") {
        Some(path) => PathBuf::from(path),
        None => workspace().join("target/release/libshmshim.so"),
    };
    assert!(
        path.is_file(),
        "there is no {}: run scripts/check-command",
        path.display()
    );
    path
}

/// The top of the sources.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A C program of tests/programs, compiled once; `flags` come last on the compiler's command line.
pub fn compile(source: &str, program: &str, flags: &[&str]) -> PathBuf {
    static COMPILED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(program);
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if compiled.contains(&path) {
        return path;
    }
    // Another run of the tests may execute the program meanwhile.
    let built = directory.join(format!("{program}.{}", std::process::id()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(source);
    let status = Command::new("cc")
        .args(["-Wall", "-g", "-O1", "-o"])
        .args([&built, &source])
        .args(flags)
        .status()
        .expect("cc cannot be run");
    assert!(status.success(), "cc {}", source.display());
    std::fs::rename(&built, &path).unwrap();
    compiled.insert(path.clone());
    path
}

/// Copies a program. Another process writes the copy: a child of another test's could have this one's descriptor of it
/// still open, and then it could not be executed.
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let status = Command::new("cp")
        .args([from.as_ref(), to.as_ref()])
        .status();
    assert!(status.unwrap().success(), "cp {}", from.as_ref().display());
}

/// Writes a script, which can be executed then.
pub fn write_script(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    copy(&draft, path);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(path, mode).unwrap();
    std::fs::remove_file(draft).unwrap();
}

/// tests/programs/client.c, compiled; its head comment lists the operations.
pub fn client() -> &'static Path {
    static CLIENT: OnceLock<PathBuf> = OnceLock::new();
    CLIENT.get_or_init(|| compile("client.c", "client", &[]))
}

/// The same as a word of a command line.
pub fn client_path() -> &'static str {
    client().to_str().unwrap()
}

/// What it is compiled from.
pub fn client_source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/client.c")
}

/// Whether the tests run as root: some need a second user.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A base directory that is removed at the end of the test, and programs in its namespace.
pub struct Namespace {
    directory: TempDir,
}

impl Namespace {
    /// A fresh one, in which there is nothing yet.
    pub fn new() -> Namespace {
        let directory = tempfile::Builder::new()
            .prefix("shmshim-test.")
            .tempdir()
            .unwrap();
        Namespace { directory }
    }

    /// The base directory, as SHMSHIM_DIR.
    pub fn base(&self) -> &Path {
        self.directory.path()
    }

    /// The runtime directory in it, once a program has made it: that of the user's scope.
    pub fn runtime(&self) -> PathBuf {
        let mut entries = std::fs::read_dir(self.base()).unwrap();
        entries
            .find_map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name();
                name.to_str()
                    .is_some_and(|name| name.starts_with(".shmshim"))
                    .then(|| entry.path())
            })
            .expect("no program has made the namespace")
    }

    /// `shmshim` with these arguments, in this namespace.
    pub fn shmshim<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::from_std(self.shmshim_std(arguments));
        // A bound for what hangs, not a measurement.
        command.timeout(Duration::from_secs(300));
        command
    }

    /// Runs `shmshim` with these arguments; it must end with `status`. Its standard output and standard error.
    pub fn texts<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        status: i32,
    ) -> (String, String) {
        let run = self.shmshim(arguments).assert().code(status);
        let output = run.get_output();
        (
            String::from_utf8(output.stdout.clone()).unwrap(),
            String::from_utf8(output.stderr.clone()).unwrap(),
        )
    }

    /// The standard output of such a run.
    pub fn out<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        status: i32,
    ) -> String {
        self.texts(arguments, status).0
    }

    /// What such a run says on standard error; it must print nothing.
    pub fn error<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        status: i32,
    ) -> String {
        let (printed, said) = self.texts(arguments, status);
        assert_eq!(printed, "");
        said
    }

    /// A script in the base directory, which programs leave alone.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.base().join(name);
        write_script(&path, text);
        path
    }

    /// The same as `std`'s command, to be left running.
    pub fn shmshim_std<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shmshim"));
        self.surround(&mut command);
        command.args(arguments);
        command
    }

    /// Another file of the command, in this namespace.
    pub fn shmshim_at<S: AsRef<OsStr>>(
        &self,
        file: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(file);
        self.surround(&mut command);
        command.args(arguments);
        command
    }

    /// A command line that ends with `shmshim` and its arguments: `timeout 5 shmshim run ...`. The namespace and the
    /// library stand in the arguments, for the wrapper may clean the environment.
    pub fn behind(&self, wrapper: &[&str], arguments: &[&str]) -> Command {
        let (program, options) = wrapper.split_first().unwrap();
        let mut command = Command::new(program);
        self.surround(&mut command);
        command
            .args(options)
            .arg("env")
            .arg(format!("SHMSHIM_LIB={}", library().display()))
            .arg(env!("CARGO_BIN_EXE_shmshim"))
            .arg("--dir")
            .arg(self.base())
            .args(arguments);
        command
    }

    /// Runs that; it must succeed.
    pub fn shmshim_behind(&self, wrapper: &[&str], arguments: &[&str]) {
        let output = self.behind(wrapper, arguments).output().unwrap();
        assert!(output.status.success(), "{wrapper:?}: {output:?}");
    }

    /// Runs `shmshim` with these arguments and `--json`; it must succeed. What it printed.
    pub fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let mut command = self.shmshim_std(arguments);
        let output = command.arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs `shmshim` with these arguments; it must succeed. The words of each line that it printed.
    pub fn words(&self, arguments: &[&str]) -> Vec<Vec<String>> {
        let output = self.shmshim_std(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        words(&output.stdout)
    }

    /// A program under the library, in this namespace.
    pub fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        self.surround(&mut command);
        command.env("LD_PRELOAD", library());
        command
    }

    /// The client, under the library.
    pub fn client(&self, operations: &[&str]) -> Command {
        let mut command = self.program(client());
        command.args(operations);
        command
    }

    /// Runs the client to its end and returns what it printed; it must succeed.
    pub fn run(&self, operations: &[&str]) -> String {
        let output = self.client(operations).output().unwrap();
        assert!(output.status.success(), "client {operations:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a segment and returns its id.
    pub fn make(&self, key: &str, size: &str) -> i32 {
        let printed = self.run(&["make", key, size, "600"]);
        printed.trim().parse().unwrap()
    }

    /// Starts the client; `operations` must contain `hold` or `pause`, which is waited for.
    pub fn hold(&self, operations: &[&str]) -> Holder {
        Holder::new(self.client(operations))
    }

    /// Gives a command the environment that `shmshim` has in this namespace.
    pub fn surround(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SHMSHIM_") {
                command.env_remove(name);
            }
        }
        command
            .env("SHMSHIM_DIR", self.base())
            .env("SHMSHIM_LIB", library())
            .env("LC_ALL", "C")
            .env("NO_COLOR", "1")
            .env_remove("LD_PRELOAD");
    }
}

/// The words of each line of a text.
pub fn words(text: &[u8]) -> Vec<Vec<String>> {
    let lines = std::str::from_utf8(text).unwrap().lines();
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .collect()
}

/// Waits until something can be read there.
pub fn await_readable(fd: &impl AsFd) {
    let is_there = || {
        let mut asked = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
        // A fifo that a writer has left is ready, too.
        let _ = poll(&mut asked, PollTimeout::from(20u16));
        asked.iter().any(|one| {
            one.revents()
                .is_some_and(|events| events.contains(PollFlags::POLLIN))
        })
    };
    while !is_there() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How a process ends, which must be about to.
pub fn ends(child: &mut Child) -> ExitStatus {
    // A bound for what hangs, not a measurement.
    for _ in 0..3000 {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("it does not end");
}

/// A fresh namespace's directory in which all users may have their own.
pub fn shared() -> Namespace {
    use std::os::unix::fs::PermissionsExt;
    let namespace = Namespace::new();
    let open_to_all = std::fs::Permissions::from_mode(0o1777);
    std::fs::set_permissions(namespace.base(), open_to_all).unwrap();
    namespace
}

/// A program that has printed "ready" and waits. It ends when this is dropped.
pub struct Holder {
    child: Child,
    /// What it printed before that, line by line.
    pub printed: Vec<String>,
}

impl Holder {
    /// Starts it, and waits until it says so.
    pub fn new(mut command: Command) -> Holder {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        loop {
            match lines.next() {
                Some(Ok(line)) if line == "ready" => return Holder { child, printed },
                Some(line) => printed.push(line.unwrap()),
                None => panic!("{command:?} ended: {:?}", child.wait()),
            }
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The id of the segment that it printed last.
    pub fn id(&self) -> i32 {
        self.printed.last().unwrap().parse().unwrap()
    }

    /// Has it go on to its end.
    pub fn release(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.child.wait().unwrap()
    }

    /// Kills it by SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
