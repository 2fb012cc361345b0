//! How is every record read that a damaged database can still return? Page by page, from both ends.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Receives a key and its value, and decides whether reading continues.
pub(super) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Visits every record that can be read, around the pages that cannot, until `visit` returns
/// [`ControlFlow::Break`]. Returns the parts that cannot be read.
pub(super) fn each_readable(database: &::sled::Db, visit: &mut Visit<'_>) -> Vec<String> {
    let mut unreadable = Vec::new();
    for tag in 0..=u8::MAX {
        if is_empty(database, tag) {
            continue;
        }
        for part in 0..=u8::MAX {
            if visit_part(database, tag, part, visit, &mut unreadable).is_break() {
                return unreadable;
            }
        }
    }
    unreadable
}

/// Visits the records whose keys begin with these two bytes. The first part also has the key of one
/// byte, and the last part everything up to the next table.
fn visit_part(
    database: &::sled::Db,
    tag: u8,
    part: u8,
    visit: &mut Visit<'_>,
    unreadable: &mut Vec<String>,
) -> ControlFlow<()> {
    let from = match part {
        0 => vec![tag],
        _ => vec![tag, part],
    };
    let to = match (tag, part) {
        (u8::MAX, u8::MAX) => vec![u8::MAX; 64],
        (_, u8::MAX) => vec![tag + 1],
        _ => vec![tag, part + 1],
    };
    let mut last = None;
    let why = match forward(database, &from, &to, &mut last, visit) {
        End::Complete => return ControlFlow::Continue(()),
        End::Stopped => return ControlFlow::Break(()),
        End::Unreadable(why) => why,
    };
    let table = char::from(tag);
    unreadable.push(format!("a page of table {table} cannot be read ({why})"));
    // From the other end, down to the last record that was visited.
    let down_to = last.map_or(from, |mut last: Vec<u8>| {
        last.push(0);
        last
    });
    for (key, value) in backward(database, &down_to, &to).into_iter().rev() {
        visit(&key, &value)?;
    }
    ControlFlow::Continue(())
}

fn is_empty(database: &::sled::Db, tag: u8) -> bool {
    let first = catch_unwind(AssertUnwindSafe(|| database.scan_prefix([tag]).next()));
    matches!(first, Ok(None))
}

/// How reading a range ended.
enum End {
    /// All of it was visited.
    Complete,
    /// The visitor stopped it.
    Stopped,
    /// A record could not be read, for this reason.
    Unreadable(String),
}

fn forward(
    database: &::sled::Db,
    from: &[u8],
    to: &[u8],
    last: &mut Option<Vec<u8>>,
    visit: &mut Visit<'_>,
) -> End {
    let walked = catch_unwind(AssertUnwindSafe(|| {
        for pair in database.range(from..to) {
            match pair {
                Ok((key, value)) => {
                    if last.as_ref().is_some_and(|last| **last >= *key) {
                        return End::Unreadable("its keys are not in order".to_owned());
                    }
                    *last = Some(key.to_vec());
                    if visit(&key, &value).is_break() {
                        return End::Stopped;
                    }
                }
                Err(error) => return End::Unreadable(error.to_string()),
            }
        }
        End::Complete
    }));
    walked.unwrap_or_else(|_| End::Unreadable("the engine panics".to_owned()))
}

/// The records of a range from its end down to the first that cannot be read.
fn backward(database: &::sled::Db, from: &[u8], to: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    // Records that were collected before a panic or an error count.
    let _ended = catch_unwind(AssertUnwindSafe(|| {
        for pair in database.range(from..to).rev() {
            match pair {
                Ok((key, value)) if found.last().is_none_or(|last| *last.0 > *key) => {
                    found.push((key.to_vec(), value.to_vec()));
                }
                _ => return,
            }
        }
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bug: a visitor that stopped was called again for every further part of the database. A salvage whose
    /// target had failed read the rest of a store of many gigabytes.
    #[test]
    fn a_visitor_that_stops_is_not_called_again() {
        let database = ::sled::Config::new().temporary(true).open().unwrap();
        for tag in [b'A', b'B', b'C'] {
            for part in [1, 7] {
                database.insert([tag, part], &[part]).unwrap();
            }
        }
        for most in 1..=6 {
            let mut calls = 0;
            let unreadable = each_readable(&database, &mut |_, _| {
                calls += 1;
                if calls < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            assert_eq!((calls, unreadable), (most, vec![]));
        }
    }
}
