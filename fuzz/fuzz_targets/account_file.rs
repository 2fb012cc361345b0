//! A file for `sidegate users import`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::account_file(data));
