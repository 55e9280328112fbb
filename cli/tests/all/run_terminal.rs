//! `shmshim run` on a terminal: a shell's job control, driven through a pseudo-terminal.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};

use crate::common::{Namespace, client};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::stat::Mode;

/// An interactive shell on a terminal of its own.
struct Shell {
    terminal: File,
    /// What it has shown, and was not asked for yet.
    shown: String,
    /// Behind the terminal, whose end hangs it up.
    _shell: Ending,
}

/// A process that is about to end.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

impl Shell {
    fn new(here: &Namespace) -> Shell {
        // Programs of tests that run at the same time would keep what they inherit of it.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let terminal = posix_openpt(flags).unwrap();
        grantpt(&terminal).unwrap();
        unlockpt(&terminal).unwrap();
        let name = ptsname_r(&terminal).unwrap();
        let slave = open(name.as_str(), flags, Mode::empty()).unwrap();
        let own = || Stdio::from(slave.try_clone().unwrap());
        let mut command = std::process::Command::new("setsid");
        here.surround(&mut command);
        let shell = command
            .args(["--ctty", "--wait", "bash", "--norc", "--noprofile", "-i"])
            .env("PS1", "prompt> ")
            .env("SHMSHIM", env!("CARGO_BIN_EXE_shmshim"))
            .env("CLIENT", client())
            .stdin(own())
            .stdout(own())
            .stderr(own())
            .spawn()
            .unwrap();
        let mut shell = Shell {
            _shell: Ending(shell),
            terminal: File::from(OwnedFd::from(terminal)),
            shown: String::new(),
        };
        shell.await_text("prompt> ");
        shell
    }

    fn send(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until the text is shown, and returns what stands before it.
    fn await_text(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.find(text) {
                let before = self.shown[..at].to_owned();
                self.shown.drain(..at + text.len());
                return before;
            }
            assert!(
                self.read_within(PollTimeout::NONE),
                "the shell ended; it showed {}",
                self.shown
            );
        }
    }

    /// Reads what is shown next, if something is. `false`: nothing is within so long, or ever will be.
    fn read_within(&mut self, limit: PollTimeout) -> bool {
        let mut buffer = [0; 4096];
        let mut asked = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        // A debugger or a sandbox that stops the test for a moment interrupts either call, without any handler.
        match poll(&mut asked, limit) {
            Err(Errno::EINTR) => return true,
            count if count.unwrap() == 0 => return false,
            _ => {}
        }
        let len = match (&self.terminal).read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return true,
            read => read.unwrap(),
        };
        self.shown
            .push_str(&String::from_utf8_lossy(&buffer[..len]));
        len > 0
    }

    /// Types `^Z` until the program is stopped: what comes while the shell and the program go on is lost.
    fn stop(&mut self) {
        while !self.shown.contains("Stopped") {
            self.send("\x1a");
            while self.read_within(PollTimeout::from(1000u16)) && !self.shown.contains("Stopped") {}
        }
        self.await_text("Stopped");
        self.await_text("prompt> ");
    }

    /// Ends a program by `^C` and asks the shell for its status.
    fn interrupt(&mut self) {
        self.send("\x03");
        self.await_text("prompt> ");
        self.send("echo status=$?\n");
        self.await_text("status=130");
        self.await_text("prompt> ");
    }
}

/// What is typed to start a program that waits for a signal.
const DIRECT: &str = "$SHMSHIM run $CLIENT pause\n";
const PRIVATE: &str = "$SHMSHIM --dir $SHMSHIM_DIR run --private $CLIENT make 7 1 600 pause\n";

#[test]
fn control_c_ends_the_program_and_the_namespace() {
    let here = Namespace::new();
    let mut shell = Shell::new(&here);
    shell.send(DIRECT);
    shell.await_text("ready\r\n");
    shell.interrupt();
    shell.send(PRIVATE);
    shell.await_text("ready\r\n");
    shell.interrupt();
    drop(shell);
    assert_eq!(std::fs::read_dir(here.base()).unwrap().count(), 0);
}

#[test]
fn control_z_stops_the_program_and_fg_continues_it() {
    let here = Namespace::new();
    let mut shell = Shell::new(&here);
    for line in [DIRECT, PRIVATE] {
        shell.send(line);
        shell.await_text("ready\r\n");
        for _ in 0..3 {
            shell.stop();
            shell.send("fg\n");
            shell.await_text(" pause\r\n");
        }
        shell.stop();
        shell.send("kill -INT %1; fg\n");
        shell.await_text("prompt> ");
        shell.send("echo status=$?\n");
        shell.await_text("status=130");
        shell.await_text("prompt> ");
    }
}

#[test]
fn a_background_program_goes_on_in_the_foreground() {
    let here = Namespace::new();
    let mut shell = Shell::new(&here);
    for run in ["run", "--dir $SHMSHIM_DIR run --private"] {
        // It reads from the terminal, which stops it in the background.
        shell.send(&format!(
            "$SHMSHIM {run} sh -c 'read x; echo got $x' & wait $!\n"
        ));
        shell.await_text("Stopped");
        shell.await_text("prompt> ");
        shell.send("fg\n");
        shell.await_text("echo got $x'\r\n");
        shell.send("something\n");
        shell.await_text("got something\r\n");
        shell.await_text("prompt> ");
    }
}
