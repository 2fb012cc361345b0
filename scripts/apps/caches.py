"""Do shared caches in front store only what they may? Apache's mod_cache and nginx's proxy_cache, configured to store
as much as they can.

  caches.py SIDEGATE APACHE NGINX

An application marks its answers as cacheable in every way. Browsers with an expired access cookie, callers with tokens and
anonymous callers request the same addresses through the cache. No caller receives another person's cookie or page, also
after conditional requests and ranges. Public routes and a rule with `cache = "app"` show that the caches do store.
"""

import contextlib
import http.client
import http.server
import itertools
import json
import os
import pathlib
import sys
import tempfile
import threading

import gate as gates
from gate import expect

FAR = "Thu, 01 Jan 2099 00:00:00 GMT"
LONG_AGO = "Sat, 29 Oct 1994 19:43:31 GMT"
# Name: status, headers.
CASES = {
    "plain": (200, []),
    "immutable": (200, [("Cache-Control", "public, max-age=31536000, immutable")]),
    "max-age": (200, [("Cache-Control", "max-age=600")]),
    "shared": (200, [("Cache-Control", "s-maxage=600")]),
    "lines": (200, [("Cache-Control", "public"), ("Cache-Control", "max-age=600")]),
    "expires": (200, [("Expires", FAR)]),
    "last-modified": (200, [("Last-Modified", LONG_AGO)]),
    "accel": (200, [("X-Accel-Expires", "600")]),
    "accel-private": (200, [("X-Accel-Expires", "600"), ("Cache-Control", "private")]),
    "cdn": (200, [("CDN-Cache-Control", "max-age=600"), ("Surrogate-Control", "max-age=600"), ("Cache-Control", "max-age=600")]),
    "fields": (200, [("Cache-Control", 'private="x-a", max-age=600')]),
    "revalidate": (200, [("Cache-Control", "max-age=600, must-revalidate")]),
    "moved": (301, [("Location", "/elsewhere"), ("Cache-Control", "public, max-age=600")]),
    "moved-plain": (301, [("Location", "/elsewhere")]),
    "gone": (404, [("Cache-Control", "public, max-age=600")]),
    "gone-plain": (404, []),
    "tagged": (200, [("ETag", '"t"'), ("Cache-Control", "public, max-age=600")]),
    # Stale as soon as it is stored, so that each request is conditional.
    "old": (200, [("ETag", '"t"'), ("Cache-Control", "public, max-age=0")]),
}
NGINX = """
{user}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/temp; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=all:1m;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_set_header Host $http_host;
            proxy_cache all;
            proxy_cache_key $request_uri;
            proxy_cache_valid any 10m;
            proxy_cache_revalidate on;
            # By default nginx stores no answer with one; this check must not depend on that.
            proxy_ignore_headers Set-Cookie;
        }}
    }}
}}
"""
APACHE = """
ServerRoot {folder}
{user}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/apache.pid
ErrorLog /dev/stderr
LogLevel crit
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule cache_module {modules}/mod_cache.so
LoadModule cache_disk_module {modules}/mod_cache_disk.so
DefaultRuntimeDir {folder}
Mutex default:{folder}
ProxyPreserveHost On
ProxyPass / http://127.0.0.1:{behind}/
CacheRoot {folder}/cache
CacheEnable disk /
CacheIgnoreNoLastMod On
CacheDefaultExpire 600
"""
SIDEGATE = """
limits.refresh = "100000/s"
[[mount]]
prefix = "/auth"
delivery = "cookies"
[[rule]]
path = "/public/**"
access = "public"
[[rule]]
path = "/optional/**"
access = "optional"
[[rule]]
path = "/app/**"
access = "user"
cache = "app"
"""


class Application(http.server.BaseHTTPRequestHandler):
    """Returns the caller and a request count: an answer from a cache has an old count."""

    protocol_version = "HTTP/1.1"
    numbers = itertools.count()

    def do_GET(self):
        case = self.path.split("?")[0].split("/")[2]
        status, headers = CASES[case]
        who = self.headers.get("X-User-Name", "nobody")
        body = json.dumps({"who": who, "number": next(self.numbers)}).encode()
        if any(name == "ETag" for name, _ in headers) and self.headers.get("If-None-Match") == '"t"':
            status, body = 304, b""
        elif self.headers.get("Range") and status == 200:
            status = 206
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def application():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


class Answer:
    def __init__(self, answer):
        self.status, self.headers = answer.status, answer.getheaders()
        self.body = answer.read()
        self.cookies = answer.headers.get_all("Set-Cookie") or []
        try:
            told = json.loads(self.body)
        except ValueError:
            told = {}
        self.who, self.number = told.get("who"), told.get("number")


def ask(port, path, headers, method="GET", body=None):
    wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(wire):
        wire.request(method, path, body, headers)
        return Answer(wire.getresponse())


class Browser:
    """A browser that keeps cookies."""

    def __init__(self, gate, name):
        self.name, self.kept = name, {}
        body = json.dumps({"identifier": name, "password": gates.PASSWORD})
        told = ask(gate.port, "/auth/login", {"Content-Type": "application/json"}, "POST", body)
        expect(told.status == 200, f"{name} logs in: {told.body}")
        self.keep(told)

    def keep(self, answer):
        for line in answer.cookies:
            name, value = line.split(";")[0].split("=", 1)
            self.kept[name] = value

    def get(self, port, path, late, more=()):
        """`late`: the access cookie has expired."""
        sent = {name: value for name, value in self.kept.items() if not (late and name.endswith("_access"))}
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in sent.items()), **dict(more)}
        answer = ask(port, path, headers)
        self.keep(answer)
        return answer


ASKED = {"plainly": (), "for a range": (("Range", "bytes=0-"),), "if it changed": (("If-None-Match", '"t"'),)}


def strangers_get_nothing(cache, port, ann, bob):
    for (case, (status, _)), prefix, (how, more), late in itertools.product(CASES.items(), ("user", "optional"), ASKED.items(), (True, False)):
        path = f"/{prefix}/{case}/{how.replace(' ', '-')}/{late}"
        words = f"{cache}: {path}"
        before = ann.kept.copy()
        hers = ann.get(port, path, late, more)
        expect(hers.status in (status, 206, 304), f"{words}: ann gets {hers.status} {hers.body}")
        expect(hers.who in ("ann", None) and (hers.status in (304, 301, 404) or hers.who == "ann"), f"{words}: ann gets {hers.body}")
        expect(bool(hers.cookies) == late, f"{words}: ann's cookies: {hers.cookies}")
        expect(not late or ann.kept != before, f"{words}: ann keeps her old cookies")
        again = ann.get(port, path, True, more)
        secrets = [value for browser in (before, ann.kept) for name, value in browser.items() if not name.endswith("_device")]
        for asked in (more, ()):
            other = ask(port, path, dict(asked))
            expect(not other.cookies, f"{words}: a stranger gets cookies: {other.cookies}")
            expect(other.who in (None, "nobody"), f"{words}: a stranger gets a page of {other.who}")
            known = prefix == "user"
            expect(not known or other.status == 401, f"{words}: a stranger gets {other.status}")
            text = str(other.headers).encode() + other.body
            expect(not any(secret.encode() in text for secret in secrets), f"{words}: a stranger gets a token")
        his = bob.get(port, path, False)
        expect(not his.cookies and his.who == ("bob" if his.status == 200 else his.who), f"{words}: bob gets {his.body} {his.cookies}")
        expect(his.who in (None, "bob"), f"{words}: bob gets a page of {his.who}")
        # A known caller does not get answers that were cached for anonymous callers.
        once_more = ann.get(port, path, late)
        expect(once_more.who in (None, "ann"), f"{words}: ann gets a page of {once_more.who}")
        expect(again.who in (None, "ann"), f"{words}: ann gets a page of {again.who}")


def caches_do_store(cache, port, ann, bob):
    """The cache does store: otherwise the other checks prove nothing."""
    stored, shared = set(), set()
    for case in CASES:
        first, second = (ask(port, f"/public/{case}", {}) for _ in range(2))
        if first.number is not None and first.number == second.number:
            stored.add(case)
        hers, his = ann.get(port, f"/app/{case}", False), bob.get(port, f"/app/{case}", False)
        if hers.number is not None and hers.number == his.number:
            shared.add(case)
        # A renewal is not served to other callers there either.
        late = ann.get(port, f"/app/{case}/late", True)
        expect(late.cookies or late.number is None, f"{cache}: /app/{case}/late: no cookies")
        other = bob.get(port, f"/app/{case}/late", False)
        expect(not other.cookies and other.who in (None, "bob"), f"{cache}: /app/{case}/late: bob gets {other.body} {other.cookies}")
    print(f"   {cache} stores {sorted(stored)}; of cache = \"app\" {sorted(shared)}")
    for case in ("immutable", "max-age", "shared", "expires", "lines", "moved", "gone"):
        expect(case in stored, f"{cache} does not store /public/{case}")
        expect(case in shared, f"{cache} does not share /app/{case}")


@contextlib.contextmanager
def in_front(what, command, config, name, folder, **words):
    folder.mkdir()
    (folder / "cache").mkdir()
    is_root = os.geteuid() == 0
    for place in (folder, folder / "cache"):
        place.chmod(0o777 if is_root else 0o700)
    port = gates.free_port()
    user = {"apache": "User www-data\nGroup www-data", "nginx": "user www-data;"}[what] if is_root else ""
    path = folder / name
    path.write_text(config.format(folder=folder, port=port, user=user, **words))
    with gates.running(what, [*command, path], port):
        yield port


def main(sidegate, apache, nginx):
    modules = next((p for p in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if pathlib.Path(p).is_dir()), None)
    with tempfile.TemporaryDirectory() as folder, application() as upstream:
        folder = pathlib.Path(folder)
        folder.chmod(0o755)
        gate = gates.Gate(sidegate, folder / "gate", f"http://127.0.0.1:{upstream}", more=SIDEGATE)
        with gate.serve():
            for name in ("ann", "bob"):
                gate.add(name)
            fronts = [
                ("apache", [apache, "-D", "FOREGROUND", "-f"], APACHE, "apache.conf", {"modules": modules}),
                ("nginx", [nginx, "-p", folder, "-c"], NGINX, "nginx.conf", {}),
            ]
            for what, command, config, name, words in fronts:
                with in_front(what, command, config, name, folder / what, behind=gate.port, **words) as port:
                    ann, bob = Browser(gate, "ann"), Browser(gate, "bob")
                    caches_do_store(what, port, ann, bob)
                    strangers_get_nothing(what, port, ann, bob)
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
