"""A Jupyter server and a client of its kernels: REST to start one, a WebSocket to run code.

  jupyter.py serve PORT FOLDER
  jupyter.py check http://HOST:PORT [TOKEN]

The server has no password: Sidegate in front of it does the log-in.
"""

import datetime
import json
import os
import sys
import urllib.request
import uuid

HERE = "127.0.0.1"


def serve(port, folder):
    words = [
        sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", f"--ServerApp.ip={HERE}", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=", "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True", "--ServerApp.allow_remote_access=True", "--ServerApp.allow_origin=*",
    ]
    places = {name: os.path.join(folder, name.lower()) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    os.execve(sys.executable, words, {**os.environ, **places, "IPYTHONDIR": os.path.join(folder, "ipython")})


def message(session, kind, content):
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    header = {"msg_id": uuid.uuid4().hex, "session": session, "username": "", "date": now, "msg_type": kind, "version": "5.3"}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell", "buffers": []}


def check(base, headers, context=None, dial=lambda: None):
    from websockets.sync.client import connect

    def rest(method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(base + path, data, {**headers, "Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(asked, timeout=60, context=context) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    kernel = rest("POST", "/api/kernels", {"name": "python3"})["id"]
    session = uuid.uuid4().hex
    url = f"ws://{base.split('://')[1]}/api/kernels/{kernel}/channels?session_id={session}"
    code = "for n in range(3):\n    print('line', n, flush=True)\n6 * 7"
    asked = message(session, "execute_request", {"code": code, "silent": False, "store_history": True, "allow_stdin": False})
    printed, result = "", None
    with connect(url, additional_headers=headers, sock=dial(), proxy=None, open_timeout=60, max_size=1 << 24) as wire:
        wire.send(json.dumps(asked))
        while True:
            heard = json.loads(wire.recv(60))
            if heard["parent_header"].get("msg_id") != asked["header"]["msg_id"]:
                continue
            kind, content = heard["msg_type"], heard["content"]
            if kind == "stream":
                printed += content["text"]
            elif kind == "execute_result":
                result = content["data"]["text/plain"]
            elif kind == "status" and content["execution_state"] == "idle":
                break
    rest("DELETE", f"/api/kernels/{kernel}")
    assert printed == "line 0\nline 1\nline 2\n", printed
    assert result == "42", result
    print(f"Jupyter at {base}: a kernel started, counted to 42 over its WebSocket, and ended")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]), sys.argv[3])
    else:
        check(sys.argv[2], {"Authorization": f"Bearer {sys.argv[3]}"} if len(sys.argv) > 3 else {})
