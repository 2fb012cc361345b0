//! A gateway's description of the request it asks about.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::gateway_question(data));
