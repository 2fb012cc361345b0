//! `[[mount]]`, with what else the API is told.

use crate::api::settings::{Addresses, Cookies, Delivery, Mount as MountSettings, Settings};
use crate::config::build::desk::Desk;
use crate::config::build::names;
use crate::config::raw::{Mount, Raw};

/// The API's settings.
pub(super) fn build(
    desk: &mut Desk<'_>,
    raw: &Raw,
    cookies: Cookies,
    public_origin: Option<String>,
) -> Settings {
    let addresses = [("masked", Addresses::Masked), ("full", Addresses::Full)];
    let max_body = desk.size("limits.body", &raw.limits.body, (1 << 10)..=(16 << 20));
    Settings {
        mounts: mounts(desk, &raw.mount),
        cookies,
        max_body: usize::try_from(max_body).unwrap_or(usize::MAX),
        addresses: desk
            .word("sessions.ip", &raw.sessions.ip, &addresses)
            .unwrap_or(Addresses::Masked),
        public_origin,
    }
}

fn mounts(desk: &mut Desk<'_>, list: &[Mount]) -> Vec<MountSettings> {
    if list.is_empty() {
        return vec![mount(desk, "mount[1]", &Mount::default())];
    }
    let mut mounts: Vec<MountSettings> = Vec::new();
    for (index, raw) in list.iter().enumerate() {
        let key = format!("mount[{}]", index + 1);
        let mount = mount(desk, &key, raw);
        let within = |a: &str, b: &str| {
            a.strip_prefix(b)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(other) = mounts
            .iter()
            .find(|m| within(&m.prefix, &mount.prefix) || within(&mount.prefix, &m.prefix))
        {
            desk.refuse(
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

fn mount(desk: &mut Desk<'_>, key: &str, raw: &Mount) -> MountSettings {
    if !names::is_prefix(&raw.prefix) {
        desk.refuse_with(
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
            None => desk.refuse_with(
                &format!("{key}.allowed_origins[{}]", index + 1),
                "is no origin",
                "write scheme, host and port only, such as \"https://app.example.org\"",
            ),
        }
    }
    let delivery = desk
        .word(&format!("{key}.delivery"), &raw.delivery, &deliveries)
        .unwrap_or(Delivery::Json);
    if raw.verify_renews && delivery != Delivery::Cookies {
        desk.refuse_with(
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
