//! What happens to one request? Its phases, one file each, in the order of [`pipeline`].
//!
//! ```text
//! pipeline ── 1 context
//!          ├─ 2 admit         (host, bad_request)
//!          ├─ 3 route         (api_call, caller; check and original: forward-auth)
//!          ├─ 4 clean         (in admit)
//!          ├─ 5 guard
//!          ├─ 6 forward       (via, request_body, session_bound; upgrade and tunnel: switched protocols)
//!          ├─ 7 answer
//!          └─ 8 record        (body, access_log)
//! ```

pub mod access_log;
pub mod admit;
pub mod answer;
pub mod api_call;
pub mod bad_request;
pub mod body;
mod caller;
mod check;
pub mod context;
pub mod forward;
pub mod guard;
pub mod host;
mod log_line;
pub mod original;
pub mod pipeline;
pub mod record;
pub(crate) mod reply;
pub mod request_body;
mod route;
pub mod session_bound;
mod session_watch;
pub mod tunnel;
pub mod upgrade;
pub mod via;
