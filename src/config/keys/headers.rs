//! The keys of `[headers]`.

use crate::config::key::keys;
use crate::config::kind::{Flag, Text, flag, map, section, text};

keys! {
    HEADERS = section("headers");

    /// The headers that identify the user to the upstream: "native" (X-User-Id, X-User-Name,
    /// X-User-Email, X-User-Role, X-Tenant-Id, X-Session-Id, X-Auth-Method), the name of another
    /// preset, or "custom".
    PRESET: Text = text("headers.preset", "native");

    /// true: the upstream receives the Authorization header of the request.
    PASS_AUTHORIZATION: Flag = flag("headers.pass_authorization", false);

    /// true: the upstream also receives X-Sidegate-Assertion, a signed JWT of 60 seconds about the
    /// caller, which it verifies with /.well-known/jwks.json. Its audience is the origin of
    /// upstream.url. With preset = "pomerium" or "cloudflare" it is also written to
    /// X-Pomerium-Jwt-Assertion or Cf-Access-Jwt-Assertion. Not with tokens.algorithm = "HS256".
    ASSERTION: Flag = flag("headers.assertion", false);
}

keys! {
    /// With preset = "custom": claim = "Header-Name", such as sub = "X-User-Id". Claims: sub,
    /// username, email, role, roles, tenantId, sid, amr.
    CUSTOM = map("headers.custom");
}
