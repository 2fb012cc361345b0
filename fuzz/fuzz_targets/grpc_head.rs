//! The kind and the deadline in the head of a gRPC call.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::proxy::fuzz::grpc_head(data));
