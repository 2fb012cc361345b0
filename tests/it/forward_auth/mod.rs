//! What gateways are told about the requests they hold: `/auth/verify` from a trusted peer, and that
//! nobody else is believed about another request.

mod held;
mod life;
mod same;
mod trust;
mod verdicts;
