//! `sidegate sessions …`: lists of any length, and the end of any number of sessions.

use crate::cli::args::{Ending, Sessions};
use crate::cli::execute::{Operator, unexpected};
use crate::cli::listing::Listing;
use crate::cli::{Trouble, show, tell};
use crate::control::Reply;
use crate::control::Request;
use crate::control::reply::EndingView;
use crate::control::request::SessionsToEnd;
use crate::types::named::Named;

/// Sessions in one exchange.
const PAGE: u32 = 500;

impl Operator<'_, '_> {
    /// `sidegate sessions …`.
    pub(super) fn sessions(&mut self, command: Sessions) -> Result<(), Trouble> {
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
                        return Err(Trouble::Use("name --id, --user or --all".to_owned()));
                    }
                };
                match self.ask(Request::SessionsEnd(which))? {
                    Reply::Ended(count) => self.ended(count, json.json),
                    other => Err(unexpected(&other)),
                }
            }
        }
    }

    /// Page by page, so that neither side holds more than one page.
    fn list(&mut self, user: Option<&Named>, limit: u32, json: bool) -> Result<(), Trouble> {
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
            listing.page(&sessions, self.surroundings.out)?;
            after = next;
            if after.is_none() || sessions.is_empty() || listed >= limit {
                break;
            }
        }
        listing.end(show::NO_SESSIONS, self.surroundings.out)?;
        if after.is_some() {
            self.note("there are more sessions; raise --limit");
        }
        Ok(())
    }

    /// All sessions are over with the first answer. What takes time is the removal of their records.
    fn end_all(&mut self, json: bool) -> Result<(), Trouble> {
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

    fn ended(&mut self, count: u64, json: bool) -> Result<(), Trouble> {
        let text = if json {
            show::json(&serde_json::json!({ "ended": count }))?
        } else if count == 1 {
            "1 session ended".to_owned()
        } else {
            format!("{count} sessions ended")
        };
        tell(self.surroundings.out, &text);
        Ok(())
    }
}
