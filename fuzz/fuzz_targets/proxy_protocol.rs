//! The first bytes of a connection from a load balancer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::proxy_protocol(data));
