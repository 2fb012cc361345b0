//! Attacks on what is newer than plain requests, each for real: over sockets, with bytes by hand.

mod gateway;
