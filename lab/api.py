"""The lab's own access to its API server: plain requests, as the administrator, from inside the namespace."""

from __future__ import annotations

import threading
from typing import Any

import requests

from lab.certificates import API, PKI
from lab.console import LabError

_threads = threading.local()


def call(method: str, path: str, body: object = None, *, accept: tuple[int, ...] = (), **query: str) -> Any:
    """The answer to a request, parsed.

    accept: status codes of 400 and above that are no error; their answer is returned like any other.
    Raises LabError for other errors that the API server reports, OSError when it cannot be reached.
    """
    if not hasattr(_threads, "session"):
        _threads.session = requests.Session()
        _threads.session.cert = (str(PKI / "admin.crt"), str(PKI / "admin.key"))
        _threads.session.verify = str(PKI / "ca.crt")
        _threads.session.trust_env = False
    headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else None
    answer = _threads.session.request(method, API + path, json=body, params=query, headers=headers, timeout=60)
    if answer.status_code >= 400 and answer.status_code not in accept:
        message = answer.json().get("message", answer.text) if "json" in answer.headers["Content-Type"] else answer.text
        raise LabError(f"The API server refused {method} {path}: {message}")
    return answer.json() if "json" in answer.headers.get("Content-Type", "") else answer.text
