//! `sidegate users list`: accounts, page by page.

use crate::cli::execute::{Operator, unexpected};
use crate::cli::listing::Listing;
use crate::cli::{Trouble, show};
use crate::control::Reply;
use crate::control::Request;

/// Accounts in one exchange.
const PAGE: u32 = 500;

impl Operator<'_, '_> {
    /// Page by page, so that neither side holds more than one page.
    pub(super) fn users_list(
        &mut self,
        limit: u32,
        mut after: Option<String>,
        json: bool,
    ) -> Result<(), Trouble> {
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
            listing.page(&users, self.surroundings.out)?;
            after = next;
            if after.is_none() || users.is_empty() || listed >= limit {
                break;
            }
        }
        listing.end(show::NO_USERS, self.surroundings.out)?;
        if let Some(after) = after {
            self.note(&format!("there are more users: go on with --after {after}"));
        }
        Ok(())
    }
}
