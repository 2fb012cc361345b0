//! `[limits]`: rate limits, such as `20/h`.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::build::read::{Kind, text_at};
use crate::config::build::reader::Reader;
use crate::config::key::Declaration;
use crate::config::keys::limits;
use crate::config::kind::{DAY, HOUR, MINUTE, Rate, secs};
use crate::limits::{Quota, Settings};

/// The limits' settings.
pub(super) fn build(reader: &mut Reader<'_>) -> Settings {
    // Read for its mistakes; it has no effect without the dialect that uses it.
    reader.get(&limits::SESSIONS);
    Settings {
        login: reader.get(&limits::LOGIN),
        signup: reader.get(&limits::SIGNUP),
        refresh: reader.get(&limits::REFRESH),
        lists: reader.get(&limits::LISTS),
    }
}

impl Kind for Rate {
    type Value<'a> = Quota;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> Quota {
        if let Some(quota) = parse(text_at(reader, key, at)) {
            return quota;
        }
        reader.refuse_with(
            at,
            "is no limit",
            "write a number and a period, such as \"20/h\", \"60/m\", \"5/s\" or \"100/d\"",
        );
        Quota {
            count: NonZeroU32::MIN,
            period: secs(DAY),
        }
    }
}

/// `20/h`: 1 to 1,000,000 in a second, minute, hour or day.
fn parse(text: &str) -> Option<Quota> {
    let (count, unit) = text.split_once('/')?;
    let count: NonZeroU32 = count.trim().parse().ok()?;
    let period: Duration = match unit.trim() {
        "s" => secs(1),
        "m" => secs(MINUTE),
        "h" => secs(HOUR),
        "d" => secs(DAY),
        _ => return None,
    };
    (count.get() <= 1_000_000).then_some(Quota { count, period })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_in_a_period() {
        let parsed = |text| parse(text).map(|q| (q.count.get(), q.period.as_secs()));
        assert_eq!(parsed("20/h"), Some((20, 3_600)));
        assert_eq!(parsed("5/s"), Some((5, 1)));
        assert_eq!(parsed("60 / m"), Some((60, 60)));
        assert_eq!(parsed("100/d"), Some((100, 86_400)));
        for bad in [
            "",
            "20",
            "/h",
            "0/h",
            "-1/h",
            "20/y",
            "20/2h",
            "1000001/s",
            "1.5/s",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
