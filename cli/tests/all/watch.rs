//! `shmshim watch`, in a terminal of tmux's: keys are sent, and the screen is read.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::{Namespace, compile, library};

/// A terminal with a shell in it. It ends when this is dropped.
struct Terminal {
    socket: PathBuf,
}

impl Terminal {
    /// One of 80 by 24, whose shell is in this namespace. `None`: there is no tmux, which is said.
    fn new(here: &Namespace) -> Option<Terminal> {
        let socket = here.base().join("tmux");
        let terminal = Terminal { socket };
        let mut command = terminal.command(&["-f", "/dev/null", "new-session", "-d"]);
        command
            .args(["-x", "80", "-y", "24", "sh"])
            .env("SHMSHIM_DIR", here.base())
            .env("SHMSHIM_LIB", library())
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("ENV");
        match command.output() {
            Err(_) => {
                println!("skipped: there is no tmux");
                None
            }
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                // What is typed ahead of the prompt would be answered on the prompt's line.
                terminal.wait_for("a prompt", |screen| screen.trim_end().ends_with(['#', '$']));
                terminal.enter("echo a shell");
                terminal.wait_line("a shell");
                Some(terminal)
            }
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-S").arg(&self.socket).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "tmux {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Types a text, and Enter.
    fn enter(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// Types the command `shmshim watch` with these arguments.
    fn watch(&self, arguments: &str) {
        self.enter(&format!(
            "{} watch {arguments}",
            env!("CARGO_BIN_EXE_shmshim")
        ));
    }

    fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until the screen is as it should be, and returns it.
    fn wait_for(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        // A bound for what hangs, not a measurement.
        let end = Instant::now() + Duration::from_secs(300);
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "no {what} on the screen:\n{screen}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait(&self, text: &str) -> String {
        self.wait_for(text, |screen| screen.contains(text))
    }

    fn wait_line(&self, text: &str) -> String {
        self.wait_for(text, |screen| screen.lines().any(|line| line == text))
    }

    fn resize(&self, columns: &str, lines: &str) {
        self.run(&["resize-window", "-x", columns, "-y", lines]);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.command(&["kill-server"]).output();
    }
}

/// The last line of a screen of so many.
fn line(screen: &str, number: usize) -> &str {
    screen.lines().nth(number).unwrap_or_default()
}

/// shared_state.c, which has made a segment with key 0x162e.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
}

impl Program {
    fn start(here: &Namespace) -> Program {
        // One test compiles it, and the others wait.
        static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
        let compiled = || compile("shared_state.c", "shared_state-watched", &[]);
        let mut command = here.program(PROGRAM.get_or_init(compiled));
        let mut child = command
            .arg("0x162e")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        while !printed.ends_with("ready\n") {
            let len = std::io::BufRead::read_line(&mut lines, &mut printed).unwrap();
            assert!(len > 0, "shared_state has ended: {printed}");
        }
        let input = child.stdin.take();
        Program { child, input }
    }

    fn write(&mut self, text: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{text}\n").as_bytes()).unwrap();
        input.flush().unwrap();
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_needs_a_terminal() {
    let here = Namespace::new();
    here.shmshim(["watch"])
        .assert()
        .code(2)
        .stdout("")
        .stderr("shmshim: watch needs a terminal for its input and output: use show, dump or who where there is none, or --once\n");
}

#[test]
fn one_picture_can_be_had_without_a_terminal() {
    let here = Namespace::new();
    here.run(&["make", "0x162e", "4096", "600", "attach", "write", "by one"]);
    let output = here
        .shmshim(["watch", "0x162e", "--once"])
        .assert()
        .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert_eq!(text.lines().count(), 24, "{text}");
    assert!(line(&text, 1).ends_with("|by one..........|"), "{text}");
    assert!(line(&text, 23).starts_with("q quit"), "{text}");
}

#[test]
fn segments_come_and_go_and_so_do_those_who_have_them() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    terminal.watch("--interval 0.1");
    terminal.wait("there is no namespace here yet");
    here.make("0x1111", "8192");
    let screen = terminal.wait("0x00001111");
    assert!(line(&screen, 0).starts_with("1 segment"), "{screen}");
    assert!(line(&screen, 23).starts_with("q quit"), "{screen}");
    let mut program = Program::start(&here);
    let pid = program.child.id();
    terminal.wait(&format!("(0x0000162e) made by {pid}"));
    terminal.wait(&format!("(0x0000162e) attached by {pid}"));
    program.write("detach");
    terminal.wait(&format!("(0x0000162e) detached by {pid}"));
    program.end();
    let program = Program::start(&here);
    let pid = program.child.id();
    terminal.wait(&format!("(0x0000162e) attached by {pid}"));
    program.end();
    terminal.wait(&format!("(0x0000162e) left attached at its end by {pid}"));
    let screen = terminal.screen();
    assert!(line(&screen, 0).starts_with("2 segments"), "{screen}");
    // The second line is selected, and opened.
    terminal.keys(&["Down", "Enter"]);
    terminal.wait("(0x0000162e), 80 B");
    terminal.keys(&["Escape"]);
    terminal.wait("EVENTS");
    terminal.keys(&["q"]);
    terminal.wait_for("shell", |screen| !screen.contains("EVENTS"));
    terminal.enter("echo status $?");
    terminal.wait("status 0");
}

#[test]
fn a_namespace_that_is_removed_and_made_anew_is_seen() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    here.make("0x1111", "8192");
    terminal.watch("--interval 0.1");
    terminal.wait("0x00001111");
    std::fs::remove_dir_all(here.runtime()).unwrap();
    terminal.wait("there is no namespace here yet");
    here.make("0x2222", "8192");
    let screen = terminal.wait("0x00002222");
    assert!(line(&screen, 0).starts_with("1 segment"), "{screen}");
    terminal.keys(&["q"]);
    terminal.wait_for("shell", |screen| !screen.contains("EVENTS"));
}

#[test]
fn bytes_that_change_are_lit() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    let mut program = Program::start(&here);
    terminal.enter("echo before");
    terminal.wait_line("before");
    terminal.watch("0x162e --interval 0.1");
    let screen = terminal.wait("|....g...anna....|");
    assert!(line(&screen, 0).contains("(0x0000162e), 80 B"), "{screen}");
    program.write("cleopatra");
    terminal.wait("|....g...cleopatr|");
    terminal.keys(&["q"]);
    // What was on the screen before is there again.
    terminal.wait_line("before");
    // The next look is only taken at a key: so the change stays lit until the test has seen it.
    terminal.watch("0x162e --interval 3600");
    terminal.wait("|....g...cleopatr|");
    program.write("CLEOpatra");
    let lit = "\u{1b}[1m\u{1b}[7mCLEO";
    let end = Instant::now() + Duration::from_secs(300);
    while !terminal.screen().contains("|....g...CLEOpatr|") {
        assert!(Instant::now() < end, "{}", terminal.screen());
        terminal.keys(&["Home"]);
        std::thread::sleep(Duration::from_millis(200));
    }
    let styled = terminal.run(&["capture-pane", "-p", "-e"]);
    let row = styled
        .lines()
        .find(|line| line.contains("CLEO"))
        .unwrap_or_default();
    assert!(
        row.contains("\u{1b}[1;7mCLEO") || row.contains(lit),
        "{row:?}"
    );
}

#[test]
fn it_fits_into_small_terminals_and_scrolls() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    here.run(&[
        "make", "0x162e", "1048576", "600", "attach", "write", "by one",
    ]);
    terminal.watch("0x162e");
    let screen = terminal.wait("|by one..........|");
    assert!(line(&screen, 22).starts_with("00000150"), "{screen}");
    terminal.resize("40", "10");
    let screen = terminal.wait_for("narrow line", |screen| screen.contains("|by o|"));
    let screen = match line(&screen, 9).starts_with("q quit") {
        true => screen,
        false => terminal.wait_for("last line", |screen| line(screen, 9).starts_with("q quit")),
    };
    assert!(line(&screen, 8).starts_with("0000001c"), "{screen}");
    terminal.keys(&["PageDown"]);
    terminal.wait_for("next page", |screen| {
        line(screen, 1).starts_with("00000020")
    });
    terminal.keys(&["g"]);
    terminal.wait("go to offset");
    terminal.enter("0x1230");
    terminal.wait_for("place", |screen| line(screen, 1).starts_with("00001230"));
    terminal.keys(&["End"]);
    terminal.wait_for("end", |screen| line(screen, 8).starts_with("000ffffc"));
    terminal.resize("80", "24");
    terminal.wait_for("end", |screen| line(screen, 22).starts_with("000ffff0"));
    terminal.keys(&["Home", "a"]);
    terminal.wait_for("text", |screen| {
        line(screen, 2).starts_with("00000040  |.....")
    });
}

#[test]
fn members_that_change_are_shown() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    let mut program = Program::start(&here);
    terminal.watch("0x162e --interval 0.1 --type 'struct shared_state'");
    let screen = terminal.wait("owner = \"anna\"");
    assert!(screen.contains("+52        state = IDLE"), "{screen}");
    program.write("cleo");
    terminal.wait("owner = \"cleo\"");
    terminal.wait("+52        state = RUNNING");
    terminal.keys(&["b"]);
    terminal.wait("|....g...cleo....|");
    terminal.keys(&["Escape"]);
    terminal.wait("owner = \"cleo\"");
}

#[test]
fn the_terminal_is_given_back_at_signals_and_while_it_is_stopped() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    here.run(&["make", "0x162e", "4096", "600", "attach", "write", "by one"]);
    terminal.watch("0x162e");
    terminal.wait("|by one..........|");
    terminal.keys(&["C-z"]);
    terminal.wait("Stopped");
    terminal.enter("stty -a | grep -o ' icanon'; echo cooked");
    terminal.wait_line("cooked");
    terminal.wait_line(" icanon");
    terminal.enter("clear; fg");
    terminal.wait("|by one..........|");
    terminal.keys(&["C-c"]);
    terminal.wait_for("shell", |screen| !screen.contains("by one"));
    for signal in ["TERM", "HUP", "INT"] {
        // Its parent, the shell of a pipeline, sends the signal to it.
        let command = env!("CARGO_BIN_EXE_shmshim");
        terminal.enter(&format!(
            "clear; sh -c 'echo $$ >{}/pid; exec {command} watch 0x162e'; echo after {signal}: $?; stty -a | grep -o ' icanon'",
            here.base().display()
        ));
        terminal.wait("|by one..........|");
        let pid = std::fs::read_to_string(here.base().join("pid")).unwrap();
        assert!(
            Command::new("kill")
                .args(["-s", signal, pid.trim()])
                .status()
                .unwrap()
                .success()
        );
        let screen = terminal.wait_line(&format!("after {signal}: 0"));
        assert!(!screen.contains("by one"), "{screen}");
        terminal.wait_line(" icanon");
    }
}

#[test]
fn it_ends_with_its_terminal() {
    let here = Namespace::new();
    let Some(terminal) = Terminal::new(&here) else {
        return;
    };
    let command = env!("CARGO_BIN_EXE_shmshim");
    let file = here.base().join("pid");
    terminal.enter(&format!(
        "sh -c 'echo $$ >{}; exec {command} watch'",
        file.display()
    ));
    terminal.wait("there is no namespace here yet");
    let pid = std::fs::read_to_string(file).unwrap();
    drop(terminal);
    let process = PathBuf::from(format!("/proc/{}", pid.trim()));
    let end = Instant::now() + Duration::from_secs(300);
    while process.exists() {
        assert!(Instant::now() < end, "{} still runs", process.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}
