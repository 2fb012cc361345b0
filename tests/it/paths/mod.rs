//! A path has one reading. The rule that is checked is the rule of the path that the application sees; a
//! request that can be read in two ways is refused.
//!
//! - [`accepted`]: methods, targets, hosts, paths and header lines that are accepted at all.
//! - [`rules`]: which rule applies, and what a refusal contains.

mod accepted;
mod rules;
