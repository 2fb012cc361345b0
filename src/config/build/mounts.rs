//! `[[mount]]`, with what else the API is told.

use crate::api::settings::{Addresses, Cookies, Delivery, Mount as MountSettings, Settings};
use crate::config::build::names;
use crate::config::build::reader::Reader;
use crate::config::raw::{Mount, Raw};

/// The API's settings.
pub(super) fn build(
    reader: &mut Reader<'_>,
    raw: &Raw,
    cookies: Cookies,
    public_origin: Option<String>,
) -> Settings {
    let addresses = [("masked", Addresses::Masked), ("full", Addresses::Full)];
    let max_body = reader.size("limits.body", &raw.limits.body, (1 << 10)..=(16 << 20));
    Settings {
        mounts: mounts(reader, &raw.mount),
        cookies,
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        addresses: reader
            .word("sessions.ip", &raw.sessions.ip, &addresses)
            .unwrap_or(Addresses::Masked),
        public_origin,
    }
}

fn mounts(reader: &mut Reader<'_>, list: &[Mount]) -> Vec<MountSettings> {
    if list.is_empty() {
        return vec![mount(reader, "mount[1]", &Mount::default())];
    }
    let mut mounts: Vec<MountSettings> = Vec::new();
    for (index, raw) in list.iter().enumerate() {
        let key = format!("mount[{}]", index + 1);
        let mount = mount(reader, &key, raw);
        let within = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(other) = mounts
            .iter()
            .find(|m| within(&m.prefix, &mount.prefix) || within(&mount.prefix, &m.prefix))
        {
            reader.refuse(
                &format!("{key}.prefix"),
                format!(
                    "{} overlaps with the mount at {}",
                    mount.prefix, other.prefix
                ),
            );
        }
        mounts.push(mount);
    }
    mounts
}

fn mount(reader: &mut Reader<'_>, key: &str, raw: &Mount) -> MountSettings {
    if !names::is_prefix(&raw.prefix) {
        reader.refuse_with(
            &format!("{key}.prefix"),
            "is no path prefix",
            "write \"/auth\": a slash at the beginning, none at the end",
        );
    }
    let deliveries = [
        ("json", Delivery::Json),
        ("cookies", Delivery::Cookies),
        ("hybrid", Delivery::Hybrid),
    ];
    let mut allowed_origins = Vec::new();
    for (index, text) in raw.allowed_origins.iter().enumerate() {
        match names::origin(text) {
            Some(origin) => allowed_origins.push(origin),
            None => reader.refuse_with(
                &format!("{key}.allowed_origins[{}]", index + 1),
                "is no origin",
                "write scheme, host and port only, such as \"https://app.example.org\"",
            ),
        }
    }
    let delivery = reader
        .word(&format!("{key}.delivery"), &raw.delivery, &deliveries)
        .unwrap_or(Delivery::Json);
    if raw.verify_renews && delivery != Delivery::Cookies {
        reader.refuse_with(
            &format!("{key}.verify_renews"),
            "renews cookies, and tokens do not travel in cookies here",
            "set delivery = \"cookies\" as well",
        );
    }
    MountSettings {
        prefix: raw.prefix.clone(),
        delivery,
        allowed_origins,
        verify_renews: raw.verify_renews,
    }
}
