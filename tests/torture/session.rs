//! A session as a log-in creates it; also used by the benchmark that fills a store.

use std::time::Duration;

use sidegate::model::session::{Generation, Proof, Session, SessionKey};
use sidegate::model::user::UserKey;
use sidegate::types::device::Device;
use sidegate::types::ids::SessionId;
use sidegate::types::random::SeededRandom;
use sidegate::types::time::Timestamp;

/// A new session of that user.
pub(crate) fn session(owner: &UserKey, random: &SeededRandom, now: Timestamp) -> Session {
    let day = Duration::from_secs(86_400);
    Session {
        key: SessionKey {
            owner: owner.clone(),
            id: SessionId::generate(now, random),
        },
        generation: Generation(0),
        salt: [7; 16],
        rotated_at: now,
        created_at: now,
        last_active_at: now,
        expires_at: now.plus(day * 7),
        idle_expires_at: now.plus(day),
        idle_limit: day,
        remembered: false,
        proof: Proof::password(now),
        device_id: None,
        device_label: Some("the kitchen tablet".to_owned()),
        device: Device::from_user_agent("curl/8.5.0"),
        first_address: Some([192, 0, 2, 1].into()),
        last_address: None,
    }
}
