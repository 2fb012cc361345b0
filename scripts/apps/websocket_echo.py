"""A WebSocket echo with the library `websockets`, and a client that tries the whole protocol.

  websocket_echo.py serve PORT
  websocket_echo.py check ws://HOST:PORT [TOKEN [SEED]]

The check sends messages of every length at which the framing changes, in one frame and in many, text and binary, with pings in
between. It closes with each permitted code, and then runs random actions from a seed.
"""

import random
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.sync.server import serve

EDGES = (0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20)
BIG = 1 << 24
MOST = 2 * BIG


def echo(connection):
    """Sends each message back; `close N` makes it close with that code."""
    try:
        for message in connection:
            if isinstance(message, str) and message.startswith("close "):
                connection.close(int(message[6:]), "as you wish")
                return
            connection.send(message)
    except ConnectionClosed:
        pass


def text(chance, length):
    return "".join(chance.choice("aü€😀") for _ in range(length))


def pieces(chance, message):
    """The message in fragments, some of them empty."""
    while message:
        size = chance.randrange(0, max(2, len(message)))
        yield message[:size]
        message = message[size:]


def check(url, token, seed, dial=lambda: None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    chance = random.Random(seed)

    def opened():
        return connect(url, additional_headers=headers, sock=dial(), proxy=None, max_size=MOST, open_timeout=20, close_timeout=20)

    with opened() as wire:
        for length in EDGES:
            for message in (text(chance, length), chance.randbytes(length)):
                wire.send(message)
                assert wire.recv(20) == message, f"{type(message).__name__} of {length}"
                wire.send(pieces(chance, message) if length else iter([message]))
                assert wire.recv(20) == message, f"{type(message).__name__} of {length} in pieces"
        assert wire.ping(b"p" * 125).wait(20), "a ping without a pong"
        assert wire.protocol.extensions, "permessage-deflate was not agreed on"
        big = chance.randbytes(BIG)
        wire.send(big)
        assert wire.recv(60) == big, f"a message of {BIG}"
    for code in (1000, 1001, 1008, 1011, 3000, 4999):
        with opened() as wire:
            wire.send(f"close {code}")
            try:
                wire.recv(20)
                raise AssertionError(f"no close {code}")
            except ConnectionClosed as closed:
                assert closed.rcvd.code == code, f"{closed.rcvd} instead of {code}"
    with opened() as wire:
        sent = []
        for _ in range(300):
            act = chance.random()
            if act < 0.5 or not sent:
                length = int(chance.paretovariate(0.5)) % 70_000
                message = text(chance, length) if chance.random() < 0.5 else chance.randbytes(length)
                wire.send(message if chance.random() < 0.5 or not message else pieces(chance, message))
                sent.append(message)
            elif act < 0.6:
                wire.ping()
            else:
                assert wire.recv(20) == sent.pop(0), "another message than was sent"
        for message in sent:
            assert wire.recv(20) == message, "another message than was sent"
    done.clear()
    crowd = [threading.Thread(target=one_of_many, args=(opened, number)) for number in range(20)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join(60)
    assert done == set(range(20)), f"only {done} of many came through"
    print(f"WebSocket echo at {url}: all as sent (seed {seed})")


done = set()


def one_of_many(opened, number):
    with opened() as wire:
        for at in range(20):
            wire.send(f"{number}-{at}")
            if wire.recv(20) != f"{number}-{at}":
                return
    done.add(number)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        with serve(echo, "127.0.0.1", int(sys.argv[2]), max_size=MOST) as server:
            server.serve_forever()
    else:
        check(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "", int(sys.argv[4]) if len(sys.argv) > 4 else 1)
