//! `[[mount]]` and the other settings of the API.

use crate::api::settings::{Addresses, Cookies, Delivery, DialectName, Mount, Settings};
use crate::config::build::names;
use crate::config::build::reader::{Entry, Reader};
use crate::config::keys::{limits, mount, sessions};
use crate::config::tree::item;
use crate::types::origin::Origin;

/// The API's settings.
pub(super) fn build(
    reader: &mut Reader<'_>,
    cookies: Cookies,
    public_origin: Option<Origin>,
) -> Settings {
    let max_body = reader.get(&limits::BODY);
    Settings {
        mounts: mounts(reader),
        cookies,
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        addresses: reader.get(&sessions::IP).unwrap_or(Addresses::Masked),
        public_origin,
    }
}

fn mounts(reader: &mut Reader<'_>) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for entry in reader.entries(&mount::MOUNT) {
        let mount = mount(reader, entry);
        let within = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(other) = mounts
            .iter()
            .find(|m| within(&m.prefix, &mount.prefix) || within(&mount.prefix, &m.prefix))
        {
            reader.refuse(
                &entry.path(&mount::PREFIX),
                format!(
                    "{} overlaps with the mount at {}",
                    mount.prefix, other.prefix
                ),
            );
        }
        mounts.push(mount);
    }
    if mounts.is_empty() {
        // No key of the first entry is set, so every value is the default.
        mounts.push(mount(reader, Entry(1)));
    }
    mounts
}

fn mount(reader: &mut Reader<'_>, entry: Entry) -> Mount {
    let dialect = reader
        .get_in(entry, &mount::DIALECT)
        .unwrap_or(DialectName::Sidegate);
    let prefix = reader.get_in(entry, &mount::PREFIX);
    if !names::is_prefix(prefix) {
        reader.refuse_with(
            &entry.path(&mount::PREFIX),
            "is no path prefix",
            "write \"/auth\": a slash at the beginning, none at the end",
        );
    }
    let allowed_origins = allowed_origins(reader, entry);
    let delivery = reader
        .get_in(entry, &mount::DELIVERY)
        .unwrap_or(Delivery::Json);
    if !dialect.deliveries().contains(&delivery) {
        let words = format!(
            "the dialect {:?} does not have this delivery",
            dialect.as_str()
        );
        reader.refuse(&entry.path(&mount::DELIVERY), words);
    }
    let verify_renews = reader.get_in(entry, &mount::VERIFY_RENEWS);
    if verify_renews && delivery != Delivery::Cookies {
        reader.refuse_with(
            &entry.path(&mount::VERIFY_RENEWS),
            "renews cookies, and tokens do not travel in cookies here",
            "set delivery = \"cookies\" as well",
        );
    }
    Mount {
        prefix: prefix.to_owned(),
        dialect,
        delivery,
        allowed_origins,
        verify_renews,
    }
}

fn allowed_origins(reader: &mut Reader<'_>, entry: Entry) -> Vec<Origin> {
    let key = &mount::ALLOWED_ORIGINS;
    let mut origins = Vec::new();
    for (index, text) in reader.get_in(entry, key).into_iter().enumerate() {
        match names::origin(text) {
            Some(origin) => origins.push(origin),
            None => reader.refuse_with(
                &item(&entry.path(key), index),
                "is no origin",
                "write scheme, host and port only, such as \"https://app.example.org\"",
            ),
        }
    }
    origins
}
