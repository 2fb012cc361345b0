"""Does gRPC work through Sidegate? grpcio on both sides: HTTP/2 in clear text and over TLS, `h2c://` to the service and
`https://` with a client certificate.

  grpc_behind.py SIDEGATE
"""

import pathlib
import sys
import tempfile
import threading
import time

import gate as gates
import grpc
import grpc_echo
from gate import expect

SOON = 1.0
RULES = """
[[rule]]
path = "/echo.Echo/Admin"
access = "user"
roles = ["admin"]
[[rule]]
path = "/echo.Echo/Chat"
methods = ["GET"]
access = "deny"
"""


def channel_to(gate, certificate):
    options = [("grpc.max_receive_message_length", 1 << 24), ("grpc.enable_retries", 0)]
    if certificate is None:
        return grpc.insecure_channel(gate.authority, options=options)
    roots = grpc.ssl_channel_credentials(pathlib.Path(certificate[0]).read_bytes())
    return grpc.secure_channel(gate.authority, roots, options=options)


def shown(person):
    return (("authorization", f"Bearer {person.access}"),)


def code_of(call):
    try:
        call()
        return grpc.StatusCode.OK
    except grpc.RpcError as error:
        return error.code()


def refused(gate, channel):
    """Refused calls get a gRPC status."""
    unary, admin = (channel.unary_unary(f"/{grpc_echo.SERVICE}/{name}") for name in ("Unary", "Admin"))
    chat = channel.stream_stream(f"/{grpc_echo.SERVICE}/Chat")
    ann, root = shown(gate.login("ann")), shown(gate.login("root"))
    for what, call, wanted in (
        ("no token", lambda: unary(b"x", timeout=20), "UNAUTHENTICATED"),
        ("a bad token", lambda: unary(b"x", metadata=(("authorization", "Bearer no.token.this"),), timeout=20), "UNAUTHENTICATED"),
        ("no token on a stream", lambda: list(chat(iter([b"x"]), timeout=20)), "UNAUTHENTICATED"),
        ("a wrong role", lambda: admin(b"x", metadata=ann, timeout=20), "PERMISSION_DENIED"),
        ("the right role, an unknown method", lambda: admin(b"x", metadata=root, timeout=20), "UNIMPLEMENTED"),
        ("a deadline that is over", lambda: unary(b"slow", metadata=ann, timeout=0), "DEADLINE_EXCEEDED"),
        ("a deadline of 50 ms", lambda: unary(b"slow", metadata=ann, timeout=0.05), "DEADLINE_EXCEEDED"),
        ("a deadline on a stream", lambda: list(channel.unary_stream(f"/{grpc_echo.SERVICE}/Download")(b"forever", metadata=ann, timeout=1)), "DEADLINE_EXCEEDED"),
    ):
        got = code_of(call)
        expect(got is grpc.StatusCode[wanted], f"{gate.base}: {what}: {got}, not {wanted}")


def forged(gate, channel):
    """A forged identity is removed, and the real one arrives."""
    unary = channel.unary_unary(f"/{grpc_echo.SERVICE}/Unary")
    claims = (("x-user-name", "evil"), ("x_user_name", "evil"))
    _, call = unary.with_call(b"x", metadata=(*shown(gate.login("ann")), *claims), timeout=20)
    seen = dict(call.trailing_metadata())["seen-user"]
    expect(seen == "ann", f"{gate.base}: the service sees {seen}")


def lives(gate, channel):
    """A refresh cuts no stream. A log-out ends the streams of its session and of no other."""
    person, other = gate.login(), gate.login()
    download = channel.unary_stream(f"/{grpc_echo.SERVICE}/Download")
    chat = channel.stream_stream(f"/{grpc_echo.SERVICE}/Chat")
    stream = download(b"forever", metadata=shown(person), timeout=60)
    untouched = download(b"forever", metadata=shown(other), timeout=60)
    over = threading.Event()

    def silent():
        yield b"hello"
        over.wait(30)

    quiet = chat(silent(), metadata=shown(person), timeout=60)
    expect(next(quiet) == b"HELLO" and next(stream) == b"tick" and next(untouched) == b"tick", "the streams begin")
    gates.until(lambda: person.open_streams() == 2, f"{gate.base}: openStreams counts two")
    person.refresh()
    for _ in range(20):
        expect(next(stream) == b"tick", f"{gate.base}: a refresh cuts a stream")
    began = person.logout()
    took = []
    for what, call in (("a stream that speaks", stream), ("a stream that is silent", quiet)):
        code = code_of(lambda call=call: list(call))
        took.append(time.monotonic() - began)
        expect(code is grpc.StatusCode.UNAUTHENTICATED, f"{gate.base}: {what} ends with {code}: {call.details()}")
        expect(took[-1] < SOON, f"{gate.base}: {what} ends after {took[-1]:.2f} s")
    over.set()
    for _ in range(20):
        expect(next(untouched) == b"tick", f"{gate.base}: another session's stream is cut")
    untouched.cancel()
    gates.until(lambda: other.open_streams() == 0, f"{gate.base}: a cancelled stream is not open")
    print(f"{gate.base}: {1000 * max(took):.0f} ms from the log-out to UNAUTHENTICATED")


def down(gate, channel):
    unary = channel.unary_unary(f"/{grpc_echo.SERVICE}/Unary")
    code = code_of(lambda: unary(b"x", metadata=shown(gate.login()), timeout=20))
    expect(code is grpc.StatusCode.UNAVAILABLE, f"{gate.base}: without the service: {code}")


def main():
    program, port = sys.argv[1], gates.free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        tls = gates.certificate(folder)
        upstream = gates.authority(folder)
        serve = [sys.executable, grpc_echo.__file__, "serve", str(port)]
        secured = [*serve, upstream.ca, *upstream.server]
        h2c, https = f"h2c://127.0.0.1:{port}", f"https://localhost:{port}"
        for kind, certificate, url, words in (("plain", None, h2c, serve), ("tls", tls, h2c, serve), ("secured", tls, https, secured)):
            more = upstream.more() if url is https else ""
            gate = gates.Gate(program, folder / kind, url, certificate, RULES + more)
            print(f"the service at {url}:")
            with gate.serve():
                for user, role in (("ann", "user"), ("root", "admin")):
                    gate.add(user, role)
                with channel_to(gate, certificate) as channel:
                    with gates.running("the service", words, port):
                        began = time.monotonic()
                        grpc_echo.check_by(channel, gate.base, gate.login().access)
                        print(f"   in {time.monotonic() - began:.1f} s")
                        refused(gate, channel)
                        forged(gate, channel)
                        lives(gate, channel)
                    down(gate, channel)
                with gates.running("the service", words, port), channel_to(gate, certificate) as channel:
                    unary = channel.unary_unary(f"/{grpc_echo.SERVICE}/Unary")
                    code = code_of(lambda: unary(b"x", metadata=shown(gate.login()), timeout=20))
                    expect(code is grpc.StatusCode.OK, f"{gate.base}: the service is back: {code}")
    return gates.verdict()


if __name__ == "__main__":
    sys.exit(main())
