"""A gRPC service with `grpcio`, and a client that tries the four kinds of calls. Messages are bytes, so no code has to
be generated.

  grpc_echo.py serve PORT [AUTHORITY CERTIFICATE KEY]     with the three: over TLS, for clients of that authority only
  grpc_echo.py check HOST:PORT [TOKEN]
"""

import pathlib
import sys
import threading
import time
from concurrent import futures

import grpc

SERVICE = "echo.Echo"
cancelled = threading.Event()


def unary(request, context):
    """Echoes the message, and the call's metadata as trailers."""
    told = dict(context.invocation_metadata())
    context.set_trailing_metadata((("seen-user", told.get("x-user-name", "")), ("blob-bin", told.get("blob-bin", b""))))
    if request.startswith(b"fail "):
        details = (("grpc-status-details-bin", b"\x08\x05\x12\x00"), ("why", "because"))
        context.set_trailing_metadata(details)
        context.abort(grpc.StatusCode[request[5:].decode()], "as you wish: ü")
    if request == b"slow":
        time.sleep(5)
    return request


def download(request, context):
    """Sends that many messages; `forever`: until the call is cancelled."""
    if request == b"forever":
        context.add_callback(cancelled.set)
        while context.is_active():
            yield b"tick"
            time.sleep(0.02)
        return
    if request == b"cancelled?":
        yield b"yes" if cancelled.wait(10) else b"no"
        return
    for number in range(int(request)):
        yield str(number).encode()


def upload(requests, _context):
    return str(sum(len(request) for request in requests)).encode()


def chat(requests, _context):
    for request in requests:
        yield request.upper()


def serve(port, files):
    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.max_receive_message_length", 1 << 24)])
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Download": grpc.unary_stream_rpc_method_handler(download),
        "Upload": grpc.stream_unary_rpc_method_handler(upload),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
    if files:
        authority, certificate, key = (pathlib.Path(file).read_bytes() for file in files)
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, certificate)], authority, True))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


def refused(call, code):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() is code, f"{error.code()} instead of {code}: {error.details()}"
        return error
    raise AssertionError(f"no {code}")


def check(target, token):
    with grpc.insecure_channel(target, options=[("grpc.max_receive_message_length", 1 << 24)]) as channel:
        check_by(channel, target, token)


def check_by(channel, target, token):
    metadata = (("authorization", f"Bearer {token}"), ("blob-bin", bytes(range(256)))) if token else (("blob-bin", bytes(range(256))),)
    call_unary = channel.unary_unary(f"/{SERVICE}/Unary")
    call_download = channel.unary_stream(f"/{SERVICE}/Download")
    call_upload = channel.stream_unary(f"/{SERVICE}/Upload")
    call_chat = channel.stream_stream(f"/{SERVICE}/Chat")

    for size in (0, 1, 16383, 16384, 65535, 1 << 20, 4 << 20):
        assert call_unary(b"x" * size, metadata=metadata, timeout=20) == b"x" * size, f"a message of {size}"
    _, call = call_unary.with_call(b"hello", metadata=metadata, timeout=20)
    trailers = dict(call.trailing_metadata())
    assert trailers["blob-bin"] == bytes(range(256)), "binary trailers"
    print("the service sees the user", repr(trailers["seen-user"]))

    for code in ("NOT_FOUND", "PERMISSION_DENIED", "UNAVAILABLE", "INTERNAL"):
        error = refused(lambda: call_unary(f"fail {code}".encode(), metadata=metadata, timeout=20), grpc.StatusCode[code])
        assert error.details() == "as you wish: ü", error.details()
        told = dict(error.trailing_metadata())
        assert told["grpc-status-details-bin"] == b"\x08\x05\x12\x00" and told["why"] == "because", told
    begin = time.monotonic()
    refused(lambda: call_unary(b"slow", metadata=metadata, timeout=0.5), grpc.StatusCode.DEADLINE_EXCEEDED)
    assert time.monotonic() - begin < 3, "the deadline is not kept"

    got = list(call_download(b"1000", metadata=metadata, timeout=20))
    assert got == [str(number).encode() for number in range(1000)], "a stream down"
    sent = (b"y" * 10_000 for _ in range(500))
    assert call_upload(sent, metadata=metadata, timeout=20) == b"5000000", "a stream up"
    said = threading.Semaphore(0)

    def talk():
        for number in range(50):
            yield f"word {number}".encode()
            said.acquire(timeout=20)  # the next message after the answer: none may be delayed

    for number, word in enumerate(call_chat(talk(), metadata=metadata, timeout=40)):
        assert word == f"WORD {number}".encode(), word
        said.release()

    forever = call_download(b"forever", metadata=metadata, timeout=60)
    assert next(forever) == b"tick"
    forever.cancel()
    told = list(call_download(b"cancelled?", metadata=metadata, timeout=20))
    assert told == [b"yes"], "a cancelled call goes on at the service"

    many = [call_unary.future(str(number).encode(), metadata=metadata, timeout=20) for number in range(200)]
    assert [call.result() for call in many] == [str(number).encode() for number in range(200)], "calls at once"
    print(f"gRPC at {target}: unary, streams, trailers, deadline and cancel as they must be")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3:])
    else:
        check(sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "")
