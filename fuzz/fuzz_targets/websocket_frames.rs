//! The frames of a WebSocket.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidegate::fuzz::websocket_frames(data));
