//! `[headers]`: the headers that identify the user to the upstream.

use http::HeaderName;

use crate::api::settings::Cookies;
use crate::config::build::reader::Reader;
use crate::config::keys::headers;
use crate::config::tree::join;
use crate::guard::settings::{CLAIMS, PRESETS, Preset, Settings, is_reserved};
use crate::proxy::settings::Address;
use crate::tokens::settings::Algorithm;
use crate::types::header::is_same;

/// The guard's settings. `upstream` is the application's address, unless it is a mistake.
pub(super) fn build(
    reader: &mut Reader<'_>,
    cookies: &Cookies,
    algorithm: Algorithm,
    upstream: Option<&Address>,
) -> Settings {
    Settings {
        access_cookie: cookies.access.clone(),
        headers: preset(reader),
        assertion: assertion(reader, algorithm, upstream),
        cache_bytes: CACHE_BYTES,
    }
}

/// The audience of assertions, if they are sent.
fn assertion(
    reader: &mut Reader<'_>,
    algorithm: Algorithm,
    upstream: Option<&Address>,
) -> Option<String> {
    if !reader.get(&headers::ASSERTION) {
        return None;
    }
    if algorithm == Algorithm::HS256 {
        reader.refuse_with(
            headers::ASSERTION.path(),
            "the application cannot verify assertions that are signed with HS256: there is no public key, \
             and a program with the secret can make access tokens",
            "set tokens.algorithm = \"EdDSA\", \"ES256\" or \"RS256\", or remove it",
        );
    }
    upstream.map(Address::origin)
}

fn preset(reader: &mut Reader<'_>) -> Preset {
    let preset = reader.get(&headers::PRESET);
    if preset == "custom" {
        return custom(reader);
    }
    if reader.map(&headers::CUSTOM).next().is_some() {
        reader.refuse_with(
            headers::CUSTOM.path,
            format!("is not used with preset = {preset:?}"),
            "set preset = \"custom\", or remove it",
        );
    }
    let names: Vec<(&str, ())> = PRESETS
        .iter()
        .chain(&["custom"])
        .map(|name| (*name, ()))
        .collect();
    reader.word(headers::PRESET.path(), preset, &names);
    Preset::Named(preset.to_owned())
}

fn custom(reader: &mut Reader<'_>) -> Preset {
    let claims: Vec<(&str, ())> = CLAIMS.iter().map(|name| (*name, ())).collect();
    let mut map: Vec<(String, HeaderName)> = Vec::new();
    for (claim, header) in reader.map(&headers::CUSTOM) {
        let key = join(headers::CUSTOM.path, claim);
        reader.word(&key, claim, &claims);
        let Ok(name) = HeaderName::try_from(header) else {
            reader.refuse(&key, format!("{header:?} is no header name"));
            continue;
        };
        if is_reserved(&name) {
            reader.refuse(
                &key,
                format!("{name} has its own meaning and cannot carry a claim"),
            );
        }
        if map.iter().any(|(_, other)| is_same(other, &name)) {
            reader.refuse(&key, format!("{name} is used for two claims"));
        }
        map.push((claim.to_owned(), name));
    }
    if map.is_empty() {
        reader.refuse_with(
            headers::CUSTOM.path,
            "preset = \"custom\" needs at least one claim",
            "write sub = \"X-User-Id\" under [headers.custom]",
        );
    }
    Preset::Custom(map)
}

/// The size of one worker's cache of verified tokens: about ten thousand tokens.
const CACHE_BYTES: usize = 4 << 20;
