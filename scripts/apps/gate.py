"""A running Sidegate, its users, and the list of failures: shared by the checks in this folder. Uses only the standard
library, so that it runs in every environment.
"""

import contextlib
import json
import os
import pathlib
import re
import select
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.request

PASSWORD = "correct horse battery"
# All connections are local; a proxy of the environment must not be used.
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

problems = []
checks = 0
_lock = threading.Lock()


def expect(condition, what):
    global checks
    with _lock:
        checks += 1
        if not condition:
            problems.append(what)
            print(f"   NOT SO: {what}", flush=True)
    return bool(condition)


def verdict():
    """The exit code."""
    print(f"{checks} checks, {len(problems)} problems")
    return not checks or bool(problems)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(condition, what, limit=20.0):
    """Waits for an expected event. Reports it if it does not occur."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return expect(False, f"not within {limit} s: {what}")


def listens(place):
    """Whether a server listens at a port or a Unix socket."""
    is_port = isinstance(place, int)
    with socket.socket(socket.AF_INET if is_port else socket.AF_UNIX) as probe:
        return probe.connect_ex(("127.0.0.1", place) if is_port else str(place)) == 0


@contextlib.contextmanager
def running(what, command, port, env=None):
    """A process that ends with its block. Its output is printed if a check failed."""
    before = len(problems)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})

        def said():
            log.seek(0)
            lines = log.read().decode(errors="replace").splitlines()
            # Successful requests do not help to explain a failure.
            lines = [line for line in lines if not re.search(r" (101|20[0-9]|304) \d+ \S+ms ", line) or "cut" in line]
            return "\n".join(lines)[-3000:]

        try:
            if not until(lambda: process.poll() is not None or listens(port), f"{what} listens", 60) or process.poll() is not None:
                raise SystemExit(f"{what} does not start: {said()}")
            yield process
            expect(process.poll() is None, f"{what} is gone")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if len(problems) > before:
                print(f"   {what} said: {said()}")


def certificate(folder):
    """A new certificate for localhost, and its key."""
    cert, key = folder / "tls.crt", folder / "tls.key"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", names, "-keyout", key, "-out", cert]
    subprocess.run(words, check=True, capture_output=True)
    return cert, key


class Authority:
    """Certificate files: of the authority, of the server `localhost`, of the client `client`."""

    def __init__(self, folder, name):
        self.folder, self.ca = folder, folder / f"{name}.crt"
        self.server, self.client = ((folder / f"{who}.crt", folder / f"{who}.key") for who in ("server", "client"))

    def more(self, ca=None):
        """The part of a configuration that sends the client certificate."""
        return f'[upstream.tls]\nca = "{ca or self.ca}"\ncert = "{self.client[0]}"\nkey = "{self.client[1]}"\n'


def authority(folder, name="ca"):
    """Makes an authority. The one named `ca` also gets a server and a client certificate."""
    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    made = Authority(folder, name)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    authority_key = folder / f"{name}.key"
    openssl("req", "-x509", *key, "-days", "2", "-subj", f"/CN={name}", "-keyout", authority_key, "-out", made.ca)
    for who, (cert, own_key) in (("server", made.server), ("client", made.client)) if name == "ca" else ():
        asked, more = folder / f"{who}.csr", folder / f"{who}.ext"
        more.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n" if who == "server" else f"subjectAltName=DNS:{who}\n")
        openssl("req", "-new", *key, "-subj", f"/CN={who}", "-keyout", own_key, "-out", asked)
        openssl("x509", "-req", "-in", asked, "-CA", made.ca, "-CAkey", authority_key, "-CAcreateserial", "-days", "2", "-extfile", more, "-out", cert)
    return made


LATER = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def pump(plain, secure):
    """Copies bytes between a plain socket and a TLS socket, in one thread."""
    plain.setblocking(False)
    secure.setblocking(False)
    up, down = bytearray(), bytearray()
    with plain, secure:
        while True:
            if not secure.pending():
                writers = [end for end, waiting in ((secure, up), (plain, down)) if waiting]
                select.select([plain, secure], writers, [], 60)
            for source, waiting, sink in ((plain, up, secure), (secure, down, plain)):
                try:
                    if not (piece := source.recv(1 << 16)):
                        if source is secure and down:
                            plain.setblocking(True)
                            plain.sendall(down)
                        return
                    waiting += piece
                except LATER:
                    pass
                except OSError:
                    return
                try:
                    if waiting:
                        del waiting[: sink.send(bytes(waiting[: 1 << 18]))]
                except LATER:
                    pass
                except OSError:
                    return


class Gate:
    """Sidegate in front of one upstream, plain or with TLS."""

    def __init__(self, program, folder, upstream, tls=None, more=""):
        self.program, self.port, self.upstream = os.path.abspath(program), free_port(), upstream
        folder.mkdir(parents=True)
        self.config = folder / "sidegate.toml"
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        self.base, self.authority = f"{scheme}://{host}:{self.port}", f"{host}:{self.port}"
        self.context = ssl.create_default_context(cafile=tls[0]) if tls else None
        lines = [
            f'server.listen = "127.0.0.1:{self.port}"', f'server.control = "{folder}/control.sock"', 'admin.listen = ""',
            f'server.public_url = "{self.base}"', f'upstream.url = "{upstream}"', 'store.url = "memory:"',
            f'tokens.keys_dir = "{folder}/keys"', 'limits.login = "100000/s"', 'log.format = "text"',
        ]
        if tls:
            lines += [f'server.tls.cert = "{tls[0]}"', f'server.tls.key = "{tls[1]}"']
        self.config.write_text("\n".join(lines) + "\n" + more)

    @contextlib.contextmanager
    def serve(self):
        with running("sidegate", [self.program, "serve", "--config", self.config], self.port) as self.process:
            yield self

    def add(self, name, role="user"):
        words = [self.program, "users", "add", name, "--role", role, "--config", self.config]
        subprocess.run(words, input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL, timeout=30)

    def wire(self):
        """A connection. TLS is handled in another thread: the clients here read and write in two threads, which
        Python's TLS sockets before 3.13 do not support (the stream seems to end by itself)."""
        wire = socket.create_connection(("127.0.0.1", self.port), 20)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.context is None:
            return wire
        near, far = socket.socketpair()
        secure = self.context.wrap_socket(wire, server_hostname="localhost")
        threading.Thread(target=pump, args=(far, secure), daemon=True).start()
        return near

    def ask(self, method, path, body=None, headers=None):
        """Sends and receives JSON. An answer that is not a success raises an exception."""
        data = None if body is None else json.dumps(body).encode()
        told = {"Content-Type": "application/json", **(headers or {})}
        asked = urllib.request.Request(self.base + path, data, told, method=method)
        with urllib.request.urlopen(asked, timeout=30, context=self.context) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def login(self, name="ann"):
        return Person(self, self.ask("POST", "/auth/login", {"identifier": name, "password": PASSWORD}))

    def forget_most_memory(self):
        """Resets `most_memory` to the memory in use, and returns that. The hash of a log-in used more."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return self.most_memory()

    def most_memory(self):
        """The highest memory use since then, in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) << 10



class Person:
    """One log-in."""

    def __init__(self, gate, tokens):
        self.gate = gate
        self.access, self.refresh_token = tokens["accessToken"], tokens["refreshToken"]

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.access}"}

    @property
    def bearer_line(self):
        return f"Authorization: Bearer {self.access}"

    @property
    def cookie(self):
        name = "__Host-sidegate_access" if self.gate.context else "sidegate_access"
        return {"Cookie": f"theme=dark; {name}={self.access}"}

    def refresh(self):
        tokens = self.gate.ask("POST", "/auth/refresh", {"refreshToken": self.refresh_token})
        self.access, self.refresh_token = tokens["accessToken"], tokens["refreshToken"]

    def logout(self):
        """The time of the request."""
        began = time.monotonic()
        self.gate.ask("POST", "/auth/logout", headers=self.bearer)
        return began

    def open_streams(self):
        sessions = self.gate.ask("GET", "/auth/sessions", headers=self.bearer)["sessions"]
        return next(session["openStreams"] for session in sessions if session["isCurrent"])
