//! Runs the fuzz targets over their committed corpora and over generated input.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use crate::proxy::fuzz::{grpc_head, upstream_response};

#[test]
fn the_fuzz_corpora_replay_without_a_panic() {
    for (name, run, enough) in [
        ("upstream_response", upstream_response as fn(&[u8]), 10),
        ("grpc_head", grpc_head, 3),
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let mut seen = 0;
        for entry in fs::read_dir(folder.join(name)).unwrap() {
            run(&fs::read(entry.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen >= enough, "{name} has only {seen} seeds");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_are_read_the_same_however_they_are_cut(
        cut in any::<u8>(),
        start in prop_oneof![
            Just(""),
            Just("HTTP/1.1 200 OK\r\n"),
            Just("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Just("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            Just("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 404 No\r\n"),
        ],
        rest in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200).boxed(),
            "([0-9a-f]{1,3}|;|\r\n|\r|\n|[ -~]{0,9}|0\r\n\r\n|a: b\r\n|HTTP/1.1 200 OK\r\n){0,24}"
                .prop_map(String::into_bytes).boxed(),
        ],
    ) {
        let data = [&[cut], start.as_bytes(), &rest].concat();
        upstream_response(&data);
    }
}
