"""Do curl and h2load get the same answers over HTTP/2 through Sidegate as directly?

  http2.py SIDEGATE CURL H2LOAD NGINX

curl sends each request of a table over TLS (ALPN) and in clear text (prior knowledge) and compares the answer with HTTP/1.1
directly to the application. Then a gibibyte is sent in each direction while the memory of the process is measured, and
h2load runs with nginx behind: no request may fail.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading

import gate as gates
import http1
import origin
from gate import expect

GIB = 1 << 30
ROOM = 16 << 20
NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    client_max_body_size 100m;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 "hello, $http_x_user_name\\n"; }} }}
}}
"""


def fold(answer, target):
    """The parts that must be equal: the status, the application's headers, the body."""
    code, status, headers, body, interim = answer
    hop = ("transfer-encoding",)
    headers = [pair for pair in headers if pair[0] not in hop]
    if target == "/count":  # Sidegate itself sends 100 Continue; the answer depends on it
        headers = [pair for pair in headers if pair[0] != "content-length"]
        body = {**json.loads(body), "continued": None}
    return code, status.split(" ")[0], headers, body, interim


def compare(program, direct, gate, version, person, body):
    trust = ["--cacert", str(gate.authority_file)] if gate.context else []
    count = 0
    for name, words in http1.table():
        if "Transfer-Encoding: chunked" in words:
            continue  # a header of HTTP/1.1 only; HTTP/2 bodies have a length only if it is sent
        *words, target = [str(body) if word == "@BODY" else word for word in words]
        plain = http1.curl(program, "--http1.1", *words, direct + target)
        shown = http1.curl(program, version, *trust, *words, "--header", person.bearer_line, gate.base + target)
        case = f"{name} by {version}"
        shown = http1.as_written(shown, case)
        if target.startswith("/echo"):
            targets = json.loads(plain[3])["target"], json.loads(shown[3])["target"]
            expect(targets == (target, target), f"{case}: {targets}")
        else:
            one, other = fold(plain, target), fold(shown, target)
            for which, (left, right) in enumerate(zip(one[:4], other[:4], strict=True)):
                expect(left == right, f"{case}, part {which}: {str(left)[:300]}, but {str(right)[:300]}")
        expect(shown[0] == 0, f"{case}: curl ends with {shown[0]}")
        count += 1
    # A body of unknown length.
    data = body.read_bytes()
    told = run(program, version, *trust, "--upload-file", "-", "--header", person.bearer_line, gate.base + "/count", feed=data)
    expect(json.loads(told or b"{}").get("sha256") == hashlib.sha256(data).hexdigest(), f"a body without a length by {version}")
    spoken = run(program, version, *trust, "--output", "/dev/null", "--write-out", "%{http_version}", gate.base + "/auth/health")
    expect(spoken == b"2", f"{version} is spoken as {spoken}")
    refused = run(program, version, *trust, "--output", "/dev/null", "--write-out", "%{http_code}", gate.base + "/files/a")
    expect(refused == b"401", f"without a token by {version}: {refused}")
    print(f"{gate.base}: {count + 3} exchanges by {version}")


def run(program, *words, feed=None):
    command = [program, "--silent", "--show-error", "--max-time", "240", *words]
    done = subprocess.run(command, input=feed, capture_output=True, check=False)
    expect(done.returncode == 0, f"curl {words[0]} ends with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def gibibytes(program, gate, version, person):
    trust = ["--cacert", str(gate.authority_file)] if gate.context else []
    show = [version, *trust, "--header", person.bearer_line]
    before = gate.forget_most_memory()
    told = run(program, *show, "--output", "/dev/null", "--write-out", "%{size_download} %{time_total}", f"{gate.base}/zeros/{GIB}")
    expect(told.split()[0] == str(GIB).encode(), f"a gibibyte down: {told}")
    zeros = subprocess.Popen(["head", "-c", str(GIB), "/dev/zero"], stdout=subprocess.PIPE)
    words = [program, "--silent", "--show-error", "--max-time", "240", "--write-out", "\n%{time_total}", "--upload-file", "-"]
    done = subprocess.run([*words, *show, gate.base + "/count"], stdin=zeros.stdout, capture_output=True, check=False)
    zeros.wait()
    text, _, time_up = done.stdout.rpartition(b"\n")
    got = json.loads(text or b"{}")
    expect(got.get("bytes") == GIB, f"a gibibyte up: {got} {done.stderr}")
    grown = gate.most_memory() - before
    expect(grown < ROOM, f"2 GiB let the memory grow by {grown >> 10} KiB")
    seconds = f"{float(told.split()[1]):.1f} s down, {float(time_up):.1f} s up"
    print(f"{gate.base}: a gibibyte each way by {version} ({seconds}); the memory in use grew by {grown >> 10} KiB")


def load(program, gate, words, person, requests, path="/"):
    """Reads the failures that h2load counts; its exit code ignores them."""
    command = [program, "--requests", str(requests), "--header", person.bearer_line, *words, gate.base + path]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    text = done.stdout.decode()
    counts = {name: int(number) for number, name in re.findall(r"(\d+) (total|started|done|succeeded|failed|errored|timeout|2xx|3xx|4xx|5xx)\b", text)}
    good = counts.get("succeeded") == counts.get("2xx") == requests and not any(counts.get(bad, 1) for bad in ("failed", "errored", "timeout"))
    expect(done.returncode == 0 and good, f"h2load {words} at {gate.base}: {counts} {text[-800:]} {done.stderr.decode()[-300:]}")
    spoken = re.search(r"Application protocol: (\S+)", text)
    rate = re.search(r"([\d.]+) req/s", text)
    expect(spoken, f"h2load {words}: no protocol")
    print(f"{gate.base}: h2load {' '.join(words)}: {counts.get('2xx')} of {requests} by {spoken and spoken[1]}, {rate and rate[1]} requests a second")


def main():
    program, curl, h2load, nginx = sys.argv[1:5]
    application = origin.serve()
    threading.Thread(target=application.serve_forever, daemon=True).start()
    direct = f"http://127.0.0.1:{application.server_port}"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        folder.chmod(0o755)
        tls, port = gates.certificate(folder), gates.free_port()
        body = folder / "data"
        body.write_bytes(origin.made("body") * 3)
        conf = folder / "nginx.conf"
        conf.write_text(NGINX.format(folder=folder, port=port))
        words = [nginx, "-p", str(folder), "-c", str(conf), "-g", "daemon off;"]
        with gates.running("nginx", words, port):
            for version, certificate in (("--http2", tls), ("--http2-prior-knowledge", None)):
                kind = "tls" if certificate else "plain"
                gate = gates.Gate(program, folder / kind, direct, certificate)
                loaded = gates.Gate(program, folder / f"{kind}-load", f"http://127.0.0.1:{port}", certificate)
                gate.authority_file = tls[0]
                with gate.serve(), loaded.serve():
                    gate.add("ann")
                    loaded.add("ann")
                    person = gate.login()
                    compare(curl, direct, gate, version, person, body)
                    gibibytes(curl, gate, version, person)
                    load(h2load, gate, ["--clients", "4", "--max-concurrent-streams", "5", f"--data={body}"], person, 100, "/count")
                    person = loaded.login()
                    load(h2load, loaded, ["--h1", "--clients", "20"], person, 10_000)
                    load(h2load, loaded, ["--clients", "10", "--max-concurrent-streams", "10"], person, 20_000)
                    load(h2load, loaded, ["--clients", "2", "--max-concurrent-streams", "100"], person, 10_000)
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
