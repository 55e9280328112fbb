//! The directory that the targets' namespace lies in: one for the program, because the library opens its namespace once.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

extern "C" fn remove_base() {
    if let Ok(base) = std::env::var("SHMSHIM_DIR") {
        if base.contains("shmshim-fuzz-") {
            let _ = fs::remove_dir_all(base);
        }
    }
}

/// The runtime directory, which is made with the first call.
pub fn runtime_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let parent = if Path::new("/dev/shm").is_dir() {
            "/dev/shm"
        } else {
            "/tmp"
        };
        let base = PathBuf::from(format!("{parent}/shmshim-fuzz-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&base).unwrap();
        // SAFETY: targets run on one thread; libFuzzer ends by exit, which drops nothing.
        unsafe {
            std::env::set_var("SHMSHIM_DIR", &base);
            libc::atexit(remove_base);
        }
        // SAFETY: asks for a number.
        let euid = unsafe { libc::geteuid() };
        base.join(format!(".shmshim-uid{euid}"))
    })
}
