//! `Authorization` and `Cookie` lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::credentials(data));
