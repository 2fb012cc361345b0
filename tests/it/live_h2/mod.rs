//! What is open over HTTP/2 ends with its session, and the rest of its connection lives on.

mod calls;
mod stuck;
mod talk;
mod websocket;

pub(crate) use calls::play;
pub(crate) use talk::{Heard, Next, Socket, Talk};
