"""Logs in for schemathesis, so that generated requests reach the routes that need a caller.

Some generated requests end their own session. So the token is renewed every two seconds. In between, a 401 is a
documented answer.
"""

import json
import os
import urllib.request

import schemathesis


@schemathesis.auth(refresh_interval=2)
class Login:
    def get(self, case, context):
        body = {"identifier": "prober", "password": "correct horse battery"}
        request = urllib.request.Request(
            os.environ["SIDEGATE_BASE"] + "/auth/login",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=15) as answer:
            return json.load(answer)["accessToken"]

    def set(self, case, data, context):
        if case.operation.definition.raw.get("security"):
            case.headers = case.headers or {}
            case.headers["Authorization"] = f"Bearer {data}"
