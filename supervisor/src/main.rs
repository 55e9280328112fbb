//! `shmshim-static [--] PROGRAM [ARGUMENTS]`: see `man/shmshim-static.1`.

use std::process::ExitCode;

shmshim_core::look_before_main!();

const USAGE: &str = "usage: shmshim-static [--] PROGRAM [ARGUMENT...]
Runs a program whose System V shared memory, semaphores and message queues are served without the kernel's, though no library
can be preloaded into it: a statically linked one, or one that makes system calls by itself. SHMSHIM_DIR, SHMSHIM_SCOPE and SHMSHIM_TRACE are as for
the preloaded library: see shmshim(7) and shmshim-static(1).
";

#[allow(clippy::print_stderr, reason = "this is a command")]
fn complain(why: &str) {
    eprintln!("shmshim-static: {why}");
}

#[allow(clippy::print_stdout, reason = "this is a command")]
fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("-h" | "--help") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some("-V" | "--version") => {
            println!("shmshim-static {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--") => _ = arguments.remove(0),
        Some(option) if option.starts_with('-') => {
            complain(&format!(
                "there is no option {option}; shmshim-static --help"
            ));
            return ExitCode::from(125);
        }
        None if arguments.is_empty() => {
            complain("no program is named; shmshim-static --help");
            return ExitCode::from(125);
        }
        _ => {}
    }
    run(arguments)
}

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
fn run(arguments: Vec<std::ffi::OsString>) -> ExitCode {
    use std::os::unix::ffi::OsStringExt;
    let texts = arguments
        .into_iter()
        .map(|argument| std::ffi::CString::new(argument.into_vec()));
    let Ok(program) = texts.collect::<Result<Vec<_>, _>>() else {
        complain("an argument holds a NUL byte");
        return ExitCode::from(125);
    };
    match shmshim_static::command::run(&program) {
        Ok(code) => ExitCode::from(code as u8),
        Err(refused) => {
            complain(&refused.why);
            ExitCode::from(refused.code as u8)
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
fn run(_arguments: Vec<std::ffi::OsString>) -> ExitCode {
    complain("programs of this architecture cannot be served yet: x86-64 only");
    ExitCode::from(125)
}
