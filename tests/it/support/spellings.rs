//! Which header names can only Sidegate set, and in which spellings can a client send them?

/// Managed names of all presets, and names that applications use for the same purpose.
pub(crate) const MANAGED: &[&str] = &[
    "x-user-id",
    "x-user-name",
    "x-user-email",
    "x-user-role",
    "x-tenant-id",
    "x-session-id",
    "x-auth-method",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-auth-request-access-token",
    "remote-user",
    "remote-groups",
    "x-authentik-username",
    "x-authentik-groups",
    "x-authentik-jwt",
    "x-pomerium-jwt-assertion",
    "x-pomerium-claim-email",
    "cf-access-authenticated-user-email",
    "cf-access-jwt-assertion",
    "x-webauth-user",
    "x-webauth-role",
    "sm_user",
    "sm_role",
    "x-remote-user",
    "x-user",
    "x-role",
    "x-sidegate-assertion",
    "x-sidegate-anything",
    "x-forwarded",
    "x-forwarded-anything",
    "x-forwarded-uri",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-real-ip",
    "forwarded",
    "proxy",
];

/// A name in all spellings that a lenient application may accept.
pub(crate) fn spellings(name: &str) -> Vec<String> {
    let with = |by: &str| name.replace(['-', '_'], by);
    let mut capital = true;
    let title = name.chars().map(|c| {
        let shown = if capital { c.to_ascii_uppercase() } else { c };
        capital = !c.is_ascii_alphanumeric();
        shown
    });
    let mut all = vec![name.to_owned(), name.to_uppercase(), title.collect()];
    all.extend(["_", ".", "-", "!", "~", "+", "'", "|", "^", "`", "$"].map(with));
    all.push(name.replacen('-', "_", 1));
    all.push(name.replace('-', "_").to_uppercase());
    all
}
