//! How `libshmshim.so` is linked: the unwinder inside, nothing loaded with it but libc.
//!
//! A panic may not reach the host, so `catch_unwind` must work, so there must be an unwinder. Rust's standard
//! library asks for the shared one, libgcc_s, and loading that costs every program more than all else that the
//! shim does at load. The compiler's static copy, libgcc_eh.a, is the same code. Taken whole and before libgcc_s
//! it leaves the latter with nothing to do, so that the linker (`--as-needed`) does not record it. None of its
//! symbols is exported: a second unwinder visible to the host would break the C++ exceptions there.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    // Rust's own choice of a linker depends on its version and on the architecture; this one puts text and constants in one
    // mapping.
    if links_with("bfd") {
        println!("cargo:rustc-cdylib-link-arg=-fuse-ld=bfd");
    }
    // The smaller of the two symbol tables is the one that every loader of today reads.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--hash-style=gnu");
    // Text and constants are one mapping: each one more costs every start and every fork.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,noseparate-code");
    // What the dynamic linker has filled in is read-only from then on.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,relro,-z,now");
    // What other libraries that are linked to it will ask the dynamic linker for.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libshmshim.so");
    // Our constructor runs before all others: it registers the fork handlers, which must be the innermost.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,initfirst");
    if env::var("CARGO_CFG_TARGET_ENV").as_deref() != Ok("gnu") {
        return;
    }
    match static_unwinder() {
        Some(archive) => {
            if let Some(directory) = archive.parent() {
                println!("cargo:rustc-link-search=native={}", directory.display());
            }
            println!("cargo:rustc-link-lib=static:+whole-archive=gcc_eh");
        }
        None => println!(
            "cargo:warning=the compiler has no libgcc_eh.a: libshmshim.so will load libgcc_s at every start"
        ),
    }
}

/// The compiler that links.
fn compiler() -> Command {
    let linker = env::var("RUSTC_LINKER").unwrap_or_else(|_| "cc".into());
    let mut compiler = Command::new(linker);
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() == Ok("x86") {
        compiler.arg("-m32");
    }
    compiler
}

/// Whether that compiler has this linker, and knows how to be told to take it.
fn links_with(name: &str) -> bool {
    compiler()
        .args([&format!("-fuse-ld={name}"), "-Wl,--version"])
        .output()
        .is_ok_and(|answer| answer.status.success())
}

/// Where the compiler that links keeps its static unwinder.
fn static_unwinder() -> Option<PathBuf> {
    let answer = compiler()
        .arg("-print-file-name=libgcc_eh.a")
        .output()
        .ok()?;
    let archive = PathBuf::from(String::from_utf8(answer.stdout).ok()?.trim());
    // A compiler that has none answers with the bare name.
    archive.is_absolute().then_some(archive)
}
