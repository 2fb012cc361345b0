//! Who is told of the end of a session, and when.

use super::*;
use crate::rules::session::sample;

fn revocation(session: SessionId, verdict: Verdict) -> Revocation {
    Revocation {
        session,
        verdict,
        until: Timestamp::MAX,
    }
}

struct Books {
    streams: Streams,
    desks: [Arc<Desk>; 2],
    key: SessionKey,
}

fn books() -> Books {
    let streams = Streams::new(Arc::new(Liveness::new()));
    let desks = [streams.desk(), streams.desk()];
    let key = sample(Timestamp::from_secs(1)).key;
    Books {
        streams,
        desks,
        key,
    }
}

impl Books {
    fn open(&self, desk: usize, version: u32) -> OpenStream {
        self.desks[desk].open(Opener {
            session: &self.key,
            version: Some(AccountVersion(version)),
            expires_at: Timestamp::from_secs(100),
        })
    }

    fn apply(&self, verdict: Verdict) {
        let revocation = revocation(self.key.id, verdict);
        self.streams.liveness.apply(&[revocation]);
        self.streams.apply(&revocation);
    }
}

fn is_over(stream: &mut OpenStream) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    stream.poll_over(&mut cx).is_ready()
}

#[test]
fn all_streams_of_a_session_hear_of_its_end_on_every_worker() {
    let books = books();
    let (mut a, mut b) = (books.open(0, 1), books.open(1, 2));
    assert_eq!(books.streams.count(books.key.id), 2);
    assert!(!is_over(&mut a) && !is_over(&mut b));
    books.apply(Verdict::Ended);
    assert!(is_over(&mut a) && is_over(&mut b));
    assert!(books.streams.is_empty());
}

#[test]
fn a_stream_opened_for_a_session_that_is_over_hears_it_at_once() {
    let books = books();
    books.apply(Verdict::Ended);
    assert!(is_over(&mut books.open(0, 1)));
}

#[test]
fn who_only_looks_takes_the_news_from_nobody() {
    let books = books();
    let mut stream = books.open(0, 1);
    assert!(!stream.is_over());
    books.apply(Verdict::Ended);
    assert!(stream.is_over() && is_over(&mut stream) && stream.is_over());
}

#[test]
fn changed_roles_end_the_streams_of_older_tokens_only() {
    let books = books();
    let (mut old, mut fresh) = (books.open(0, 3), books.open(0, 4));
    books.apply(Verdict::Stale(AccountVersion(4)));
    assert!(is_over(&mut old) && !is_over(&mut fresh));
    assert_eq!(books.streams.count(books.key.id), 1);
}

#[test]
fn changed_roles_leave_an_exchange_alone_and_the_end_of_its_session_does_not() {
    let books = books();
    let mut exchange = books.desks[0].open(Opener {
        session: &books.key,
        version: None,
        expires_at: Timestamp::from_secs(100),
    });
    books.apply(Verdict::Stale(AccountVersion(4)));
    assert!(!is_over(&mut exchange));
    books.apply(Verdict::Ended);
    assert!(is_over(&mut exchange));
}

#[test]
fn a_dropped_stream_is_counted_no_more() {
    let books = books();
    let (a, b) = (books.open(0, 1), books.open(0, 1));
    drop(a);
    assert_eq!(books.streams.count(books.key.id), 1);
    drop(b);
    assert!(books.streams.is_empty());
    assert!(books.desks[0].sessions().is_empty());
}

#[test]
fn a_session_is_looked_up_when_it_may_have_run_out_and_not_before() {
    let books = books();
    let mut stream = books.open(0, 1);
    assert_eq!(books.streams.due(Timestamp::from_secs(99)), []);
    let due = books.streams.due(Timestamp::from_secs(100));
    assert_eq!(due, std::slice::from_ref(&books.key));
    books
        .streams
        .look_again(books.key.id, Timestamp::from_secs(200));
    assert_eq!(books.streams.due(Timestamp::from_secs(199)), []);
    books.streams.end(books.key.id);
    assert!(is_over(&mut stream));
}
