//! A malicious client or application gets no more access than a correct one, and stops no other client.
//! Every attack here runs over real sockets.
//!
//! - [`smuggling`]: ambiguous framing in HTTP/1.1; one request is one request.
//! - [`http2`]: malformed heads, lengths, trailers and CONNECT in HTTP/2.
//! - [`floods`]: floods of frames, and header blocks that grow when they are decoded.
//! - [`upgrade`]: requests hidden behind a WebSocket handshake.
//! - [`upstream`]: an application in HTTP/2 that attacks Sidegate or its clients.
//! - [`mutated`]: thousands of damaged conversations, made from seeds.

mod floods;
mod http2;
mod mutated;
mod smuggling;
mod upgrade;
mod upstream;
