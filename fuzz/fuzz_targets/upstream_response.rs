//! Bytes of an upstream, read whole and in pieces: the readings must agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::proxy::fuzz::upstream_response(data));
