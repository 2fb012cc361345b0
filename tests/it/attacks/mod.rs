//! Attacks on what is newer than plain requests, each for real: over sockets, with bytes by hand.

mod fairness;
mod floods;
mod gateway;
mod http2;
mod streams;
mod upgrade;
mod upstream;
