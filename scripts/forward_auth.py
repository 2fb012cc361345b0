"""Does Sidegate work behind real gateways, with the unchanged files of examples/forward-auth?

  forward_auth.py SIDEGATE NAME=PROGRAM..     NAME: nginx, caddy, envoy, traefik

Starts an application that reports the requests it receives, Sidegate, and one gateway after the other, on free
ports that replace those of the examples. Checks every guarantee of docs/forward-auth.md.
"""

import base64
import hashlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples" / "forward-auth"
PASSWORD = "correct horse battery"
IDENTITY = ("x-user-id", "x-user-name", "x-user-email", "x-user-role", "x-tenant-id", "x-session-id", "x-auth-method")
# Gateways that cannot remove single cookies; see docs/forward-auth.md.
COOKIES_STAY = ("traefik",)
problems = []
checks = 0


def expect(condition, what):
    global checks
    checks += 1
    if not condition:
        problems.append(what)
        print(f"   NOT SO: {what}")


def fold(name):
    return re.sub("[^a-z0-9]", "_", name.lower())


class Application(BaseHTTPRequestHandler):
    """Returns the received request as JSON."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        if (self.headers.get("Upgrade") or "").lower() == "websocket":
            return self.switch()
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        if (self.headers.get("Transfer-Encoding") or "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        told = {"method": self.command, "target": self.path, "headers": self.headers.items(), "body": len(body)}
        text = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        if "asset" in self.path:
            self.send_header("Cache-Control", "public, max-age=600")
            self.send_header("Surrogate-Control", "max-age=600")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def switch(self):
        """Returns the received request, then echoes every byte: no proxy on the path parses frames."""
        proof = hashlib.sha1(self.headers["Sec-WebSocket-Key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(proof).decode())
        self.end_headers()
        told = {"method": self.command, "target": self.path, "headers": self.headers.items()}
        self.connection.sendall(json.dumps(told).encode() + b"\n")
        self.close_connection = True
        while piece := self.connection.recv(65536):
            self.connection.sendall(piece)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer

    def log_message(self, *args):
        pass


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.status = int(lines[0].split()[1]) if len(lines[0].split()) > 1 else 0
        self.headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:] if ":" in line]

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self):
        body = self.body
        if self.all("transfer-encoding"):
            rest, body = body, b""
            while rest:
                size, _, rest = rest.partition(b"\r\n")
                size = int(size, 16)
                body, rest = body + rest[:size], rest[size + 2 :]
                if not size:
                    break
        try:
            return json.loads(body)
        except ValueError:
            return {}

    def seen(self):
        """The received headers that an application could read as an identity."""
        names = {fold(name): name for name in IDENTITY}
        seen = [(names[fold(key)], value) for key, value in self.json().get("headers", []) if fold(key) in names]
        return sorted(seen)

    def cookies(self):
        return {line.split("=", 1)[0]: line.split(";", 1)[0].split("=", 1)[1] for line in self.all("set-cookie")}


def ask(port, method, target, headers=(), body=b"", host="app.example.org"):
    """Sends exactly these bytes, including the names."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    raw = b""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        while piece := wire.recv(65536):
            raw += piece
    return Answer(raw)


def shake(port, target, headers, host="app.example.org"):
    """A WebSocket handshake: the answer, and whether bytes are echoed."""
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: keep-alive, Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"{name}: {value}" for name, value in headers)]
    raw = b""
    with socket.create_connection(("127.0.0.1", port), 10) as wire:
        wire.sendall("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n")
        while not (raw.startswith(b"HTTP/1.1 101") and raw.endswith(b"\n") and not raw.endswith(b"\r\n\r\n")):
            piece = wire.recv(65536)
            raw += piece
            # After a refusal the connection may stay open: its head is enough.
            if not piece or b"\r\n\r\n" in raw and not raw.startswith(b"HTTP/1.1 101"):
                return Answer(raw), False
        sent = os.urandom(300_000)
        writer = threading.Thread(target=wire.sendall, args=(sent,))
        writer.start()
        back = b""
        while len(back) < len(sent) and (piece := wire.recv(65536)):
            back += piece
        writer.join()
        return Answer(raw), back == sent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_port(port, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return True
        except OSError:
            time.sleep(0.05)
    return False


def placed(name, folder, ports):
    """A file of the examples with the ports of this run."""
    text = (EXAMPLES / name).read_text()
    for old, new in ports.items():
        text = re.sub(rf"((?:127\.0\.0\.1|//)?:|port_value: ){old}\b", rf"\g<1>{new}", text)
    path = folder / name
    path.write_text(text)
    return path


class Running:
    """A process that ends with its block. Its output is printed if a check failed."""

    def __init__(self, what, command, folder, port, env=None):
        self.what, self.log = what, folder / f"{what}.log"
        log = self.log.open("wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, **(env or {})})
        self.port = port

    def __enter__(self):
        if not wait_port(self.port, self.process):
            print(self.log.read_text(errors="replace")[-4000:])
            raise SystemExit(f"{self.what} does not start")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def command(name, program, folder, ports):
    if name == "nginx":
        path = placed("nginx.conf", folder, ports)
        return [program, "-p", str(folder), "-c", str(path), "-g", "daemon off;"]
    if name == "caddy":
        return [program, "run", "--adapter", "caddyfile", "--config", str(placed("Caddyfile", folder, ports))]
    if name == "traefik":
        # Traefik reads a traefik.yaml in its folder as the static part, and this is the dynamic one.
        (folder / "dynamic").mkdir()
        path = placed("traefik.yaml", folder / "dynamic", ports)
        door = f"--entryPoints.web.address=127.0.0.1:{ports[8000]}"
        return [program, door, f"--providers.file.filename={path}", "--global.checkNewVersion=false", "--global.sendAnonymousUsage=false"]
    path = placed("envoy.yaml", folder, ports)
    return [program, "-c", str(path), "--concurrency", "1", "--disable-hot-restart", "-l", "warn"]


def routed(gateway, port):
    """Waits for the routes: Traefik listens before it has read them."""
    deadline = time.monotonic() + 30
    while ask(port, "GET", "/auth/health").status == 404 and time.monotonic() < deadline:
        time.sleep(0.05)


def login(port, name):
    body = json.dumps({"identifier": name, "password": PASSWORD}).encode()
    answer = ask(port, "POST", "/auth/login", [("Content-Type", "application/json")], body)
    expect(answer.status == 200, f"{name} logs in through the gateway: {answer.line}")
    return answer


def look(gateway, port):
    login_of_ann = login(port, "ann")
    cookies = login_of_ann.cookies()
    access = cookies["sidegate_access"]
    ann = [("Cookie", f"theme=dark; sidegate_access={access}; sidegate_refresh={cookies['sidegate_refresh']}; lang=en")]
    bearer = [("Authorization", f"Bearer {access}")]
    root = [("Authorization", "Bearer " + login(port, "root").cookies()["sidegate_access"])]

    def status(expected, method, target, headers=(), **more):
        answer = ask(port, method, target, headers, **more)
        shown = [name for name, _ in headers]
        expect(answer.status == expected, f"{gateway}: {method} {target} with {shown}: {answer.line}, not {expected}")
        return answer

    # The caller's identity, and nothing else.
    for shown in (ann, bearer):
        answer = status(200, "GET", "/orders/7?x=1", shown)
        seen = dict(answer.seen())
        expect(seen.get("x-user-name") == "ann" and seen.get("x-user-role") == "user", f"{gateway}: identity {seen}")
        expect(len(answer.seen()) == len(seen) == 6, f"{gateway}: each header once, no mail: {answer.seen()}")
        expect(answer.json()["target"] == "/orders/7?x=1", f"{gateway}: the target arrives as it was")
        names = [name.lower() for name, _ in answer.json()["headers"]]
        expect("authorization" not in names, f"{gateway}: the token reaches the application")
        sent = [value for name, value in answer.json()["headers"] if name.lower() == "cookie"]
        stays = shown is ann and gateway in COOKIES_STAY
        expect(("sidegate" in "".join(sent)) == stays, f"{gateway}: our cookies reach the application: {sent}")
        if shown is ann:
            expect("theme=dark" in sent[0] and "lang=en" in sent[0], f"{gateway}: other cookies are lost: {sent}")

    # No token, a wrong role, a rule that denies.
    refused = status(401, "GET", "/orders")
    expect(refused.all("www-authenticate") != [], f"{gateway}: 401 without a challenge")
    status(401, "GET", "/orders", [("Authorization", "Bearer garbage")])
    status(401, "GET", "/orders", [("Cookie", "sidegate_access=")])
    status(403, "GET", "/admin/users", ann)
    status(403, "GET", "/ADMIN/users", ann)
    status(200, "GET", "/admin/users", root)
    status(403, "GET", "/orders", [*root, ("Cookie", f"sidegate_access={access}")])
    status(200, "GET", "/orders", [*bearer, ("Cookie", "sidegate_access=other.token.here")])

    # On a public path there is no identity, with any token or forged header.
    forged = [(form, "evil") for name in IDENTITY for form in spellings(name)]
    for shown in ([], ann):
        for some in chunks(forged, 40):
            answer = status(200, "GET", "/public/x", [*shown, *some])
            expect(answer.seen() == [], f"{gateway}: {answer.seen()} on a public path")
    for some in chunks(forged, 40):
        answer = status(200, "GET", "/orders", [*bearer, *some])
        expect("evil" not in str(answer.seen()), f"{gateway}: forged {answer.seen()}")
        expect(dict(answer.seen()).get("x-user-name") == "ann", f"{gateway}: {answer.seen()}")
    hop = [("Connection", "X-User-Id, X-User-Role, X-Original-URI, X-Forwarded-Uri"), *bearer]
    answer = ask(port, "GET", "/orders", hop)
    expect(answer.status in (400, 403) or len(answer.seen()) == 6, f"{gateway}: named in Connection: {answer.seen()}")

    # A client's description of another request is not trusted.
    for name, value in (
        ("X-Forwarded-Uri", "/public/x"), ("X-Forwarded-Method", "OPTIONS"), ("X-Forwarded-Host", "other.example.org"),
        ("X-Original-URI", "/public/x"), ("X-Original-URL", "http://app.example.org/public/x"),
        ("X-Original-Method", "OPTIONS"), ("X-Rewrite-URL", "/public/x"), ("X_Original_URI", "/public/x"),
    ):
        for shown, rule in (([], "/orders"), (ann, "/admin/users")):
            answer = ask(port, "GET", rule, [*shown, (name, value)])
            expect(answer.status in (401, 403), f"{gateway}: {name}: {value} opens {rule}: {answer.line}")

    # An ambiguous path is refused before the application can interpret it.
    for target in (
        "/public/..%2fadmin/users", "/public/%2e%2e%2fadmin/users", "/public/%2e%2e/admin/users", "/public/../admin/users",
        "/public//../admin/users", "/public/..%5cadmin", "/public/..;/admin/users", "/public/%252e%252e%252fadmin/..%2f",
        "/auth/..%2fadmin/users", "/auth/../admin/users", "/auth/%2e%2e/admin/users", "//auth/../admin/users",
    ):
        for shown in ([], ann):
            answer = ask(port, "GET", target, shown)
            expect(answer.status in (400, 401, 403, 404), f"{gateway}: {target}: {answer.line}")
            expect(answer.json().get("target") is None, f"{gateway}: {target} reached the application")
    status(404, "GET", "/auth/verify", ann)
    status(404, "GET", "/auth/verify/public/x")

    # Methods and bodies are passed on.
    answer = status(200, "POST", "/orders", ann, body=b"x" * 100_000)
    expect(answer.json().get("body") == 100_000, f"{gateway}: the body arrives: {answer.json().get('body')}")
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = status(200, method, "/orders/7", bearer)
        expect(answer.json().get("method") == method, f"{gateway}: {method} arrives as {answer.json().get('method')}")
    expect(status(200, "HEAD", "/orders", bearer).body == b"", f"{gateway}: HEAD has no body")
    status(401, "POST", "/orders", body=b"x" * 1_000)
    status(401, "DELETE", "/orders/7")

    # A log-out takes effect on the next request.
    for headers in (ann, bearer):
        status(200, "GET", "/orders", headers)
    out = ask(port, "POST", "/auth/logout", [*ann, ("Sec-Fetch-Site", "same-origin")])
    expect(out.status == 204, f"{gateway}: log-out: {out.line}")
    for headers in (ann, bearer):
        status(401, "GET", "/orders", headers)
        status(200, "GET", "/public/x", headers)


def sockets(gateway, port, own):
    """A WebSocket is carried, with the identity of its caller; by cookie only from a page of ours."""
    access = login(port, "ann").cookies()["sidegate_access"]
    cookie, bearer = ("Cookie", f"theme=dark; sidegate_access={access}"), ("Authorization", f"Bearer {access}")
    forged = [("X-User-Name", "evil"), ("X-User-Email", "evil@example.org")]
    for headers in ([cookie, ("Origin", own)], [bearer], [bearer, ("Origin", "https://other.example")]):
        answer, came_back = shake(port, "/socket?x=1", [*headers, *forged])
        case = f"{gateway}: a WebSocket by {[name for name, _ in headers]}"
        expect(answer.status == 101 and came_back, f"{case}: {answer.line}, bytes {came_back}")
        expect(answer.json().get("target") == "/socket?x=1", f"{case}: target {answer.json().get('target')}")
        seen = dict(answer.seen())
        expect(seen.get("x-user-name") == "ann" and "evil" not in str(seen), f"{case}: {seen}")
        sent = str([value for name, value in answer.json().get("headers", []) if name.lower() in ("cookie", "authorization")])
        stays = cookie in headers and gateway in COOKIES_STAY
        expect((access in sent) == stays, f"{case}: the token reaches the application")
    for headers, status in (
        ([cookie], 403), ([cookie, ("Origin", "https://other.example")], 403), ([cookie, ("Origin", "null")], 403),
        ([cookie, ("Origin", own + "0")], 403), ([("Origin", own)], 401), ([("Authorization", "Bearer no.token.this")], 401),
    ):
        answer, _ = shake(port, "/socket", headers)
        expect(answer.status == status, f"{gateway}: a WebSocket by {headers[-1]}: {answer.line}, not {status}")
    answer, came_back = shake(port, "/public/socket", [cookie, ("Origin", "https://other.example"), *forged])
    expect(answer.status == 101 and came_back and answer.seen() == [], f"{gateway}: a public WebSocket: {answer.line} {answer.seen()}")


def spellings(name):
    """Spellings that applications behind CGI, WSGI, PHP and others read as the same name."""
    words = name.split("-")
    yield name
    yield name.title()
    for one in "_.!#$%&'*+^`|~":
        yield one.join(words)
        yield words[0] + "-" + one.join(words[1:])
        yield one.join(words[:-1]) + "-" + words[-1]


def chunks(items, size):
    return (items[at : at + size] for at in range(0, len(items), size))



def renewed(gateway, port, renews):
    """A browser with an expired access cookie, behind a gateway that passes Set-Cookie on or does not."""
    cookies = login(port, "ann").cookies()
    held = [("Cookie", f"sidegate_refresh={cookies['sidegate_refresh']}")]
    answer = ask(port, "GET", "/orders", held)
    if not renews:
        expect(answer.status == 401, f"{gateway}: renewed where nobody carries the cookies: {answer.line}")
        expect(answer.cookies() == {}, f"{gateway}: {answer.cookies().keys()}")
        return
    fresh = answer.cookies()
    expect(answer.status == 200 and dict(answer.seen()).get("x-user-name") == "ann", f"{gateway}: renewal: {answer.line}")
    expect(set(fresh) == {"sidegate_access", "sidegate_refresh"}, f"{gateway}: the browser gets {fresh.keys()}")
    access = [("Cookie", f"sidegate_access={fresh['sidegate_access']}")]
    answer = ask(port, "GET", "/orders", access)
    expect(answer.status == 200, f"{gateway}: the new cookie: {answer.line}")
    if gateway == "envoy":
        # The application's own answer has the cookies: no cache may store it.
        held = [("Cookie", f"sidegate_refresh={fresh['sidegate_refresh']}")]
        answer = ask(port, "GET", "/asset", held)
        said = answer.all("cache-control"), answer.all("surrogate-control")
        expect(answer.cookies() and said == (["private, no-store"], []), f"{gateway}: with cookies: {said}")
        answer = ask(port, "GET", "/asset", access)
        said = answer.all("cache-control"), answer.all("surrogate-control")
        expect(said == (["public, max-age=600"], ["max-age=600"]), f"{gateway}: without: {said}")


def unasked(gateway, port):
    """Sidegate is stopped: no request passes, public or not."""
    for target in ("/orders", "/public/x"):
        answer = ask(port, "GET", target)
        expect(answer.status >= 500, f"{gateway}: {target} without Sidegate: {answer.line}")
        expect(answer.json().get("target") is None, f"{gateway}: {target} reached the application without Sidegate")
        answer, _ = shake(port, target, [])
        expect(answer.status >= 500, f"{gateway}: a WebSocket at {target} without Sidegate: {answer.line}")


def behind(gateway, program, sidegate, application, folder):
    # nginx started by root runs its workers as another user.
    folder.mkdir()
    folder.chmod(0o777)
    ports = {8080: free_port(), 8000: free_port(), 3000: application}
    renews = gateway in ("envoy", "traefik")
    own = placed("sidegate.toml", folder, ports)
    own.write_text(own.read_text().replace("verify_renews = false", f"verify_renews = {str(renews).lower()}"))
    env = {
        "SIDEGATE__ADMIN__LISTEN": "", "SIDEGATE__STORE__URL": "memory:", "SIDEGATE__TOKENS__KEYS_DIR": str(folder / "keys"),
        "SIDEGATE__SERVER__CONTROL": str(folder / "control.sock"), "SIDEGATE__LIMITS__LOGIN": "100000/s",
    }
    before, port = checks, ports[8000]
    with Running(gateway, command(gateway, program, folder, ports), folder, port, {"HOME": str(folder)}) as running:
        with Running("sidegate", [sidegate, "serve", "--config", str(own)], folder, ports[8080], env):
            for user, role in (("ann", "user"), ("root", "admin")):
                add = [sidegate, "users", "add", user, "--role", role, "--config", str(own)]
                subprocess.run(add, input=PASSWORD.encode(), check=True, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
            routed(gateway, port)
            look(gateway, port)
            sockets(gateway, port, f"http://127.0.0.1:{port}")
            renewed(gateway, port, renews)
        unasked(gateway, port)
        if problems:
            print(running.log.read_text(errors="replace")[-3000:])
    print(f"{gateway}: {checks - before} checks")


def main():
    sidegate, gateways = os.path.abspath(sys.argv[1]), dict(word.split("=", 1) for word in sys.argv[2:])
    application = ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=application.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        for gateway, program in gateways.items():
            behind(gateway, os.path.abspath(program), sidegate, application.server_port, folder / gateway)
    print(f"{checks} checks, {len(problems)} problems")
    return not checks or bool(problems)


if __name__ == "__main__":
    sys.exit(main())
