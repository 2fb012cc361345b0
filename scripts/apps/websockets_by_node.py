"""Do WebSockets over HTTP/2 work with a third-party client, undici of Node.js?

  websockets_by_node.py SIDEGATE NODE SCRIPT

SCRIPT is `websocket.mjs` in a folder where undici is installed. The application is the echo of the library
`websockets`, which speaks only HTTP/1.1.
"""

import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time

import gate as gates
from gate import expect

SOON = 1.0  # this many seconds after the end of its session no stream is open


class Socket:
    """One WebSocket in its own process."""

    def __init__(self, node, script, gate, ca, headers):
        words = [node, script, gate.base.replace("https", "wss", 1) + "/", ca, json.dumps(headers)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put("gone")

    def says(self, wanted, what):
        try:
            line = self.lines.get(timeout=30)
        except queue.Empty:
            line = "nothing"
        return expect(line == wanted, f"{what}: {line}, not {wanted}")

    def send(self, length):
        print(length, file=self.process.stdin, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def main():
    program, node, script = sys.argv[1:]
    here, echo = pathlib.Path(__file__).parent, gates.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tls = gates.certificate(folder)
        gate = gates.Gate(program, folder / "gate", f"http://127.0.0.1:{echo}", tls)
        with gates.running("the echo", [sys.executable, here / "websocket_echo.py", "serve", str(echo)], echo), gate.serve():
            gate.add("ann")
            person = gate.login()

            def opened(headers):
                return Socket(node, script, gate, tls[0], headers)

            with opened(person.bearer) as one, opened({**person.cookie, "Origin": gate.base}) as two:
                for number, socket in enumerate((one, two)):
                    socket.says("open", f"handshake {number}")
                    for length in (1, 125, 126, 65_535, 65_536, 1 << 20):
                        socket.send(length)
                        socket.says(f"message {length}", f"an echo of {length} bytes")
                expect(person.open_streams() == 2, "openStreams counts two")
                person.refresh()
                one.send(7)
                one.says("message 7", "after a refresh")
                began = person.logout()
                for socket in (one, two):
                    socket.says("close 1008", "after a log-out")
                took = time.monotonic() - began
                expect(took < SOON, f"closed {took:.2f} s after the log-out")
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
