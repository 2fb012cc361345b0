//! Durations and sizes as they are written in a configuration file: `30s`, `15m`, `7d`, `32MiB`.

use std::time::Duration;

/// Parses `30s`, `15m`, `7d`, `1h 30m`. `0s` means "none" for keys that define it so.
pub fn parse_duration(text: &str) -> Result<Duration, BadSpan> {
    humantime::parse_duration(text.trim()).map_err(|_| BadSpan::Duration)
}

/// Formats a span so that it can be parsed again, in days and smaller units. Fractions of a millisecond
/// are dropped.
pub fn show_duration(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ];
    let mut rest = millis;
    let mut parts = Vec::new();
    for (unit, size) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if parts.is_empty() {
        "0s".to_owned()
    } else {
        parts.join(" ")
    }
}

/// Parses `64KiB`, `32MiB`, `1GiB`, or a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, BadSpan> {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| BadSpan::Size)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(BadSpan::Size),
    };
    number.checked_mul(factor).ok_or(BadSpan::Size)
}

/// Formats a number of bytes so that it can be parsed again, in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Text that is neither a span nor a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSpan {
    /// Not a duration.
    #[error("write a duration such as \"30s\", \"15m\" or \"7d\"")]
    Duration,
    /// Not a size.
    #[error("write a size such as \"64KiB\" or \"32MiB\"")]
    Size,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_shown_as_it_would_be_written() {
        for text in ["0s", "15m", "7d", "3650d", "1h 30m", "1s 500ms"] {
            let span = parse_duration(text).unwrap();
            assert_eq!(show_duration(span), text);
        }
    }

    #[test]
    fn a_size_is_shown_as_it_would_be_written() {
        for text in ["19MiB", "64KiB", "2GiB", "1025", "0"] {
            assert_eq!(parse_size(text).map(show_size), Ok(text.to_owned()));
        }
    }

    #[test]
    fn spans_and_sizes_read_as_written() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_size("19MiB"), Ok(19 << 20));
        assert_eq!(parse_size("512"), Ok(512));
        for bad in ["", "15", "m", "-1s", "fifteen"] {
            assert_eq!(parse_duration(bad), Err(BadSpan::Duration), "{bad}");
        }
        for bad in ["", "MiB", "1MB", "-1KiB", "99999999999999999999"] {
            assert_eq!(parse_size(bad), Err(BadSpan::Size), "{bad}");
        }
    }
}
