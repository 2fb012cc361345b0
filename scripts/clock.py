#!/usr/bin/env python3
"""Does the real binary behave correctly while the wall clock jumps (libfaketime)? Nothing that must not change
changes, and refused tokens stay refused after a restart.

  scripts/clock.py SIDEGATE LIBFAKETIME

libfaketime shifts the wall clock of the C library by an offset in a file. This script rewrites the file while the
program runs. The monotonic clock does not change.
"""
import contextlib
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

DEADLINE = 30
PASSWORD = "correct horse battery"
HOUR, DAY, YEAR = 3_600, 86_400, 365 * 86_400
CONFIG = """
[server]
listen = "127.0.0.1:{port}"
control = "{home}/control.sock"
[admin]
listen = "127.0.0.1:{admin}"
[upstream]
url = "http://127.0.0.1:{upstream}"
[store]
url = "sled:{home}/data"
[tokens]
keys_dir = "{home}/keys"
access_ttl = "5m"
[signup]
mode = "open"
[login]
max_failures = 3
lock_for = "20s"
[limits]
login = "1000/m"
signup = "1000/m"
[log]
access = false
[[rule]]
path = "/**"
access = "user"
"""


def main():
    binary, library = sys.argv[1:]
    with contextlib.ExitStack() as stack:
        upstream = serve_upstream(stack)
        for story in (short_excursion, set_back, log_out_and_jump, expired_and_set_back, ahead_at_the_start):
            with tempfile.TemporaryDirectory(prefix="sidegate-clock-") as home:
                begin = time.monotonic()
                with Machine(binary, library, pathlib.Path(home), upstream) as machine:
                    story(machine)
                print(f"{story.__name__}: ok ({time.monotonic() - begin:.0f} s)", flush=True)


def short_excursion(machine):
    """One year ahead for five seconds, then back: tokens are valid, limits continue, the log has both jumps."""
    machine.start()
    ann = machine.join("ann")
    for _ in range(3):
        assert machine.login("ann", "wrong") == 401
    locked_at = time.monotonic()
    machine.set_clock(YEAR)
    machine.wait_for("forward", lambda: machine.jumps("forward") == 1)
    while time.monotonic() - locked_at < 5:
        assert machine.passes(ann)
        time.sleep(0.2)
    assert machine.login("ann", PASSWORD) == 401, "a lock of 20 s was opened by the jump"
    ready = machine.readiness()
    assert ready[0] == 200 and "clock" in ready[1]["reasons"], ready
    machine.set_clock(0)
    machine.wait_for("backward", lambda: machine.jumps("backward") == 1)
    assert machine.passes(ann)
    assert machine.login("ann", PASSWORD) == 401
    machine.wait_for("readiness", lambda: "clock" not in machine.readiness()[1].get("reasons", []))
    machine.wait_for("the end of the lock", lambda: machine.login("ann", PASSWORD) == 200)
    assert time.monotonic() - locked_at >= 19, "the lock did not last its time"
    assert machine.passes(ann)
    log = machine.stop()
    assert "jumped forward" in log and "jumped back" in log and "agree again" in log, log


def set_back(machine):
    """A day back: a lock lasts twenty seconds and not longer, and a new log-in works."""
    machine.start()
    ann = machine.join("ann")
    for _ in range(3):
        assert machine.login("ann", "wrong") == 401
    locked_at = time.monotonic()
    machine.set_clock(-DAY)
    machine.wait_for("backward", lambda: machine.jumps("backward") == 1)
    machine.wait_for("the end of the lock", lambda: machine.login("ann", PASSWORD) == 200)
    assert 19 <= time.monotonic() - locked_at < 30
    assert machine.passes(ann)
    log = machine.stop()
    assert "jumped back" in log, log


def log_out_and_jump(machine):
    """Log out, two hours ahead for twelve seconds, back, restart: the ended session stays ended."""
    machine.start()
    ann, bob = machine.join("ann"), machine.join("bob")
    assert machine.ask("POST", "/auth/logout", token=ann["accessToken"])[0] == 204
    machine.set_clock(2 * HOUR)
    machine.wait_for("forward", lambda: machine.jumps("forward") == 1)
    end = time.monotonic() + 12
    while time.monotonic() < end:
        assert not machine.passes(ann)
        time.sleep(0.5)
    machine.set_clock(0)
    machine.wait_for("backward", lambda: machine.jumps("backward") == 1)
    machine.stop()
    machine.start()
    assert not machine.passes(ann)
    assert not machine.refreshes(ann)
    assert machine.passes(bob)


def expired_and_set_back(machine):
    """Refused as expired (the start was eight days later), then restarted with the clock set back."""
    machine.start()
    ann = machine.join("ann")
    machine.stop()
    machine.set_clock(8 * DAY)
    machine.start()
    assert not machine.passes(ann)
    assert not machine.refreshes(ann)
    machine.stop()
    machine.set_clock(0)
    machine.start()
    assert not machine.passes(ann)
    assert not machine.refreshes(ann)
    assert machine.login("ann", PASSWORD) == 200, "log-ins work"
    assert "clock" in machine.readiness()[1]["reasons"]
    log = machine.stop()
    assert "the wall clock is behind the time that this store has reached" in log, log
    assert "a log-in while the wall clock differs" in log, log


def ahead_at_the_start(machine):
    """Killed while two hours ahead: the next process refuses the tokens that were refused before."""
    machine.start()
    ann = machine.join("ann")
    machine.stop()
    machine.set_clock(2 * HOUR)
    machine.start()
    assert not machine.passes(ann)
    time.sleep(3)  # the store is written every two seconds
    machine.kill()
    machine.set_clock(0)
    machine.start()
    assert not machine.passes(ann)


class Machine:
    """A sequence of processes whose wall clock is set by a file."""

    def __init__(self, binary, library, home, upstream):
        self.binary, self.faketime, self.home = binary, library, home
        self.offset = home / "offset"
        self.port, self.admin = free_port(), free_port()
        self.process = None
        self.runs = 0
        text = CONFIG.format(port=self.port, admin=self.admin, upstream=upstream, home=home)
        (home / "sidegate.toml").write_text(text)
        self.set_clock(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.kill()
            self.process.wait()

    def set_clock(self, seconds):
        fresh = self.home / "offset.new"
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self.offset)

    def start(self):
        self.runs += 1
        environment = dict(
            os.environ,
            LD_PRELOAD=self.faketime,
            FAKETIME_TIMESTAMP_FILE=str(self.offset),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            FAKETIME_DONT_RESET="1",
        )
        self.log = self.home / f"log-{self.runs}"
        with self.log.open("wb") as log:
            command = [self.binary, "serve", "--config", str(self.home / "sidegate.toml")]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.wait_for("the start", self.is_up)

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.readiness()[0] == 200
        except OSError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)
        return self.log.read_text()

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def wait_for(self, what, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < end, f"{what}: not in time\n{self.log.read_text()}"
            time.sleep(0.1)

    def ask(self, method, path, body=None, token=None, port=None):
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def readiness(self):
        status, body = self.ask("GET", "/readyz", port=self.admin)
        return status, json.loads(body)

    def jumps(self, direction):
        page = self.ask("GET", "/metrics", port=self.admin)[1].decode()
        name = f'sidegate_clock_jumps_total{{direction="{direction}"}} '
        return next(int(line[len(name):]) for line in page.splitlines() if line.startswith(name))

    def join(self, name):
        answer = self.ask("POST", "/auth/signup", {"username": name, "password": PASSWORD})
        assert answer[0] == 201, answer
        status, body = self.ask("POST", "/auth/login", {"identifier": name, "password": PASSWORD})
        assert status == 200, body
        who = json.loads(body)
        assert self.passes(who)
        return who

    def login(self, name, password):
        return self.ask("POST", "/auth/login", {"identifier": name, "password": password})[0]

    def passes(self, who):
        return self.ask("GET", "/orders/7", token=who["accessToken"])[0] == 200

    def refreshes(self, who):
        return self.ask("POST", "/auth/refresh", {"refreshToken": who["refreshToken"]})[0] == 200


def serve_upstream(stack):
    class Upstream(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shutdown)
    return server.server_address[1]


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


main()
