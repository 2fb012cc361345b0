"""Shared by the `bench-*` scripts: the programs, and a running Sidegate with its configuration. Uses only the
standard library.
"""
import contextlib
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PASSWORD = "correct horse battery"


def build(profile):
    """The binary and the bench program. Built separately on purpose: in one build, cargo would give the
    binary features that only the tests need."""
    cargo = ["cargo", "build", "--locked", "--quiet", "--profile", profile]
    subprocess.run([*cargo, "--bin", "sidegate"], cwd=ROOT, check=True)
    binary = TARGET / profile / "sidegate"
    return binary, bench_program()


def bench_program():
    """The bench program. Its own speed is not measured, so it is never built with the slow profile."""
    cargo = ["cargo", "build", "--locked", "--quiet", "--release", "--bench", "guard", "--message-format=json"]
    lines = subprocess.run(cargo, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for message in map(json.loads, lines):
        if message.get("executable") and message["target"]["name"] == "guard":
            return pathlib.Path(message["executable"])
    raise SystemExit("cargo did not say where the bench program is")


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [s.getsockname()[1] for s in sockets]


def served(stack, command, **more):
    """Starts a server role of the bench program. Returns the process and its address."""
    child = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)
    stack.callback(end, child)
    address = child.stdout.readline().strip()
    if not address:
        raise SystemExit(f"{command} did not start")
    return child, address


def end(child):
    """Stops a process and waits for its end."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(60)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


class Sidegate:
    """A running Sidegate with one account and one worker; `wrapper` is a prefix of its command."""

    def __init__(self, stack, binary, upstream, wrapper=(), store="memory:", algorithm="EdDSA", access=True):
        self.folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidegate-bench-")))
        port, admin = free_ports(2)
        self.address, self.admin = f"127.0.0.1:{port}", f"127.0.0.1:{admin}"
        secret = f'secret = "{secrets.token_hex(32)}"' if algorithm == "HS256" else ""
        url = f"sled:{self.folder}/data" if store == "sled" else store
        config = self.folder / "sidegate.toml"
        config.write_text(f"""
[server]
listen = "{self.address}"
threads = 1
[admin]
listen = "{self.admin}"
[upstream]
url = "http://{upstream}"
[store]
url = "{url}"
[tokens]
algorithm = "{algorithm}"
keys_dir = "{self.folder}/keys"
access_ttl = "1h"
{secret}
[signup]
mode = "open"
[limits]
login = "1000000/s"
[log]
level = "warn"
access = {str(access).lower()}
access_file = "{self.folder}/access.log"
[[rule]]
path = "/public/**"
access = "public"
""")
        self.command = [*map(str, wrapper), str(binary), "serve", "--config", str(config)]
        self.process = None
        stack.callback(self.end)
        self.start()

    def start(self):
        self.began = time.monotonic()
        self.process = subprocess.Popen(self.command, cwd=self.folder, stdout=subprocess.DEVNULL)
        self.wait()

    def restart(self):
        """Stops it and starts it again with the same folder."""
        self.end()
        self.start()

    def end(self):
        if self.process:
            end(self.process)

    def wait(self):
        """Waits until a request on a public route is answered with 200, and measures the time."""
        deadline = time.monotonic() + 60
        host, port = self.address.split(":")
        head = f"GET /public/ HTTP/1.1\r\nhost: {self.address}\r\nconnection: close\r\n\r\n".encode()
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 5) as s:
                s.settimeout(30)
                s.sendall(head)
                if b" 200 " in s.recv(64):
                    self.first_answer = time.monotonic() - self.began
                    return
            time.sleep(0.0005)
        raise SystemExit("sidegate did not start")

    def token(self):
        """The access token of a new account."""
        account = {"username": "ann", "password": PASSWORD}
        self.post("/auth/signup", account)
        login = {"identifier": "ann", "password": PASSWORD}
        return self.post("/auth/login", login)["accessToken"]

    def post(self, path, fields):
        body = json.dumps(fields).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", body, {"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{path}: {error.code} {error.read().decode()}") from error


def load(program, to, path, token=None, wrapper=(), **amounts):
    """Runs the load generator to its end. Returns its output."""
    command = [*map(str, wrapper), str(program), "load", "--to", to, "--path", path]
    command += ["--token", token] if token else []
    for name, value in amounts.items():
        command += [f"--{name}", str(value)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def cpu(pid):
    """CPU time of all threads of a process, in nanoseconds."""
    total = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((thread / "schedstat").read_text().split()[0])
    return total


def resident(pid):
    """Bytes of memory in use."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) << 10
