//! Bytes of an upstream, parsed at once and in pieces: the results must be equal.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::proxy::fuzz::upstream_response(data));
