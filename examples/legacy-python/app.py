"""A small legacy application. It has no log-in code and trusts the headers.

    python3 app.py [PORT]        listens on 127.0.0.1, port 3000 by default; 0 picks a free one

That is safe only because it can be reached only through Sidegate, which removes every identity header of
the client and writes its own. Always bind to loopback.
"""

import html
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?", 1)[0]
        if path == "/headers":
            self.answer(200, "application/json", json.dumps(self.headers.items()))
        elif path.startswith("/admin/"):
            # No check here: the rule in Sidegate's configuration admits only administrators.
            self.answer(200, "text/html", self.page("Administration"))
        else:
            self.answer(200, "text/html", self.page("Welcome"))

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.answer(200, "application/json", json.dumps({"received": len(body)}))

    def page(self, title):
        # Characters other than visible ASCII are percent-encoded.
        name = unquote(self.headers.get("X-User-Name") or "stranger")
        roles = self.headers.get("X-User-Role") or "none"
        return (
            f"<!doctype html><title>{title}</title>"
            f"<h1>{title}, {html.escape(name)}</h1>"
            f"<p>Your roles: {html.escape(roles)}</p>\n"
        )

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(port):
    server = ThreadingHTTPServer(("127.0.0.1", port), App)
    server.daemon_threads = True
    return server


if __name__ == "__main__":
    running = serve(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
    print(f"listening on 127.0.0.1:{running.server_address[1]}", flush=True)
    try:
        running.serve_forever()
    except KeyboardInterrupt:
        pass
