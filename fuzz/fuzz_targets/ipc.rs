#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shmshim_fuzz_targets::ipc(data));
