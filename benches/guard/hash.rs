//! How fast does this machine hash passwords? Plain hashing with the default parameters, reused memory and
//! threads that share nothing.

use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::time::Instant;

use crate::Outcome;

/// Hashes on `threads` threads for `span`. Returns the number of hashes as one line of JSON.
pub(crate) fn run(threads: u64, span: Duration) -> Outcome<String> {
    let began = Instant::now();
    let hashing: Vec<_> = (0..threads)
        .map(|_| std::thread::spawn(move || hash_until(began + span)))
        .collect();
    let mut hashes = 0;
    for thread in hashing {
        hashes += thread.join().map_err(|_| "a thread panicked")??;
    }
    let micros = began.elapsed().as_micros();
    Ok(format!("{{\"hashes\":{hashes},\"micros\":{micros}}}"))
}

fn hash_until(end: Instant) -> Result<u64, String> {
    let params = Params::new(19 * 1024, 2, 1, Some(32)).map_err(|error| error.to_string())?;
    let mut memory = vec![Block::default(); params.block_count()];
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut out, mut hashes) = ([0; 32], 0);
    while Instant::now() < end {
        hasher
            .hash_password_into_with_memory(
                b"correct horse battery",
                &[7; 16],
                &mut out,
                &mut memory,
            )
            .map_err(|error| error.to_string())?;
        hashes += 1;
    }
    Ok(hashes)
}
