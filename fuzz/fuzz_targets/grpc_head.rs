//! What the head of a gRPC call says of its kind and its time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::proxy::fuzz::grpc_head(data));
