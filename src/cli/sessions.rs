//! How does `sidegate sessions` list and end any number of sessions?

use crate::cli::args::{Ending, Sessions};
use crate::cli::console::print_line;
use crate::cli::error::CommandError;
use crate::cli::execute::{Executor, unexpected};
use crate::cli::listing::Listing;
use crate::cli::show;
use crate::control::reply::EndingView;
use crate::control::request::SessionsToEnd;
use crate::control::{Reply, Request};
use crate::types::named::Named;

/// The most sessions in one reply.
const PAGE: u32 = 500;

impl Executor<'_, '_> {
    /// `sidegate sessions …`.
    pub(super) fn sessions(&mut self, command: Sessions) -> Result<(), CommandError> {
        match command {
            Sessions::List { user, limit, json } => self.list(user.as_ref(), limit, json.json),
            Sessions::End { which, json } => {
                let which = match which {
                    Ending { id: Some(id), .. } => SessionsToEnd::Id(id),
                    Ending {
                        user: Some(user), ..
                    } => SessionsToEnd::User(user),
                    Ending { all: true, .. } => return self.end_all(json.json),
                    Ending { .. } => {
                        return Err(CommandError::Usage("name --id, --user or --all".to_owned()));
                    }
                };
                match self.ask(Request::SessionsEnd(which))? {
                    Reply::Ended(count) => self.ended(count, json.json),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// Reads page by page: neither side holds more than one page in memory.
    fn list(&mut self, user: Option<&Named>, limit: u32, json: bool) -> Result<(), CommandError> {
        let mut listing = Listing::new(json, show::SESSIONS, show::session_row);
        let mut after = None;
        let mut listed = 0;
        loop {
            let request = Request::SessionsList {
                user: user.cloned(),
                after: after.take(),
                limit: (limit - listed).min(PAGE),
            };
            let (sessions, next) = match self.ask(request)? {
                Reply::Sessions { sessions, next } => (sessions, next),
                other => return Err(unexpected(&other)),
            };
            listed += u32::try_from(sessions.len()).unwrap_or(u32::MAX);
            listing.page(&sessions, self.console.out)?;
            after = next;
            if after.is_none() || sessions.is_empty() || listed >= limit {
                break;
            }
        }
        listing.end(show::NO_SESSIONS, self.console.out)?;
        if after.is_some() {
            self.note("there are more sessions; raise --limit");
        }
        Ok(())
    }

    /// All sessions are ended with the first reply. The removal of their records takes longer.
    fn end_all(&mut self, json: bool) -> Result<(), CommandError> {
        let mut request = Request::SessionsEnd(SessionsToEnd::All);
        let mut last: Option<EndingView> = None;
        loop {
            let all = match self.ask(request)? {
                Reply::Ending(all) => all,
                other => return Err(unexpected(&other)),
            };
            if all.complete {
                return self.ended(all.ended, json);
            }
            let words = match last {
                None => format!(
                    "all {} sessions are over; removing their records",
                    all.found
                ),
                Some(_) => format!("{} of {} records removed", all.removed, all.found),
            };
            self.note(&words);
            last = Some(all);
            request = Request::SessionsClear;
        }
    }

    fn ended(&mut self, count: u64, json: bool) -> Result<(), CommandError> {
        let text = if json {
            show::json(&serde_json::json!({ "ended": count }))?
        } else if count == 1 {
            "1 session ended".to_owned()
        } else {
            format!("{count} sessions ended")
        };
        print_line(self.console.out, &text);
        Ok(())
    }
}
