"""An ordinary HTTP/1.1 application: files with ranges, uploads, an event stream. It keeps no state and reports the
requests it receives.

  GET  /files/NAME        1 MiB of bytes specific to NAME, with Range, ETag, If-None-Match
  GET  /zeros/BYTES       that many bytes, with a length; ?chunked without one
  PUT  /count             {"bytes": n, "sha256": "..", "continued": whether 100-continue was requested}
  GET  /events?from=N     server-sent events N, N+1, ..: one each 50 ms
"""

import hashlib
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PIECE = bytes(1 << 18)


class Origin(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        kind, _, rest = url.path[1:].partition("/")
        if kind == "files":
            self.file(rest)
        elif kind == "zeros":
            self.zeros(int(rest), "chunked" in url.query)
        elif kind == "events":
            self.events(int(parse_qs(url.query).get("from", ["0"])[0]))
        else:
            self.say(200, {"method": self.command, "target": self.path, "headers": self.headers.items()})

    do_HEAD = do_GET

    def do_PUT(self):
        digest, received = hashlib.sha256(), 0
        for piece in self.body():
            digest.update(piece)
            received += len(piece)
        continued = self.headers.get("Expect", "").lower() == "100-continue"
        self.say(200, {"bytes": received, "sha256": digest.hexdigest(), "continued": continued})

    do_POST = do_PUT

    def file(self, name):
        content, tag = made(name), f'"{name}"'
        begin, end, status = 0, len(content), 200
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        if (wanted := self.headers.get("Range", "")).startswith("bytes="):
            first, last = wanted[6:].split("-")
            begin = int(first) if first else end - int(last)
            end = int(last) + 1 if first and last else end
            status = 206
        self.send_response(status)
        self.send_header("ETag", tag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(end - begin))
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[begin:end])

    def zeros(self, count, chunked):
        self.send_response(200)
        self.send_header("Transfer-Encoding" if chunked else "Content-Length", "chunked" if chunked else str(count))
        self.end_headers()
        while self.command != "HEAD" and count > 0:
            piece = PIECE[:count]
            count -= len(piece)
            if chunked:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            else:
                self.wfile.write(piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def events(self, number):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            event = f"id: {number}\ndata: {json.dumps({'at': time.time()})}\n\n".encode()
            try:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            except OSError:
                return
            number += 1
            time.sleep(0.05)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                while size:
                    piece = self.rfile.read(min(size, 1 << 18))
                    size -= len(piece)
                    yield piece
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            piece = self.rfile.read(min(left, 1 << 18))
            if not piece:
                raise ConnectionError("the body broke off")
            left -= len(piece)
            yield piece

    def say(self, status, told):
        text = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *args):
        pass


def made(name):
    """The same bytes for the same name."""
    return b"".join(hashlib.sha256(f"{name}{at}".encode()).digest() for at in range(1 << 15))


class Server(ThreadingHTTPServer):
    request_queue_size = 512  # with the default of five, simultaneous connections are reset
    daemon_threads = True


def serve(port=0):
    return Server(("127.0.0.1", port), Origin)


if __name__ == "__main__":
    serve(int(sys.argv[1])).serve_forever()
