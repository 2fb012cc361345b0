//! `[limits]`: how many in which time.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::build::reader::{DAY, HOUR, MINUTE, Reader, secs};
use crate::config::raw::Limits;
use crate::limits::{Quota, Settings};

/// The limits' settings.
pub(super) fn build(reader: &mut Reader<'_>, limits: &Limits) -> Settings {
    // Read for its mistakes; it has no effect without the dialect it is for.
    quota(reader, "limits.sessions", &limits.sessions);
    Settings {
        login: quota(reader, "limits.login", &limits.login),
        signup: quota(reader, "limits.signup", &limits.signup),
        refresh: quota(reader, "limits.refresh", &limits.refresh),
        lists: quota(reader, "limits.lists", &limits.lists),
    }
}

fn quota(reader: &mut Reader<'_>, key: &str, text: &str) -> Quota {
    if let Some(quota) = parse(text) {
        return quota;
    }
    reader.refuse_with(
        key,
        "is no limit",
        "write a number and a period, such as \"20/h\", \"60/m\", \"5/s\" or \"100/d\"",
    );
    Quota {
        count: NonZeroU32::MIN,
        period: secs(DAY),
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
        let told = |text| parse(text).map(|q| (q.count.get(), q.period.as_secs()));
        assert_eq!(told("20/h"), Some((20, 3_600)));
        assert_eq!(told("5/s"), Some((5, 1)));
        assert_eq!(told("60 / m"), Some((60, 60)));
        assert_eq!(told("100/d"), Some((100, 86_400)));
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
            assert_eq!(told(bad), None, "{bad}");
        }
    }
}
