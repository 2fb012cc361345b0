"""Who is calling? Verifies the header X-Sidegate-Assertion with PyJWT (`pip install pyjwt[crypto]`)."""

import json
import os
import sys

import jwt

# The origin of upstream.url, as `sidegate check` prints it, and the address where this program reaches Sidegate.
ORIGIN = os.environ.get("APP_ORIGIN", "http://127.0.0.1:3000")
KEYS = jwt.PyJWKClient(os.environ.get("SIDEGATE_KEYS", "http://127.0.0.1:8080/.well-known/jwks.json"))


def caller(assertion):
    """The claims about the caller, such as `sub` and `roles`. Raises jwt.PyJWTError for anything else."""
    token = jwt.decode_complete(
        assertion,
        KEYS.get_signing_key_from_jwt(assertion),
        algorithms=["EdDSA", "ES256", "RS256"],
        issuer="sidegate",
        audience=ORIGIN,
        leeway=5,
        options={"require": ["iss", "aud", "sub", "iat", "exp"]},
    )
    if token["header"].get("typ") != "sidegate-assertion+jwt":
        raise jwt.InvalidTokenError("this is another kind of token")
    return token["payload"]


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            print(json.dumps(caller(line.strip())), flush=True)
        except jwt.PyJWTError as error:
            print("refused:", error, flush=True)
