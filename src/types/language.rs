//! In which language does a client want text? The first of ours that its `Accept-Language` prefers.

use serde::{Deserialize, Serialize};

/// The longest header that is read, and the largest number of languages in it.
const MAX_BYTES: usize = 512;
const MAX_RANGES: usize = 32;

/// A language that Sidegate has texts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// German.
    De,
    /// French.
    Fr,
    /// Spanish.
    Es,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::En, Self::De, Self::Fr, Self::Es];

    /// The tag of the language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::De => "de",
            Self::Fr => "fr",
            Self::Es => "es",
        }
    }

    /// The language that the value of `Accept-Language` (RFC 9110, 12.5.4) prefers among ours. `None` when it
    /// names none of them. Only the primary tag counts: `de-AT` is German. A malformed part is skipped.
    pub fn accepted(header: &str) -> Option<Self> {
        if header.len() > MAX_BYTES {
            return None;
        }
        let mut best: Option<(u16, Self)> = None;
        for range in header.split(',').take(MAX_RANGES) {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let primary = tag.split('-').next().unwrap_or_default().trim();
            let mut known = Self::ALL.into_iter();
            let language = known.find(|known| primary.eq_ignore_ascii_case(known.as_str()));
            let (Some(language), Some(weight)) = (language, thousandths(weight)) else {
                continue;
            };
            if weight > best.map_or(0, |(found, _)| found) {
                best = Some((weight, language));
            }
        }
        best.map(|(_, language)| language)
    }
}

/// The weight `q=0.5` in thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let (name, value) = weight.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, fraction) {
        ("0", fraction) => Some(fraction),
        ("1", 0) => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_heaviest_of_our_languages_is_chosen_and_the_first_of_equal_ones() {
        for (header, chosen) in [
            ("de", Some(Language::De)),
            ("de-AT, en;q=0.8", Some(Language::De)),
            ("nl, fr;q=0.3, ES;q=0.7", Some(Language::Es)),
            ("fr;q=0.5,es;q=0.5", Some(Language::Fr)),
            ("en ; q=0.1 , fr ; q=1.000", Some(Language::Fr)),
            ("de;q=0", None),
            ("*", None),
            ("", None),
            ("english, deutsch", None),
            ("de;q=2, es;q=0.1", Some(Language::Es)),
            ("de;q=0.1234, es;q=0.1", Some(Language::Es)),
            ("de;level=1", None),
        ] {
            assert_eq!(Language::accepted(header), chosen, "{header:?}");
        }
        let long = format!("{}de", "nl,".repeat(400));
        assert_eq!(Language::accepted(&long), None, "too long");
        let many = format!("{}de", "nl,".repeat(MAX_RANGES));
        assert_eq!(Language::accepted(&many), None, "too many");
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,80}") {
            let _language = Language::accepted(&text);
        }

        #[test]
        fn the_only_language_of_ours_is_found(
            at in 0_usize..4, before in "(nl|it|pl;q=0\\.9|,){0,6}", weight in 1_u16..1_000,
        ) {
            let language = Language::ALL[at];
            let header = format!("{before},{};q=0.{weight:03}", language.as_str());
            prop_assert_eq!(Language::accepted(&header), Some(language));
        }
    }
}
