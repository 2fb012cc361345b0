//! How does `sidegate users list` list any number of accounts?

use crate::cli::error::CommandError;
use crate::cli::execute::{Executor, unexpected};
use crate::cli::listing::Listing;
use crate::cli::show;
use crate::control::{Reply, Request};

/// The most accounts in one reply.
const PAGE: u32 = 500;

impl Executor<'_, '_> {
    /// Reads page by page: neither side holds more than one page in memory.
    pub(super) fn users_list(
        &mut self,
        limit: u32,
        mut after: Option<String>,
        json: bool,
    ) -> Result<(), CommandError> {
        let mut listing = Listing::new(json, show::USERS, show::user_row);
        let mut listed = 0;
        loop {
            let request = Request::UsersList {
                after: after.take(),
                limit: (limit - listed).min(PAGE),
            };
            let (users, next) = match self.ask(request)? {
                Reply::Users { users, next } => (users, next),
                other => return Err(unexpected(&other)),
            };
            listed += u32::try_from(users.len()).unwrap_or(u32::MAX);
            listing.page(&users, self.console.out)?;
            after = next;
            if after.is_none() || users.is_empty() || listed >= limit {
                break;
            }
        }
        listing.end(show::NO_USERS, self.console.out)?;
        if let Some(after) = after {
            self.note(&format!("there are more users: go on with --after {after}"));
        }
        Ok(())
    }
}
