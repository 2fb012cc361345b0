"""Do curl and an event-stream client get the same answers through Sidegate as directly?

  http1.py SIDEGATE CURL

curl sends each request of a table to the application and through Sidegate, in HTTP/1.0 and 1.1, and compares the status,
the headers of the application and the body. Then a gibibyte is sent in each direction while the memory of the process is
measured, and an event stream must arrive without delay.
"""

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
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import origin  # noqa: E402

PASSWORD = "correct horse battery"
GIB = 1 << 30
problems = []


def expect(condition, what):
    if not condition:
        problems.append(what)
        print(f"   NOT SO: {what}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def curl(program, *words, feed=None):
    """Status, headers and body of the last answer."""
    command = [program, "--silent", "--show-error", "--max-time", "120", "--include", *words]
    done = subprocess.run(command, input=feed, capture_output=True, check=False)
    head, body, blocks = b"", done.stdout, []
    while body.startswith(b"HTTP/"):
        head, _, body = body.partition(b"\r\n\r\n")
        blocks.append(head)
    lines = head.decode("latin-1").split("\r\n")
    headers = sorted(tuple(part.strip() for part in line.split(":", 1)) for line in lines[1:])
    # Headers of the clock and the connection may differ, all others may not.
    own = ("date", "connection", "keep-alive", "server")
    headers = [(name.lower(), value) for name, value in headers if name.lower() not in own]
    interim = [block.split(b" ")[1] for block in blocks[:-1]]
    return done.returncode, lines[0].split(" ", 1)[-1], headers, body, interim


# Headers that Sidegate adds to an answer that depends on the caller.
OURS = ("cache-control", "private")


def as_written(answer, case):
    """An answer without the headers that Sidegate adds."""
    code, status, headers, body, interim = answer
    expect(OURS in headers, f"{case}: shared caches may store it")
    return code, status, [header for header in headers if header != OURS], body, interim


def table():
    yield "a file", ["/files/a"]
    yield "HEAD", ["--head", "/files/a"]
    yield "the first bytes", ["--range", "0-99", "/files/a"]
    yield "bytes in between", ["--range", "1000-65535", "/files/a"]
    yield "the last bytes", ["--range", "-1", "/files/a"]
    yield "a file that did not change", ["--header", 'If-None-Match: "a"', "/files/a"]
    yield "nothing", ["/zeros/0"]
    yield "some chunks", ["/zeros/1000000?chunked"]
    yield "a small body", ["--data-binary", "x", "/count"]
    yield "an empty body", ["--data-binary", "", "/count"]
    yield "a body with a length", ["--upload-file", "@BODY", "--header", "Expect:", "/count"]
    yield "a body after 100 Continue", ["--upload-file", "@BODY", "--header", "Expect: 100-continue", "/count"]
    yield "a body in chunks", ["--upload-file", "@BODY", "--header", "Transfer-Encoding: chunked", "--header", "Expect:", "/count"]
    yield "a query as it was typed", ["--path-as-is", "--globoff", "/echo?a[]=1&b=%2F%2e%2E&c=a+b&&=~*'()!;"]


def compare(program, direct, through, token, body):
    count = 0
    for version in ("--http1.1", "--http1.0"):
        for name, words in table():
            if version == "--http1.0" and "Transfer-Encoding: chunked" in words:
                continue  # HTTP/1.0 has no chunks
            words = [str(body) if word == "@BODY" else word for word in words]
            plain = curl(program, version, *words[:-1], direct + words[-1])
            shown = curl(program, version, *words[:-1], "--header", f"Authorization: Bearer {token}", through + words[-1])
            case = f"{name} by {version}"
            shown = as_written(shown, case)
            expect(plain[0] == shown[0] == 0, f"{case}: curl ends with {plain[0]} and {shown[0]}")
            expect(plain[1].split(" ")[0] == shown[1].split(" ")[0], f"{case}: {plain[1]}, but {shown[1]}")
            if version == "--http1.1":
                if words[-1].startswith(("/echo", "/count")):  # the answer depends on the received request
                    for answer in (plain, shown):
                        answer[2][:] = [(key, value) for key, value in answer[2] if key != "content-length"]
                expect(plain[2] == shown[2], f"{case}: {plain[2]}, but {shown[2]}")
            if not words[-1].startswith("/echo"):
                told = [answer[3] for answer in (plain, shown)]
                if words[-1] == "/count":  # Sidegate itself sends 100 Continue, so the application does not need to
                    told = [{**json.loads(text), "continued": None} for text in told]
                expect(told[0] == told[1], f"{case}: another body")
            else:
                targets = json.loads(plain[3])["target"], json.loads(shown[3])["target"]
                expect(targets[0] == targets[1] == words[-1], f"{case}: {targets}")
            if "Expect: 100-continue" in words and version == "--http1.1":
                expect(b"100" in shown[4], f"{case}: nobody said 100 Continue: {shown[4]}")
            count += 1
    print(f"{count} exchanges compared")


def resident(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text)[1]) << 10


def gibibytes(program, process, direct, through, token):
    show = ["--header", f"Authorization: Bearer {token}"]
    quiet = ["--silent", "--show-error", "--max-time", "240", "--output", "/dev/null", "--write-out", "%{size_download} %{size_upload}"]
    before = resident(process)
    for path in (f"/zeros/{GIB}", f"/zeros/{GIB}?chunked"):
        done = subprocess.run([program, *quiet, *show, through + path], capture_output=True, check=False)
        expect(done.stdout.split()[0] == str(GIB).encode(), f"{path}: {done.stdout} {done.stderr}")
    zeros = subprocess.Popen(["head", "-c", str(GIB), "/dev/zero"], stdout=subprocess.PIPE)
    answer = [program, "--silent", "--show-error", "--max-time", "240", "--upload-file", "-", *show, through + "/count"]
    done = subprocess.run(answer, stdin=zeros.stdout, capture_output=True, check=False)
    zeros.wait()
    told = json.loads(done.stdout or b"{}")
    expect(told.get("bytes") == GIB, f"a gibibyte up: {told} {done.stderr}")
    grown = resident(process) - before
    expect(grown < 32 << 20, f"3 GiB let the memory grow by {grown >> 20} MiB")
    print(f"3 GiB carried; the most memory ever in use grew by {grown >> 10} KiB")


def events(through, token):
    """Each event arrives when it is sent, not when a buffer is full, and the stream can be resumed."""
    asked = urllib.request.Request(f"{through}/events?from=7", headers={"Authorization": f"Bearer {token}"})
    numbers, late = [], []
    with urllib.request.urlopen(asked, timeout=30) as stream:
        expect(stream.headers["Content-Type"] == "text/event-stream", "the stream's type")
        while len(numbers) < 20:
            line = stream.readline().decode().strip()
            if line.startswith("id: "):
                numbers.append(int(line[4:]))
            elif line.startswith("data: "):
                late.append(time.time() - json.loads(line[6:])["at"])
    expect(numbers == list(range(7, 27)), f"events {numbers}")
    expect(sorted(late)[len(late) // 2] < 0.045, f"events are held back: {late}")
    print(f"20 events, the median {1000 * sorted(late)[10]:.1f} ms after they were sent")


def main():
    sidegate, program = os.path.abspath(sys.argv[1]), sys.argv[2]
    application = origin.serve()
    threading.Thread(target=application.serve_forever, daemon=True).start()
    direct = f"http://127.0.0.1:{application.server_port}"
    with tempfile.TemporaryDirectory() as name:
        folder, port = pathlib.Path(name), free_port()
        through = f"http://127.0.0.1:{port}"
        body = folder / "body"
        body.write_bytes(origin.made("body") * 3)
        config = folder / "sidegate.toml"
        config.write_text(
            f'server.listen = "127.0.0.1:{port}"\nserver.control = "{folder}/control.sock"\nadmin.listen = ""\n'
            f'upstream.url = "{direct}"\nstore.url = "memory:"\ntokens.keys_dir = "{folder}/keys"\n'
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([sidegate, "serve", "--config", config], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 20
            while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
                time.sleep(0.05)
            add = [sidegate, "users", "add", "ann", "--config", config]
            subprocess.run(add, input=PASSWORD.encode(), check=True, stdout=subprocess.DEVNULL)
            login = json.dumps({"identifier": "ann", "password": PASSWORD}).encode()
            login = urllib.request.Request(f"{through}/auth/login", login, {"Content-Type": "application/json"})
            token = json.load(urllib.request.urlopen(login, timeout=20))["accessToken"]
            compare(program, direct, through, token, body)
            events(through, token)
            gibibytes(program, process, direct, through, token)
            expect(process.poll() is None, "the process is gone")
        finally:
            process.terminate()
            process.wait(20)
    print(f"{len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
