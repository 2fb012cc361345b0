"""Do libraries of other languages accept our assertions, by the published keys, and nothing else?

  assertions.py SIDEGATE LANGUAGE=COMMAND..

Each COMMAND is a program like those of examples/assertion: it reads one assertion per line and writes its claims or a
refusal.
The application is a few lines of Python that keep the headers they receive.
"""

import base64
import http.server
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import threading
import time

import jwt
import gate as gates
from gate import expect

NAME = "X-Sidegate-Assertion"
TYPE = "sidegate-assertion+jwt"
# The library in Debian has no Ed25519.
UNABLE = {("ruby", "EdDSA")}


class Application(http.server.BaseHTTPRequestHandler):
    """Answers with the headers that it received, in JSON."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        text = json.dumps([[name, value] for name, value in self.headers.items()]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def assertion_of(gate, person, **more):
    headers = gate.ask("GET", "/orders/7", headers={**person.bearer, **more})
    values = [value for name, value in headers if name.lower() == NAME.lower()]
    expect(len(values) == 1, f"one assertion: {len(values)}")
    return values[0]


def verdicts(command, gate, origin, tokens):
    """What a fresh process of the program says about each token: its claims, or None."""
    env = {**os.environ, "APP_ORIGIN": origin, "SIDEGATE_KEYS": f"{gate.base}/.well-known/jwks.json"}
    asked = "".join(f"{token}\n" for token in tokens)
    done = subprocess.run(shlex.split(command), input=asked, text=True, capture_output=True, env=env, timeout=60)
    lines = done.stdout.splitlines()
    if not expect(len(lines) == len(tokens), f"{command}: an answer for each: {done.stdout} {done.stderr}"):
        return [None] * len(tokens)
    return [None if line.startswith("refused") else json.loads(line) for line in lines]


def changed(token, part):
    """The token with one bit of this part changed."""
    parts = token.split(".")
    text = parts[part]
    octets = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    octets[len(octets) // 2] ^= 1
    parts[part] = base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
    return ".".join(parts)


def forged(gate, token, header=(), claims=()):
    """The token with other members, signed with Sidegate's own key, as only Sidegate could."""
    head = {**jwt.get_unverified_header(token), **dict(header)}
    body = {**jwt.decode(token, options={"verify_signature": False}), **dict(claims)}
    key = (gate.config.parent / "keys" / f"{head['kid']}.pem").read_text()
    body = {name: value for name, value in body.items() if value is not None}
    return jwt.encode(body, key, algorithm=head["alg"], headers=head)


def check(gate, algorithm, origin, programs):
    person = gate.login()
    me = gate.ask("GET", "/auth/me", headers=person.bearer)
    good = assertion_of(gate, person)
    expect(good == assertion_of(gate, person, **{NAME: "forged"}), "the same one again, and never the client's")
    head = jwt.get_unverified_header(good)
    expect(head["alg"] == algorithm and head["typ"] == TYPE, f"the header {head}")
    now = int(time.time())
    accepted = {"the assertion": good, "signed by the check": forged(gate, good)}
    refused = {
        "an access token": person.access,
        "an access token for this audience": forged(gate, person.access, claims={"aud": origin}),
        "a changed claim": changed(good, 1),
        "a changed signature": changed(good, 2),
        "an expired one": forged(gate, good, claims={"iat": now - 120, "exp": now - 60}),
        "one of another type": forged(gate, good, header={"typ": "JWT"}),
        "one of another issuer": forged(gate, good, claims={"iss": "other"}),
        "one for another audience": forged(gate, good, claims={"aud": "http://127.0.0.1:1"}),
        "one without an audience": forged(gate, good, claims={"aud": None}),
        "one without an expiry": forged(gate, good, claims={"exp": None}),
        "without a signature": good.rsplit(".", 1)[0] + ".",
        "no token": "x",
    }
    for language, command in programs:
        said = verdicts(command, gate, origin, [*accepted.values(), *refused.values()])
        for what, claims in zip(accepted, said):
            expect(claims is not None, f"{language}, {algorithm}: accepts {what}")
        for what, claims in zip(refused, said[len(accepted):]):
            expect(claims is None, f"{language}, {algorithm}: refuses {what}")
        claims = said[0] or {}
        wanted = {"iss": "sidegate", "aud": origin, "sub": me["user"]["id"], "sid": me["session"]["id"], "roles": ["user"],
                  "amr": ["pwd"], "acr": "aal1", "tenantId": "default"}
        for name, value in wanted.items():
            expect(claims.get(name) == value, f"{language}, {algorithm}: {name} is {claims.get(name)}, not {value}")
        expect(claims.get("exp", 1e9) - claims.get("iat", 0) <= 60, f"{language}: at most a minute")
        elsewhere = verdicts(command, gate, "http://127.0.0.1:1", [good])
        expect(elsewhere == [None], f"{language}, {algorithm}: another application refuses it")
    subprocess.run([gate.program, "keys", "rotate", "--config", gate.config], check=True, stdout=subprocess.DEVNULL, timeout=30)
    renewed = assertion_of(gate, person)
    expect(jwt.get_unverified_header(renewed)["kid"] != head["kid"], "the new key signs")
    for language, command in programs:
        both = verdicts(command, gate, origin, [good, renewed])
        expect(all(both), f"{language}, {algorithm}: the assertions of both keys after a rotation")


def documented():
    """The page shows the functions of the examples, word for word."""
    root = pathlib.Path(__file__).parents[2]
    page = (root / "docs/headers.md").read_text()
    for name, begin, end in (("verify.py", "def caller", "\n\n\n"), ("verify.mjs", "export async", "\n\n")):
        text = (root / "examples/assertion" / name).read_text()
        text = text[text.index(begin):]
        expect(text[:text.index(end)] in page, f"docs/headers.md shows {name}")


def main():
    program, *programs = sys.argv[1:]
    programs = [word.split("=", 1) for word in programs]
    documented()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    origin = f"http://127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory() as name:
        for algorithm in ("EdDSA", "ES256", "RS256"):
            # One worker: each has its own assertion about a caller.
            more = f'server.threads = 1\nheaders.assertion = true\ntokens.algorithm = "{algorithm}"\n'
            gate = gates.Gate(program, pathlib.Path(name) / algorithm, origin, more=more)
            able = [(language, command) for language, command in programs if (language, algorithm) not in UNABLE]
            with gate.serve():
                gate.add("ann")
                check(gate, algorithm, origin, able)
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
