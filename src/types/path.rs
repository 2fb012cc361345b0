//! The request target in its one reading. Placeholder: see the helper's work.
