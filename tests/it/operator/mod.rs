//! An operator works with commands that act on a running server or on its store, and each command fails
//! with an exit code and a message. Files and backups are readable by their owner only.
//!
//! - [`commands`]: every command, with and without a server.
//! - [`changes`]: roles, locks, sessions and keys changed on a running server.
//! - [`backup`]: backup and restore.
//! - [`import`]: accounts of other systems, from files.
//! - [`files`]: permissions of files and directories.

mod backup;
mod changes;
mod commands;
mod files;
mod import;
