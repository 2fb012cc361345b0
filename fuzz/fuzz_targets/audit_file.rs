//! An audit file.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::audit_file(data));
