//! `X-Forwarded-For` lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::forwarded_for(data));
