"""Does nginx work as the application? Behind `https://` with a client certificate, and on a Unix socket.

  nginx_behind.py SIDEGATE CURL H2LOAD NGINX

curl sends each request of a table in HTTP/1.1 and 2 and compares the answer with that of nginx directly. 64 MiB are sent in each
direction with equal hashes and constant memory. h2load sends so many requests that nginx closes each connection many times, and
no request fails. For the Unix socket, Sidegate itself also listens on one.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading

import gate as gates
import http1
import http2
import origin
from gate import expect

BIG = 64 << 20
ROOM = 16 << 20
CONFIG = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    types {{ text/css css; }}
    add_header X-Spoken $server_protocol always;
    add_header X-Shown $ssl_client_s_dn always;
    add_header X-Caller $http_x_user_name always;
    root {folder}/site;
    ssl_certificate {folder}/server.crt;
    ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/ca.crt;
    server {{ listen 127.0.0.1:{plain}; include {folder}/places; }}
    server {{ listen unix:{folder}/nginx.sock; include {folder}/places; }}
    server {{ listen 127.0.0.1:{tls1} ssl; ssl_verify_client on; include {folder}/places; }}
    server {{ listen 127.0.0.1:{tls2} ssl http2; ssl_verify_client on; include {folder}/places; }}
}}
"""
PLACES = """
location / {{ }}
location /kept/ {{ dav_methods PUT; }}
location = /hello {{ return 200 "hello"; }}
location = /count {{ proxy_pass http://127.0.0.1:{counting}; }}
location = /moved {{ return 301 /hello; }}
"""


class OnSocket(gates.Gate):
    """Sidegate on a Unix socket."""

    def __init__(self, program, folder, upstream, more=""):
        super().__init__(program, folder, upstream, None, more)
        self.socket = folder / "sidegate.sock"
        text = self.config.read_text().replace(f'server.listen = "127.0.0.1:{self.port}"', f'server.listen = "unix:{self.socket}"')
        self.config.write_text(text)

    @contextlib.contextmanager
    def serve(self):
        with gates.running("sidegate", [self.program, "serve", "--config", self.config], self.socket) as self.process:
            yield self

    def ask(self, method, path, body=None, headers=None):
        wire = http.client.HTTPConnection("localhost", timeout=30)
        wire.sock = socket.socket(socket.AF_UNIX)
        wire.sock.connect(str(self.socket))
        told = {"Content-Type": "application/json", "Host": self.authority, **(headers or {})}
        wire.request(method, path, None if body is None else json.dumps(body), told)
        answer = wire.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise OSError(f"{path}: {answer.status} {text}")
        return json.loads(text) if text else None


def table(body):
    yield "a file", ["/big"]
    yield "a small file", ["/a.css"]
    yield "HEAD", ["--head", "/big"]
    yield "the first bytes", ["--range", "0-99", "/big"]
    yield "bytes in between", ["--range", "1000-6555000", "/big"]
    yield "the last byte", ["--range", "-1", "/big"]
    yield "bytes that are not there", ["--range", f"{BIG}-", "/big"]
    yield "a file that did not change", ["--header", "If-Modified-Since: Fri, 31 Dec 2100 00:00:00 GMT", "/a.css"]
    yield "no file", ["/none"]
    yield "elsewhere", ["/moved"]
    yield "a short answer", ["/hello"]
    yield "a small form", ["--data-binary", "a=b", "/count"]
    yield "a form", ["--data-binary", f"@{body}", "/count"]
    yield "a method that is not had", ["--request", "DELETE", "/a.css"]


def compare(curl, direct, gate, version, person, body, spoken, shown):
    reach = ["--unix-socket", str(gate.socket)] if isinstance(gate, OnSocket) else []
    count = 0
    for name, (*words, target) in table(body):
        plain = http1.curl(curl, "--http1.1", *words, direct + target)
        through = http1.curl(curl, version, *reach, *words, "--header", person.bearer_line, gate.base + target)
        case = f"{name} by {version} at {gate.upstream}"
        through = http1.as_written(through, case)
        got = dict(through[2])
        told = got.get("x-spoken"), got.get("x-shown"), got.get("x-caller")
        expect(told == (spoken, shown, "ann"), f"{case}: nginx says {told}")
        one, other = (essence(answer, target) for answer in (plain, through))
        for which, (left, right) in enumerate(zip(one, other, strict=True)):
            expect(left == right, f"{case}, part {which}: {str(left)[:300]}, but {str(right)[:300]}")
        count += 1
    return count


def essence(answer, target):
    """The parts that must be equal: curl's exit code, the status, nginx's own headers, the body."""
    code, status, headers, body, _ = answer
    own = ("x-spoken", "x-shown", "x-caller", "transfer-encoding", *(("content-length",) if target == "/count" else ()))
    headers = [(name, value) for name, value in headers if name not in own]
    # A redirect names the requested host.
    headers = [(name, "/" + value.split("/", 3)[-1] if name == "location" else value) for name, value in headers]
    body = {**json.loads(body), "continued": None} if target == "/count" else hashlib.sha256(body).hexdigest()
    return code, status.split(" ")[0], headers, body


def run(curl, gate, version, person, *words, feed=None):
    reach = ["--unix-socket", str(gate.socket)] if isinstance(gate, OnSocket) else []
    command = [curl, "--silent", "--show-error", "--max-time", "120", "--write-out", "%{http_code}", version, *reach]
    done = subprocess.run([*command, "--header", person.bearer_line, *words], stdin=feed, capture_output=True, check=False)
    expect(done.returncode == 0, f"curl {words} ends with {done.returncode}: {done.stderr.decode()}")
    return done.stdout.decode()


def hash_of(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def big_bodies(curl, gate, version, person, folder):
    big, got = folder / "site" / "big", folder / "got"
    before = gate.forget_most_memory()
    run(curl, gate, version, person, "--output", str(got), gate.base + "/big")
    case = f"by {version} at {gate.upstream}"
    expect(got.stat().st_size == BIG and hash_of(got) == hash_of(big), f"64 MiB down {case}")
    for name, source in (("with-length", str(big)), ("without-length", "-")):
        kept = folder / "site" / "kept" / name
        kept.unlink(missing_ok=True)
        with big.open("rb") as feed:
            status = run(curl, gate, version, person, "--upload-file", source, f"{gate.base}/kept/{name}", feed=feed)
        expect(status == "201" and kept.exists() and hash_of(kept) == hash_of(big), f"64 MiB up, {name}, {case}: {status}")
    grown = gate.most_memory() - before
    expect(grown < ROOM, f"64 MiB each way let the memory grow by {grown >> 10} KiB {case}")
    return grown >> 10


def look(curl, h2load, direct, gate, folder, body, spoken, shown):
    gate.add("ann")
    person = gate.login()
    for version in ("--http1.1", "--http2-prior-knowledge"):
        count = compare(curl, direct, gate, version, person, body, spoken, shown)
        grown = big_bodies(curl, gate, version, person, folder)
        print(f"{gate.upstream}: {count} exchanges by {version}, 3 times 64 MiB; the memory in use grew by {grown} KiB")
    if not isinstance(gate, OnSocket):
        for words in (["--h1", "--clients", "20"], ["--clients", "10", "--max-concurrent-streams", "10"]):
            http2.load(h2load, gate, words, person, 10_000, "/hello")


def refused(curl, program, folder, url, tls):
    """nginx refuses a client without a certificate; Sidegate refuses an untrusted nginx."""
    other = gates.authority(folder, "other")
    for name, more, wanted in (
        ("no certificate of ours", f'[upstream.tls]\nca = "{tls.ca}"\n', "400"),
        ("another authority", tls.more(ca=other.ca), "502"),
        ("another name", tls.more() + 'server_name = "other.example"\n', "502"),
    ):
        gate = gates.Gate(program, folder / wanted / name.replace(" ", "-"), url, None, more)
        with gate.serve():
            gate.add("ann")
            status = run(curl, gate, "--http1.1", gate.login(), "--output", "/dev/null", gate.base + "/hello")
            expect(status == wanted, f"{name}: {status}, not {wanted}")


def main():
    program, curl, h2load, nginx = sys.argv[1:5]
    application = origin.serve()
    threading.Thread(target=application.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        plain, tls1, tls2 = gates.free_port(), gates.free_port(), gates.free_port()
        tls = gates.authority(folder)
        site = folder / "site"
        (site / "kept").mkdir(parents=True)
        (site / "big").write_bytes(os.urandom(BIG))
        (site / "a.css").write_text("a { color: red }\n" * 100)
        body = folder / "data"
        body.write_bytes(origin.made("body") * 3)
        user = "user root;" if os.getuid() == 0 else ""
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, plain=plain, tls1=tls1, tls2=tls2, user=user))
        (folder / "places").write_text(PLACES.format(counting=application.server_port))
        direct = f"http://127.0.0.1:{plain}"
        words = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        with gates.running("nginx", words, plain):
            for kind, port, spoken in (("tls1", tls1, "HTTP/1.1"), ("tls2", tls2, "HTTP/2.0")):
                gate = gates.Gate(program, folder / kind, f"https://localhost:{port}", None, tls.more())
                with gate.serve():
                    look(curl, h2load, direct, gate, folder, body, spoken, "CN=client")
            gate = OnSocket(program, folder / "unix", f"unix:{folder}/nginx.sock")
            with gate.serve():
                look(curl, h2load, direct, gate, folder, body, "HTTP/1.1", None)
            refused(curl, program, folder, f"https://localhost:{tls2}", tls)
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
