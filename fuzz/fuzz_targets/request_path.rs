//! A request path, under strict and loose rules.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::request_path(data));
