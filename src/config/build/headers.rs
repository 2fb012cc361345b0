//! `[headers]`: what the upstream is told about the caller.

use http::HeaderName;

use crate::api::settings::Cookies;
use crate::config::build::reader::Reader;
use crate::config::raw::Headers;
use crate::guard::settings::{CLAIMS, PRESETS, Preset, RESERVED, Settings};

/// The guard's settings.
pub(super) fn build(reader: &mut Reader<'_>, headers: &Headers, cookies: &Cookies) -> Settings {
    Settings {
        access_cookie: cookies.access.clone(),
        headers: preset(reader, headers),
        cache_bytes: CACHE_BYTES,
    }
}

fn preset(reader: &mut Reader<'_>, headers: &Headers) -> Preset {
    if headers.preset == "custom" {
        return custom(reader, headers);
    }
    if !headers.custom.is_empty() {
        reader.refuse_with(
            "headers.custom",
            format!("is not used with preset = {:?}", headers.preset),
            "set preset = \"custom\", or remove it",
        );
    }
    let names: Vec<(&str, ())> = PRESETS
        .iter()
        .chain(&["custom"])
        .map(|name| (*name, ()))
        .collect();
    reader.word("headers.preset", &headers.preset, &names);
    Preset::Named(headers.preset.clone())
}

fn custom(reader: &mut Reader<'_>, headers: &Headers) -> Preset {
    let claims: Vec<(&str, ())> = CLAIMS.iter().map(|name| (*name, ())).collect();
    let mut map: Vec<(String, HeaderName)> = Vec::new();
    for (claim, header) in &headers.custom {
        let key = format!("headers.custom.{claim}");
        reader.word(&key, claim, &claims);
        let Ok(name) = HeaderName::try_from(header.as_str()) else {
            reader.refuse(&key, format!("{header:?} is no header name"));
            continue;
        };
        if RESERVED.contains(&name.as_str()) {
            reader.refuse(
                &key,
                format!("{name} has its own meaning and cannot carry a claim"),
            );
        }
        if map.iter().any(|(_, other)| normal(other) == normal(&name)) {
            reader.refuse(&key, format!("{name} is used for two claims"));
        }
        map.push((claim.clone(), name));
    }
    if map.is_empty() {
        reader.refuse_with(
            "headers.custom",
            "preset = \"custom\" needs at least one claim",
            "write sub = \"X-User-Id\" under [headers.custom]",
        );
    }
    Preset::Custom(map)
}

/// Servers that put headers into variables cannot tell these spellings apart.
fn normal(name: &HeaderName) -> String {
    name.as_str()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// What one worker's cache of verified tokens may hold: some ten thousand tokens.
const CACHE_BYTES: usize = 4 << 20;
