#!/usr/bin/env python3
"""A walk through the bank over HTTP, with nothing but the standard library.

    export STEADFAST_TOKEN=$(steadfast token --user luis)
    python3 examples/walk.py
"""

import json
import os
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("STEADFAST_URL", "http://127.0.0.1:7400")
TOKEN = os.environ["STEADFAST_TOKEN"]


def call(method, path, body=None, key=None, wait=None):
    """One request, sent again while the server says that it may succeed later.

    With an idempotency key that is safe for everything, also after a broken connection.
    """
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    if wait:
        headers["Prefer"] = f"wait={wait}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{URL}/api/v1{path}", data, headers, method=method)
    for attempt in range(5):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            problem = json.loads(error.read())
            if not problem["retryable"]:
                return error.code, problem
            pause = int(error.headers.get("Retry-After", 1))
        except urllib.error.URLError:
            pause = 2**attempt
        time.sleep(pause)
    raise SystemExit("no answer")


def main():
    _, accounts = call("GET", "/bank/accounts")
    for account in accounts["items"]:
        print(account["id"], account["balance"])

    key = str(uuid.uuid4())
    payment = {"to": "ana", "amount": {"minor": 5_000, "currency": "MXN"}}
    first = call("POST", "/bank/transfers", payment, key)
    again = call("POST", "/bank/transfers", payment, key)
    assert first == again, (first, again)
    print("paid once, and asked twice: the same answer", first)

    payment["amount"]["minor"] = 10**12
    status, problem = call("POST", "/bank/transfers", payment, str(uuid.uuid4()))
    assert problem["code"] == "insufficient_funds", problem
    print("more than there is:", status, problem["detail"])

    order = {"product": "miel-azahar", "quantity": 2}
    status, run = call("POST", "/bank/purchases", order, str(uuid.uuid4()), wait=10)
    print("bought:", status, run["status"], run["id"])
    _, story = call("GET", f"/runs/{run['id']}/explain")
    for line in story["story"]:
        print(" ", line["at"], line["what"], line["text"])


if __name__ == "__main__":
    main()
