//! Which streams are notified of the end of a session, and when?

use super::*;
use crate::rules::session::sample;

fn revocation(session: SessionId, effect: RevocationEffect) -> Revocation {
    Revocation {
        session,
        effect,
        until: Timestamp::MAX,
    }
}

struct Fixture {
    streams: Streams,
    registries: [Arc<StreamRegistry>; 2],
    key: SessionKey,
}

fn fixture() -> Fixture {
    let streams = Streams::new(Arc::new(Liveness::new()));
    let registries = [streams.registry(), streams.registry()];
    let key = sample(Timestamp::from_secs(1)).key;
    Fixture {
        streams,
        registries,
        key,
    }
}

impl Fixture {
    fn open(&self, registry: usize, version: u32) -> OpenStream {
        self.registries[registry].open(Opener {
            session: &self.key,
            version: Some(AccountVersion(version)),
            expires_at: Timestamp::from_secs(100),
        })
    }

    fn apply(&self, effect: RevocationEffect) {
        let revocation = revocation(self.key.id, effect);
        self.streams.liveness.apply(&[revocation]);
        self.streams.apply(&revocation);
    }
}

fn is_over(stream: &mut OpenStream) -> bool {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    stream.poll_over(&mut cx).is_ready()
}

#[test]
fn all_streams_of_a_session_are_notified_on_every_worker() {
    let fixture = fixture();
    let (mut a, mut b) = (fixture.open(0, 1), fixture.open(1, 2));
    assert_eq!(fixture.streams.count(fixture.key.id), 2);
    assert!(!is_over(&mut a) && !is_over(&mut b));
    fixture.apply(RevocationEffect::Ended);
    assert!(is_over(&mut a) && is_over(&mut b));
    assert!(fixture.streams.is_empty());
}

#[test]
fn a_stream_opened_for_an_ended_session_is_notified_at_once() {
    let fixture = fixture();
    fixture.apply(RevocationEffect::Ended);
    assert!(is_over(&mut fixture.open(0, 1)));
}

#[test]
fn reading_the_registry_consumes_no_notification() {
    let fixture = fixture();
    let mut stream = fixture.open(0, 1);
    assert!(!stream.is_over());
    fixture.apply(RevocationEffect::Ended);
    assert!(stream.is_over() && is_over(&mut stream) && stream.is_over());
}

#[test]
fn changed_roles_end_the_streams_of_older_tokens_only() {
    let fixture = fixture();
    let (mut old, mut fresh) = (fixture.open(0, 3), fixture.open(0, 4));
    fixture.apply(RevocationEffect::Stale(AccountVersion(4)));
    assert!(is_over(&mut old) && !is_over(&mut fresh));
    assert_eq!(fixture.streams.count(fixture.key.id), 1);
}

#[test]
fn changed_roles_do_not_end_a_request_and_the_end_of_its_session_does() {
    let fixture = fixture();
    let mut exchange = fixture.registries[0].open(Opener {
        session: &fixture.key,
        version: None,
        expires_at: Timestamp::from_secs(100),
    });
    fixture.apply(RevocationEffect::Stale(AccountVersion(4)));
    assert!(!is_over(&mut exchange));
    fixture.apply(RevocationEffect::Ended);
    assert!(is_over(&mut exchange));
}

#[test]
fn a_dropped_stream_is_no_longer_counted() {
    let fixture = fixture();
    let (a, b) = (fixture.open(0, 1), fixture.open(0, 1));
    drop(a);
    assert_eq!(fixture.streams.count(fixture.key.id), 1);
    drop(b);
    assert!(fixture.streams.is_empty());
    assert!(fixture.registries[0].sessions().is_empty());
}

#[test]
fn a_session_is_read_when_it_may_have_expired_and_not_before() {
    let fixture = fixture();
    let mut stream = fixture.open(0, 1);
    assert_eq!(fixture.streams.due(Timestamp::from_secs(99)), []);
    let due = fixture.streams.due(Timestamp::from_secs(100));
    assert_eq!(due, std::slice::from_ref(&fixture.key));
    fixture
        .streams
        .check_again(fixture.key.id, Timestamp::from_secs(200));
    assert_eq!(fixture.streams.due(Timestamp::from_secs(199)), []);
    fixture.streams.end(fixture.key.id);
    assert!(is_over(&mut stream));
}
