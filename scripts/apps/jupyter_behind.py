"""Does a Jupyter server work behind Sidegate? Its kernels, by bearer and by cookies, and the end of a session.

  jupyter_behind.py SIDEGATE
"""

import pathlib
import sys
import tempfile
import time

import gate as gates
import jupyter
from gate import expect, until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SOON = 1.0


def logged_out(gate, person):
    """The kernel's WebSocket is counted, survives a refresh and ends with the session; the kernel continues."""
    kernel = gate.ask("POST", "/api/kernels", {"name": "python3"}, person.bearer)["id"]
    url = f"ws://{gate.authority}/api/kernels/{kernel}/channels?session_id=held"
    with connect(url, additional_headers=person.cookie, origin=gate.base, sock=gate.wire(), proxy=None, open_timeout=60, close_timeout=5) as wire:
        expect(until(lambda: person.open_streams() == 1, "openStreams counts the kernel's WebSocket"), "counted")
        person.refresh()
        try:
            wire.send(jupyter.json.dumps(jupyter.message("held", "kernel_info_request", {})))
            while jupyter.json.loads(wire.recv(30))["msg_type"] != "kernel_info_reply":
                pass
            began = person.logout()
            while True:
                wire.recv(10)
        except ConnectionClosed as closed:
            took = time.monotonic() - began
            expect(closed.rcvd is not None and closed.rcvd.code == 1008, f"closed with {closed.rcvd}")
            expect(took < SOON, f"closed {took:.2f} s after the log-out")
            print(f"{gate.base}: 1008 {1000 * took:.0f} ms after the log-out was asked for")
        except TimeoutError:
            expect(False, "the kernel's WebSocket outlives its session")
    again = gate.login()
    expect([one["id"] for one in gate.ask("GET", "/api/kernels", headers=again.bearer)] == [kernel], "the kernel is still there")
    gate.ask("DELETE", f"/api/kernels/{kernel}", headers=again.bearer)


def main():
    program, port = sys.argv[1], gates.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        notebooks = folder / "notebooks"
        notebooks.mkdir()
        words = [sys.executable, jupyter.__file__, "serve", str(port), str(notebooks)]
        with gates.running("jupyter", words, port):
            for kind, certificate in (("plain", None), ("tls", gates.certificate(folder))):
                gate = gates.Gate(program, folder / kind, f"http://127.0.0.1:{port}", certificate)
                with gate.serve():
                    gate.add("ann")
                    person = gate.login()
                    jupyter.check(gate.base, person.bearer, gate.context, gate.wire)
                    jupyter.check(gate.base, {**person.cookie, "Origin": gate.base}, gate.context, gate.wire)
                    until(lambda: person.open_streams() == 0, "openStreams is 0 again")
                    logged_out(gate, person)
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
