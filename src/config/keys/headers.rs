//! The keys of `[headers]`.

use crate::config::key::{Support, keys};
use crate::config::kind::{Flag, Text, flag, map, section, text};

keys! {
    HEADERS = section("headers");

    /// The headers that identify the user to the upstream: "native" (X-User-Id, X-User-Name,
    /// X-User-Email, X-User-Role, X-Tenant-Id, X-Session-Id, X-Auth-Method), the name of another
    /// preset, or "custom".
    PRESET: Text = text("headers.preset", "native");

    /// true: the upstream receives the Authorization header of the request.
    PASS_AUTHORIZATION: Flag = flag("headers.pass_authorization", false);

    /// Not in this version: a signed assertion about the user.
    ASSERTION: Flag = flag("headers.assertion", false)
        .support(Support::Refused("this version does not send a signed assertion"));
}

keys! {
    /// With preset = "custom": claim = "Header-Name", such as sub = "X-User-Id". Claims: sub,
    /// username, email, role, roles, tenantId, sid, amr.
    CUSTOM = map("headers.custom");
}
