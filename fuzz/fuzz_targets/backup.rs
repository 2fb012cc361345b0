//! A backup file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::backup(data));
