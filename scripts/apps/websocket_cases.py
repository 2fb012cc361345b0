"""Raw frames, valid and invalid, for a WebSocket endpoint: framing, pings, reserved bits, opcodes, fragmentation, UTF-8,
closing, limits, compression. The groups are those of the Autobahn suite.

  cases()      (name, the pieces that the client writes, the close code that must be returned or None)
  exchange()   one case against one server: all bytes of the answer
  serve()      an echo server for them: it uses the protocol of the library `websockets` and passes it the bytes such that
               its answers depend only on their order
"""

import random
import select
import socket
import struct
import threading
import time
import zlib

from gate import LATER
from websockets.exceptions import InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
MOST = 1 << 22
MASK = b"\x37\xfa\x21\x3d"


def frame(opcode, payload=b"", fin=True, rsv=0, mask=MASK):
    if isinstance(payload, str):
        payload = payload.encode()
    first, length = (0x80 if fin else 0) | rsv << 4 | opcode, len(payload)
    if length < 126:
        head = struct.pack("!BB", first, 0x80 | length)
    elif length < 1 << 16:
        head = struct.pack("!BBH", first, 0xFE, length)
    else:
        head = struct.pack("!BBQ", first, 0xFF, length)
    whole = (mask * (length // 4 + 1))[:length]
    return head + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(whole, "big")).to_bytes(length, "big")


def close(code=1000, reason=b""):
    return frame(CLOSE, struct.pack("!H", code) + reason)


END = close()


def parts(payload, sizes, opcode=TEXT, between=b"", rsv=0):
    """A message in frames of that many bytes, with other frames between them."""
    cut, frames = [], []
    while payload:
        size = sizes if isinstance(sizes, int) else next(sizes)
        cut.append(payload[:size])
        payload = payload[size:]
    for at, piece in enumerate(cut):
        frames.append(frame(MORE if at else opcode, piece, at == len(cut) - 1, 0 if at else rsv))
    return between.join(frames)


def chopped(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


GOOD_TEXT = "Hello-µ@ßöäüàá-UTF-8!!".encode()
EDGES = (b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xf4\x8f\xbf\xbf", b"\x00", b"\xc2\x80", b"\xe0\xa0\x80", b"\xf0\x90\x80\x80", b"\x7f", b"\xdf\xbf", b"\xef\xbf\xbf", b"\xef\xbf\xbe")
NOT_TEXT = (
    b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80\xbf", b"\xc0 ", b"\xe0 ", b"\xf0 ", b"\xf8 ", b"\xfc ", b"\xc0", b"\xe0\x80", b"\xf0\x80\x80",
    b"\xf8\x80\x80\x80", b"\xfc\x80\x80\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe", b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf",
    b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xc0\x80",
    b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80", b"\xed\xbf\xbf", b"\xed\xa0\x80\xed\xb0\x80", b"\xed\xaf\xbf\xed\xbf\xbf",
    b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", "κόσμε".encode() + b"\xed\xa0\x80edited", "κόσμε".encode() + b"\xf4\x90\x80\x80edited",
)


def cases(seed):
    chance = random.Random(seed)
    yield from framing()
    yield from pings()
    yield from reserved()
    yield from fragments()
    yield from texts()
    yield from closing()
    yield from limits(chance)
    yield from deflated(chance)
    yield from anything(chance)


def framing():
    for length in (0, 125, 126, 127, 128, 65535, 65536):
        for kind, opcode, payload in (("text", TEXT, b"*" * length), ("binary", BINARY, b"\xfe" * length)):
            yield f"1 {kind} of {length}", [frame(opcode, payload), END], 1000
            for size in (1, 997) if length < 1000 else (997,):
                yield f"1 {kind} of {length} in pieces of {size}", chopped(frame(opcode, payload) + END, size), 1000
    for length in (1, 125):  # the long forms of a short length
        for form in (struct.pack("!BBH", 0x82, 0xFE, length), struct.pack("!BBQ", 0x82, 0xFF, length)):
            yield f"1 {length} said in {len(form)} bytes", [form + bytes(4) + b"x" * length, END], None
    yield "1 a length of 63 bits", [struct.pack("!BBQ", 0x82, 0xFF, (1 << 63) - 1) + MASK + b"x"], 1009
    yield "1 a length of 64 bits", [struct.pack("!BBQ", 0x82, 0xFF, (1 << 64) - 1) + MASK + b"x"], None
    yield "1 without a mask", [b"\x81\x02hi", END], 1002
    yield "1 a mask of zeros", [frame(TEXT, "hi", mask=bytes(4)), END], 1000


def pings():
    for name, payload in (("none", b""), ("text", b"Hello"), ("bytes", b"\0\xff\xfe\xfd\xfc\xfb\0\xff"), ("125", b"\xfe" * 125)):
        yield f"2 a ping with {name}", [frame(PING, payload), END], 1000
        yield f"2 a ping with {name}, byte by byte", chopped(frame(PING, payload) + END, 1), 1000
        yield f"2 a pong nobody asked for with {name}", [frame(PONG, payload), frame(PING, b"then"), END], 1000
    yield "2 a ping too long", [frame(PING, b"\xfe" * 126), END], 1002
    yield "2 ten pings", [frame(PING, b"p%d" % at) for at in range(10)] + [END], 1000
    yield "2 ten pings byte by byte", chopped(b"".join(frame(PING, b"p%d" % at) for at in range(10)) + END, 1), 1000
    yield "2 a ping behind a close", [END + frame(PING, b"late")], 1000


def reserved():
    good, ping = frame(TEXT, "Hello"), frame(PING)
    for rsv in range(1, 8):
        yield f"3 bits {rsv}", [frame(TEXT, "x", rsv=rsv), ping], 1002
        yield f"3 bits {rsv} between", [good + frame(TEXT, "x", rsv=rsv) + ping], 1002
        yield f"3 bits {rsv}, byte by byte", chopped(good + frame(BINARY, b"x" * 30, rsv=rsv) + ping, 1), 1002
        yield f"3 bits {rsv} on a ping", [frame(PING, b"x", rsv=rsv), ping], 1002
        yield f"3 bits {rsv} on a close", [frame(CLOSE, b"\x03\xe8", rsv=rsv)], 1002
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"4 opcode {opcode}", [frame(opcode), ping], 1002
        yield f"4 opcode {opcode} with bytes", [good + frame(opcode, b"x" * 20) + ping], 1002
        yield f"4 opcode {opcode}, byte by byte", chopped(good + frame(opcode, b"x" * 20) + ping, 1), 1002


def fragments():
    two, ping = parts(b"fragment1fragment2", 9), frame(PING, b"between")
    for opcode in (PING, PONG, CLOSE):
        yield f"5 control {opcode} in parts", [frame(opcode, b"\x03\xe8", fin=False) + frame(MORE, b"x"), END], 1002
    for name, data in (
        ("two", two), ("two with a ping", parts(b"fragment1fragment2", 9, between=ping)), ("single bytes", parts(GOOD_TEXT, 1)),
        ("single bytes with pings", parts(b"single bytes", 1, between=ping)), ("bytes", parts(b"\xff" * 1000, 7, BINARY)),
        ("nothing in three", frame(TEXT, fin=False) + frame(MORE, fin=False) + frame(MORE)),
        ("nothing around something", frame(TEXT, fin=False) + frame(MORE, "middle", fin=False) + frame(MORE)),
        ("five with two pings", parts(b"fragmentfragmentfragmentfragmentfragment", 8, between=ping)),
    ):
        yield f"5 {name}", [data, END], 1000
        yield f"5 {name}, byte by byte", chopped(data + END, 1), 1000
    for name, data in (
        ("an end without a beginning", frame(MORE, "x")), ("a middle without a beginning", frame(MORE, "x", fin=False)),
        ("an end too many", two + frame(MORE, "x")), ("a beginning too many", frame(TEXT, "x", fin=False) + frame(TEXT, "y")),
        ("a binary in a text", frame(TEXT, "x", fin=False) + frame(BINARY, "y", fin=False)),
        ("an end too many, five times", (frame(MORE, "x", fin=False) + frame(TEXT, "y")) * 5),
    ):
        yield f"5 {name}", [data, END], 1002
        yield f"5 {name}, byte by byte", chopped(data + END, 1), 1002


def texts():
    for text in (GOOD_TEXT, "κόσμε".encode(), *EDGES):
        yield f"6 {text!r}", [frame(TEXT, text), END], 1000
        yield f"6 {text!r} in single bytes", chopped(parts(text, 1) + END, 3), 1000
    for text in NOT_TEXT:
        yield f"6 no text {text!r}", [frame(TEXT, text), END], 1007
        yield f"6 no text {text!r} behind a good one", [frame(TEXT, "ok") + frame(TEXT, b"good" + text), END], 1007
        yield f"6 no text {text!r} in single bytes", chopped(parts(b"a" + text, 1) + END, 5), 1007
        yield f"6 bytes {text!r}", [frame(BINARY, text), END], 1000


def closing():
    yield "7 a close without a code", [frame(CLOSE)], 1005
    yield "7 a close of one byte", [frame(CLOSE, b"\x03")], 1002
    yield "7 two closes", [END + close(1001)], 1000
    yield "7 a message behind a close", [END + frame(TEXT, "late")], 1000
    yield "7 a message, a close, a message", [frame(TEXT, "in time") + END + frame(TEXT, "late")], 1000
    yield "7 a close within a message", [frame(TEXT, "begun", fin=False) + END], None
    yield "7 a long reason", [close(1000, b"*" * 123)], 1000
    yield "7 a reason too long", [close(1000, b"*" * 124)], 1002
    yield "7 a reason that is no text", [close(1000, b"\xce\xba\xe1\xbd\xed\xa0\x80")], 1007
    yield "7 the end of the stream", [frame(TEXT, "bye"), None], None
    yield "7 the end within a frame", [frame(TEXT, "good bye")[:7], None], None
    yield "7 the end within a head", [frame(BINARY, b"x" * 70_000)[:3], None], None
    yield "7 the end at once", [None], None
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"7 code {code}", [close(code)], code
        yield f"7 code {code}, byte by byte", chopped(close(code, b"why"), 1), code
    for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"7 no code {code}", [close(code)], 1002


def limits(chance):
    for length in (64 << 10, 256 << 10, 1 << 20, MOST):
        yield f"9 text of {length}", [frame(TEXT, b"*" * length), END], 1000
        yield f"9 bytes of {length}", [frame(BINARY, chance.randbytes(length)), END], 1000
    for size in (64, 256, 4 << 10, 256 << 10):
        data = parts(b"*" * min(1 << 20, size << 10), size)
        yield f"9 a message in frames of {size}", [data, END], 1000
    for size in (64, 1024):
        yield f"9 a text of 64 KiB in pieces of {size}", chopped(frame(TEXT, b"*" * 65536) + END, size), 1000
    yield "9 one byte too many", [frame(BINARY, bytes(MOST + 1)), END], 1009
    yield "9 one byte too many in parts", [parts(bytes(MOST + 1), 1 << 20, BINARY), END], 1009
    yield "10 65536 in frames of 1300", [parts(b"*" * 65536, 1300), END], 1000
    yield "9 500 small messages", [b"".join(frame(BINARY, chance.randbytes(chance.randrange(200))) for _ in range(500)), END], 1000


def squeezed(compressor, payload):
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflated(chance):
    """Names begin with z: the handshake requests permessage-deflate."""
    texts = [bytes(chance.choice(b"abcdefg \n") for _ in range(length)) for length in (0, 16, 64, 256, 1024, 4096, 65536)]
    one = zlib.compressobj(9, zlib.DEFLATED, -15)
    yield "z12 messages that share their window", [b"".join(frame(TEXT, squeezed(one, text), rsv=4) for text in texts * 3), END], 1000
    for text in texts:
        for level in (1, 9):
            data = squeezed(zlib.compressobj(level, zlib.DEFLATED, -15), text)
            yield f"z12 {len(text)} at level {level}", [frame(TEXT, data, rsv=4), END], 1000
            yield f"z12 {len(text)} at level {level} in parts", chopped(parts(data, 31, rsv=4) + END, 700), 1000
    yield "z13 a message as it is", [frame(TEXT, "not compressed"), END], 1000
    yield "z13 the bit on a later part", [frame(TEXT, "x", fin=False) + frame(MORE, "y", rsv=4), END], 1002
    yield "z13 the bit on a ping", [frame(PING, "x", rsv=4), END], 1002
    yield "z13 no deflate at all", [frame(BINARY, b"\xff" * 40, rsv=4), END], None
    yield "z13 a bomb", [frame(BINARY, squeezed(zlib.compressobj(9, zlib.DEFLATED, -15), bytes(MOST + 1)), rsv=4), END], 1009
    yield "z13 no text inside", [frame(TEXT, squeezed(zlib.compressobj(9, zlib.DEFLATED, -15), b"\xed\xa0\x80"), rsv=4), END], 1007
    noise = chance.randbytes(1 << 20)
    yield "z12 noise", [frame(BINARY, squeezed(zlib.compressobj(1, zlib.DEFLATED, -15), noise), rsv=4), END], 1000


def anything(chance):
    """Random frames, some with a fault; then random bytes that are not frames."""
    for number in range(120):
        data = b""
        for _ in range(chance.randrange(1, 12)):
            act, payload = chance.random(), chance.randbytes(int(chance.paretovariate(0.6)) % 3000)
            if act < 0.5:
                data += frame(BINARY, payload, mask=chance.randbytes(4))
            elif act < 0.7:
                data += parts(payload or b"x", chance.randrange(1, 400), BINARY, between=frame(PING, payload[:125]) if act < 0.6 else b"")
            elif act < 0.8:
                data += frame(chance.choice((PING, PONG)), payload[:125])
            elif act < 0.97:
                data += frame(TEXT, "aü€😀" * chance.randrange(50), mask=chance.randbytes(4))
            else:
                data += frame(chance.randrange(16), payload, chance.random() < 0.5, chance.randrange(8))
        yield f"14 drawn {number}", chopped(data + END, chance.choice((3, 50, 1000, 1 << 20))), None
    for number in range(60):
        yield f"14 noise {number}", [chance.randbytes(chance.randrange(1, 2000)), None], None


def exchange(connect, authority, path, headers, name, pieces, limit=30):
    """All bytes after the answer's head until the server closes the connection, and how it closed."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {authority}", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *(f"{key}: {value}" for key, value in headers.items())]
    if name.startswith("z"):
        lines.append("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
    with connect() as wire:
        wire.settimeout(limit)
        wire.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            piece = wire.recv(65536)
            if not piece:
                return got, b"", "no answer"
            got += piece
        head, _, got = got.partition(b"\r\n\r\n")
        came, end = talk(wire, list(pieces), limit)
    return head, got + came, end


def talk(wire, pieces, limit):
    """Writes and reads at the same time in one thread: TLS objects do not support two."""
    wire.setblocking(False)
    pieces.reverse()
    came, deadline = [], time.monotonic() + limit
    while time.monotonic() < deadline:
        select.select([wire], [wire] if pieces else [], [], 0.5)
        try:
            while pieces:
                piece = pieces[-1]
                if piece is None:
                    wire.shutdown(socket.SHUT_WR)
                elif (sent := wire.send(piece)) < len(piece):
                    pieces[-1] = piece[sent:]
                    break
                pieces.pop()
        except LATER:
            pass
        except OSError:
            pieces.clear()  # a server may close the connection after an invalid frame
        try:
            while piece := wire.recv(1 << 18):
                came.append(piece)
            return b"".join(came), "end"
        except LATER:
            pass
        except OSError as error:
            # A reset after the last byte is an end as well.
            return b"".join(came), "end" if isinstance(error, ConnectionError) else repr(error)
    return b"".join(came), "silence"


def close_code(raw):
    """The code of the close frame in a server's frames."""
    while len(raw) >= 2:
        length, at = raw[1] & 0x7F, 2
        if length == 126:
            length, at = int.from_bytes(raw[2:4], "big"), 4
        elif length == 127:
            length, at = int.from_bytes(raw[2:10], "big"), 10
        if raw[0] & 15 == CLOSE:
            return int.from_bytes(raw[at : at + 2], "big") if length else 1005
        raw = raw[at + length :]
    return None


class Borders:
    """Splits a stream such that every byte of a frame's head is separate. Then the library's answer does not
    depend on how the bytes arrive."""

    def __init__(self):
        self.head, self.left = b"", 0

    def cut(self, data):
        while data:
            size = min(self.left, len(data)) or 1
            piece, data = data[:size], data[size:]
            if self.left:
                self.left -= size
            else:
                self.head += piece
                self.judge()
            yield piece

    def judge(self):
        if len(self.head) < 2:
            return
        length, extra = self.head[1] & 0x7F, 4 if self.head[1] & 0x80 else 0
        long = {126: 2, 127: 8}.get(length, 0)
        if len(self.head) == 2 + long + extra:
            self.left = int.from_bytes(self.head[2 : 2 + long], "big") if long else length
            self.head = b""


def echo(wire):
    extensions = [ServerPerMessageDeflateFactory()]
    protocol, borders, message, opcode, is_open = ServerProtocol(extensions=extensions, max_size=MOST), Borders(), [], None, False
    with wire:
        wire.settimeout(60)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := wire.recv(1 << 18):
                for piece in borders.cut(data) if is_open else [data]:
                    protocol.receive_data(piece)
                    for event in protocol.events_received():
                        if not is_open:
                            protocol.send_response(protocol.accept(event))
                            is_open = True
                        elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                            opcode = opcode if event.opcode is Opcode.CONT else event.opcode
                            message.append(event.data)
                            if event.fin and protocol.state is State.OPEN:
                                send = protocol.send_text if opcode is Opcode.TEXT else protocol.send_binary
                                whole, message = b"".join(message), []
                                if opcode is Opcode.TEXT:
                                    try:
                                        whole.decode()
                                    except UnicodeDecodeError:
                                        protocol.fail(1007, "no text")
                                        continue
                                send(whole)
                    say(wire, protocol)
            protocol.receive_eof()
            say(wire, protocol)
        except (OSError, InvalidState):
            pass


def say(wire, protocol):
    for data in protocol.data_to_send():
        if data:
            wire.sendall(data)
        else:
            wire.shutdown(socket.SHUT_WR)


def serve():
    """Runs the echo in threads; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def accept():
        while True:
            threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]
