//! Runs the targets without libFuzzer: the corpus first, then mutations of it, from a fixed seed and for a bounded time.
//!
//!     replay [--seconds N] [--seed N] [--corpus DIRECTORY] [target ...]
//!
//! An input that fails is written to `fuzz/artifacts/TARGET/` (beside the corpus), as libFuzzer does, and
//! `replay TARGET FILE` runs it alone. The last line adds up: N passed, N failed, 0 skipped.

use shmshim_fuzz_targets::{TARGETS, Target};
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, process};

/// Longest input that is made.
const LONGEST: usize = 400;
/// A target that takes longer than twice this for one input does not come back.
const PATIENCE_SECS: u64 = 30;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }
}

fn mutate(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[rng.below(corpus.len())].clone();
    for _ in 0..=rng.below(5) {
        let at = rng.below(input.len());
        match rng.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << rng.below(8),
            1 if !input.is_empty() => input[at] = rng.next() as u8,
            2 if !input.is_empty() => {
                input.remove(at);
            }
            3 => input.insert(at, rng.next() as u8),
            4 => input.truncate(at),
            5 => {
                let other = &corpus[rng.below(corpus.len())];
                let from = rng.below(other.len());
                let len = rng.below(other.len() - from) + 1;
                let piece = other.get(from..from + len).unwrap_or(&[]).to_vec();
                input.splice(at..at, piece);
            }
            6 => input.extend((0..rng.below(16)).map(|_| rng.next() as u8)),
            _ if !input.is_empty() => {
                let piece = input[at..].to_vec();
                input.extend(piece);
            }
            _ => {}
        }
    }
    input.truncate(LONGEST);
    input
}

// What a signal's handler writes down: the input of the moment, and where to.
static INPUT: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static INPUT_LEN: AtomicUsize = AtomicUsize::new(0);
static ARTIFACT: AtomicPtr<libc::c_char> = AtomicPtr::new(std::ptr::null_mut());

/// How many inputs have been begun.
static BEGUN: AtomicUsize = AtomicUsize::new(0);

/// Ends the run when an input does not come back. No timer does: the library blocks signals where it could hang.
fn watch() {
    std::thread::spawn(|| {
        let mut seen = usize::MAX;
        loop {
            std::thread::sleep(Duration::from_secs(PATIENCE_SECS));
            let begun = BEGUN.load(Ordering::Relaxed);
            if begun == seen {
                note_input(0);
            }
            seen = begun;
        }
    });
}

extern "C" fn note_input(signal: libc::c_int) {
    let (input, len) = (
        INPUT.load(Ordering::Relaxed),
        INPUT_LEN.load(Ordering::Relaxed),
    );
    // SAFETY: async-signal-safe calls; the input and the path live as long as the run.
    unsafe {
        let path = ARTIFACT.load(Ordering::Relaxed);
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        let fd = libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path, flags, 0o644);
        libc::syscall(libc::SYS_write, fd, input, len);
        let what: &[u8] = match signal {
            0 => b"FAIL it does not come back: ",
            _ => b"FAIL it has crashed: ",
        };
        libc::syscall(libc::SYS_write, 1, what.as_ptr(), what.len());
        libc::syscall(libc::SYS_write, 1, path, libc::strlen(path));
        let last = b"\n0 passed, 1 failed, 0 skipped\n";
        libc::syscall(libc::SYS_write, 1, last.as_ptr(), last.len());
        libc::_exit(1);
    }
}

fn handle_signals() {
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGABRT,
        libc::SIGFPE,
        libc::SIGILL,
    ] {
        let handler = note_input as extern "C" fn(libc::c_int);
        // SAFETY: a handler that calls nothing that is not allowed there.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
    }
}

/// Runs one input. Whether it went well.
fn run(target: Target, input: &[u8], artifacts: &Path) -> bool {
    INPUT.store(input.as_ptr().cast_mut(), Ordering::Relaxed);
    INPUT_LEN.store(input.len(), Ordering::Relaxed);
    BEGUN.fetch_add(1, Ordering::Relaxed);
    let went_well = panic::catch_unwind(|| target.1(input)).is_ok();
    if !went_well {
        let path = artifacts.join("panic");
        fs::write(&path, input).unwrap();
        println!("FAIL {}: {}", target.0, path.display());
    }
    went_well
}

fn read_corpus(directory: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
        Err(_) => Vec::new(),
    };
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn main() {
    let (mut seconds, mut seed, mut names, mut file) = (2, 1, Vec::new(), None);
    let mut corpus = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus"));
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            arguments
                .next()
                .and_then(|text| text.parse().ok())
                .expect("a number")
        };
        match argument.as_str() {
            "--seconds" => seconds = number(),
            "--seed" => seed = number(),
            "--corpus" => corpus = arguments.next().expect("a directory").into(),
            name if TARGETS.iter().any(|target| target.0 == name) => names.push(name.to_owned()),
            path => file = Some(fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"))),
        }
    }
    handle_signals();
    watch();
    let (mut passed, mut failed) = (0, 0);
    for target in TARGETS {
        if !names.is_empty() && !names.iter().any(|name| name == target.0) {
            continue;
        }
        let artifacts = corpus.join("../artifacts").join(target.0);
        fs::create_dir_all(&artifacts).unwrap();
        let path = format!("{}\0", artifacts.join("crash").display());
        ARTIFACT.store(
            Box::leak(path.into_boxed_str()).as_mut_ptr().cast(),
            Ordering::Relaxed,
        );
        let good = match &file {
            Some(input) => run(target, input, &artifacts),
            None => fuzz(
                target,
                &corpus,
                &artifacts,
                seed,
                Duration::from_secs(seconds),
            ),
        };
        let _ = fs::remove_dir(&artifacts);
        passed += u32::from(good);
        failed += u32::from(!good);
    }
    println!("{passed} passed, {failed} failed, 0 skipped");
    process::exit(i32::from(failed > 0));
}

fn fuzz(target: Target, corpus: &Path, artifacts: &Path, seed: u64, time: Duration) -> bool {
    let mut corpus = read_corpus(&corpus.join(target.0));
    if corpus.is_empty() {
        println!("FAIL {}: there is no corpus", target.0);
        return false;
    }
    corpus.push(Vec::new());
    let began = Instant::now();
    let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut done = 0u64;
    let good = corpus.iter().all(|input| run(target, input, artifacts))
        && loop {
            if began.elapsed() >= time {
                break true;
            }
            done += 1;
            if !run(target, &mutate(&mut rng, &corpus), artifacts) {
                break false;
            }
        };
    let kind = if good { "ok  " } else { "FAIL" };
    println!(
        "{kind} {}: {} of the corpus, {done} mutations in {} ms",
        target.0,
        corpus.len(),
        began.elapsed().as_millis()
    );
    good
}
