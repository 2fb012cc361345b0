"""Does the library `websockets` work on both sides of Sidegate, plain and with TLS?

  websockets_behind.py SIDEGATE

Its client and its echo behave through Sidegate as they do directly. Raw frames, valid and invalid, get the same bytes back as directly.
Two hundred connections are open at once. Also checked: which handshakes are permitted, and when a connection must end.
"""

import asyncio
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gate as gates
import websocket_cases
import websocket_echo
from gate import expect, until
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

SEED = int(os.environ.get("SEED", "1"))
CROWD = 200
SOON = 1.0  # this many seconds after the end of its session no stream is open


def opened(gate, headers, **more):
    return connect(f"ws://{gate.authority}", additional_headers=headers, sock=gate.wire(), proxy=None, open_timeout=20, close_timeout=5, **more)


def status_of(gate, headers, **more):
    """101, or the status of the refusal."""
    try:
        with opened(gate, headers, **more) as wire:
            wire.send("there?")
            return 101 if wire.recv(20) == "there?" else 0
    except InvalidStatus as refused:
        return refused.response.status_code


def handshakes(gate, person):
    """By cookie only from a page of ours; by bearer from anywhere; never without either."""
    ours = gate.base
    for headers, origin, wanted in (
        (person.bearer, None, 101), (person.bearer, "https://other.example", 101), (person.cookie, ours, 101),
        (person.cookie, None, 403), (person.cookie, "https://other.example", 403), (person.cookie, "null", 403),
        (person.cookie, ours + ".evil.example", 403), (person.cookie, ours.replace(str(gate.port), "1"), 403),
        (person.cookie, ours.replace("https", "http") if gate.context else ours.replace("http", "https"), 403),
        ({}, ours, 401), ({}, None, 401), ({"Authorization": "Bearer no.token.this"}, ours, 401),
    ):
        got = status_of(gate, headers, origin=origin)
        expect(got == wanted, f"a handshake with {list(headers)} from {origin}: {got}, not {wanted}")


def ends(gate, wire, since, what, code=1008):
    """The peer closes with this code, soon after `since()`."""
    try:
        began = since()
        while True:
            wire.recv(10)
    except ConnectionClosed as closed:
        took = time.monotonic() - began
        got = closed.rcvd.code if closed.rcvd else None
        expect(got == code, f"{what} at {gate.base}: closed with {got}, not {code}")
        expect(took < SOON, f"{what} at {gate.base}: after {took:.2f} s")
        return took
    except TimeoutError:
        expect(False, f"{what} at {gate.base}: it stays open")


def lives(gate):
    """A refresh ends no WebSocket. A log-out does, idle or active, and so does the operator."""
    person = gate.login()
    with opened(gate, person.bearer) as quiet, opened(gate, person.cookie, origin=gate.base) as busy:
        until(lambda: person.open_streams() == 2, "openStreams counts two")
        old = dict(person.bearer)
        person.refresh()
        for wire in (quiet, busy):
            wire.send("still there?")
            expect(wire.recv(20) == "still there?", "a refresh cuts a WebSocket")
        expect(status_of(gate, old) == 101, "the token before a refresh is good until it expires")
        chatter = threading.Thread(target=chat, args=(busy,), daemon=True)
        chatter.start()
        took = ends(gate, quiet, person.logout, "a log-out")
        chatter.join(10)
        got = busy.close_code
        expect(got == 1008, f"a busy WebSocket is closed with {got}")
    other = gate.login("bob")
    with opened(gate, other.bearer) as wire:
        words = [gate.program, "users", "disable", "bob", "--config", gate.config]
        ends(gate, wire, lambda: (gates.subprocess.run(words, check=True, capture_output=True, timeout=20), time.monotonic())[1], "disabling")
    expect(status_of(gate, other.bearer) == 401, "a disabled user opens another")
    print(f"{gate.base}: {1000 * took:.0f} ms from the log-out to 1008")


def chat(wire):
    try:
        while True:
            wire.send(b"x" * 10_000)
            wire.recv(10)
    except (ConnectionClosed, TimeoutError):
        pass


def crowd(gate, person):
    async def one(number, ready, go):
        async with connect_async(
            gate.base.replace("http", "ws", 1), additional_headers=person.bearer, ssl=gate.context, proxy=None, open_timeout=60, compression=None
        ) as wire:
            ready.release()
            await go.wait()
            for at in range(10):
                await wire.send(f"{number}-{at}")
                if await asyncio.wait_for(wire.recv(), 30) != f"{number}-{at}":
                    return False
            return True

    async def many():
        ready, go = asyncio.Semaphore(0), asyncio.Event()
        tasks = [asyncio.create_task(one(number, ready, go)) for number in range(CROWD)]
        for _ in range(CROWD):
            await asyncio.wait_for(ready.acquire(), 60)
        counted = await asyncio.to_thread(person.open_streams)
        go.set()
        return counted, sum(await asyncio.gather(*tasks))

    counted, came = asyncio.run(many())
    expect(counted == CROWD, f"openStreams is {counted} with {CROWD} open")
    expect(came == CROWD, f"{came} of {CROWD} at once were served")
    until(lambda: person.open_streams() == 0, "openStreams is 0 again")


def compare(gate, person, application):
    """Each case of raw frames, directly and through Sidegate: the same bytes, so the same close code."""

    def direct():
        return socket.create_connection(("127.0.0.1", application), 10)

    def through():
        wire = socket.create_connection(("127.0.0.1", gate.port), 10)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return gate.context.wrap_socket(wire, server_hostname="localhost", suppress_ragged_eofs=False) if gate.context else wire

    def one(case):
        name, pieces, code = case
        if gate.context:  # with TLS the client here cannot close only one direction
            pieces = [piece for piece in pieces if piece is not None]
            if not pieces or len(pieces) < len(case[1]):
                return
        plain = websocket_cases.exchange(direct, gate.authority, "/", {}, name, pieces)
        shown = websocket_cases.exchange(through, gate.authority, "/", person.bearer, name, pieces)
        expect(plain[2] == "end", f"{name}: directly it ends with {plain[2]}")
        expect(code is None or websocket_cases.close_code(plain[1]) == code, f"{name}: directly the code is not {code}")
        if not expect(plain[1:] == shown[1:], f"{name}: {len(shown[1])} bytes, {shown[2]}, not {len(plain[1])}, {plain[2]}"):
            print(f"      {plain[1][-60:]}\n      {shown[1][-60:]}")

    began, cases = time.monotonic(), list(websocket_cases.cases(SEED))
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(one, cases))
    until(lambda: person.open_streams() == 0, "no case leaves a stream behind")
    print(f"{gate.base}: {len(cases)} cases of raw frames, direct and through ({time.monotonic() - began:.0f} s, seed {SEED})")


def expiry(gate, begun):
    """A session of one minute, in real time."""
    person = gate.login()
    began = time.monotonic()
    with opened(gate, person.bearer) as wire:
        begun.set()
        try:
            wire.recv(90)
            expect(False, "nobody said anything")
        except ConnectionClosed as closed:
            took = time.monotonic() - began
            expect(closed.rcvd is not None and closed.rcvd.code == 1008, f"an expired session is closed with {closed.rcvd}")
            expect(59 < took < 61 + SOON, f"a session of 60 s lets go after {took:.1f} s")
            print(f"a session of 60 s let go after {took:.2f} s")
        except TimeoutError:
            expect(False, "a WebSocket outlives its session")


def main():
    here, program = pathlib.Path(__file__).parent, sys.argv[1]
    echo, frames = gates.free_port(), websocket_cases.serve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tls = gates.certificate(folder)
        upstream = f"http://127.0.0.1:{echo}"
        short = gates.Gate(program, folder / "short", upstream, None, '[sessions]\nlifetime = "1m"\n')
        with gates.running("the echo", [sys.executable, here / "websocket_echo.py", "serve", str(echo)], echo), short.serve():
            short.add("ann")
            begun = threading.Event()
            last = threading.Thread(target=expiry, args=(short, begun), daemon=True)
            last.start()
            begun.wait(30)
            for kind, certificate in (("plain", None), ("tls", tls)):
                gate = gates.Gate(program, folder / kind, upstream, certificate)
                raw = gates.Gate(program, folder / f"{kind}-frames", f"http://127.0.0.1:{frames}", certificate)
                with gate.serve(), raw.serve():
                    for user in ("ann", "bob"):
                        gate.add(user)
                    raw.add("ann")
                    person = gate.login()
                    websocket_echo.check(f"ws://{gate.authority}", person.access, SEED, gate.wire)
                    print(f"   (that was {gate.base})")
                    handshakes(gate, person)
                    crowd(gate, person)
                    lives(gate)
                    compare(raw, raw.login(), frames)
            last.join(100)
            expect(not last.is_alive(), "the session of a minute goes on")
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
