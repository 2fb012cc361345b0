//! Sidegate: a reverse-proxy auth sidecar.
#![forbid(unsafe_code)]

pub mod files;
pub mod telemetry;
pub mod types;

pub mod crypto;
pub mod geo;
pub mod limits;
pub mod model;
pub mod policy;

pub mod audit;
pub mod mail;
pub mod rules;
pub mod store;
pub mod tls;
pub mod tokens;

pub mod service;

pub mod guard;

pub mod api;
pub mod proxy;

pub mod net;

pub mod gateway;

pub mod control;

pub mod config;

pub mod fuzz;
pub mod process;

pub mod cli;
