//! The helpers of all tests. No test is here.
//!
//! | question | file |
//! |---|---|
//! | How does a test start Sidegate? | [`harness`] (with a [`plan`]) in the process, [`program`] as a process of its own |
//! | How does a test send requests? | [`actors`] and [`browser`] as a user, [`client`] byte by byte, [`h2_client`] and [`h2`] over HTTP/2, [`websocket`] |
//! | What came back, and what did the application receive? | [`answer`], [`received`] |
//! | How does a test wait? | [`wait`] |
//! | Which application is behind Sidegate? | [`upstream`] echoes, [`scripted`] plays a script, [`silent_app`] reads and does not answer, [`hyper_app`] is a function, [`h2_app`] streams, [`header_app`] sends given headers |
//! | Where do certificates and tokens come from? | [`certificates`], [`forge`] |
//! | What else is there? | [`city_database`] writes one, [`load`] sends requests without a pause, [`smtp`] is a mail server, [`sockets`] finds listeners, [`dice`] makes repeatable choices, [`spellings`] lists header names |

pub(crate) mod actors;
pub(crate) mod answer;
pub(crate) mod browser;
pub(crate) mod certificates;
pub(crate) mod city_database;
pub(crate) mod client;
pub(crate) mod dice;
pub(crate) mod forge;
pub(crate) mod h2;
pub(crate) mod h2_app;
pub(crate) mod h2_client;
pub(crate) mod harness;
pub(crate) mod header_app;
pub(crate) mod hyper_app;
pub(crate) mod load;
pub(crate) mod plan;
pub(crate) mod program;
pub(crate) mod received;
pub(crate) mod scripted;
pub(crate) mod silent_app;
pub(crate) mod smtp;
pub(crate) mod sockets;
pub(crate) mod spellings;
pub(crate) mod upstream;
pub(crate) mod wait;
pub(crate) mod websocket;
