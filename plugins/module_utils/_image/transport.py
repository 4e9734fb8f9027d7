# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""HTTP with an end to everything: to connecting, to silence, to a whole answer, and to its size.

The requests library has no limit for a whole answer, follows redirects with what it finds in ~/.netrc, and keeps
cookies. So: its connections, proxies and certificates; nothing else goes out than what is given.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

try:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry
except ImportError as exc:
    MISSING: ImportError | None = exc
else:
    MISSING = None

_BUSY = (429, 500, 502, 503, 504)
_CHUNK = 65536


class TooSlowError(Exception):
    """No whole answer came in time; the text says in which."""


class TooLargeError(Exception):
    """The answer is larger than it may be; the text says how large that is."""


@dataclass(frozen=True)
class Limits:
    """Seconds: to connect, of silence, for one answer with all tries, and for all questions together."""

    connect: float = 10
    silence: float = 20
    answer: float = 60
    whole: float = 300


@dataclass(frozen=True)
class Answer:
    """What a server answered; `headers` are found in upper and lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Sends requests. They are counted together for `Limits.whole`."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._ends = clock() + limits.whole
        self._session = _session(limits)

    def send(
        self,
        url: str,
        headers: Mapping[str, str],
        most: int,
        form: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to a GET (to a POST of `form`), redirects not followed. most: bytes that its body may have.

        Raises TooSlowError, TooLargeError or requests.RequestException.
        """
        seconds = min(self._limits.answer, self._ends - self._clock())
        if seconds <= 0:
            raise TooSlowError(f"within {self._limits.whole:g} s in all")
        stop = threading.Event()
        outcome: list[Answer | BaseException] = []

        def ask() -> None:
            try:
                outcome.append(_ask(self._session, self._limits, url, headers, most, form, stop))
            except BaseException as exc:
                outcome.append(exc)

        # Name servers and the lines of an answer's head have no limit that could be set: the thread is left to itself.
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(seconds)
        if not outcome:
            stop.set()
            self._session = _session(self._limits)
            raise TooSlowError(f"within {seconds:.3g} s")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]


def _ask(
    session: requests.Session,
    limits: Limits,
    url: str,
    headers: Mapping[str, str],
    most: int,
    form: Mapping[str, str] | None,
    stop: threading.Event,
) -> Answer:
    with session.request(
        "GET" if form is None else "POST",
        url,
        headers={"Accept-Encoding": "identity", "User-Agent": "portal.stt", **headers},
        data=form,
        auth=_nothing_else,
        allow_redirects=False,
        stream=True,
        timeout=(limits.connect, limits.silence),
    ) as response:
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > most:
                raise TooLargeError(f"more than {most // 1024} KiB")
            if stop.is_set():
                break
        return Answer(url, response.status_code, response.headers, bytes(body))


def _nothing_else(request: Any) -> Any:
    """In place of a login: without one, requests would look for it in ~/.netrc."""
    return request


def _session(limits: Limits) -> requests.Session:
    session = requests.Session()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    retry = Retry(
        total=3,
        connect=1,
        read=1,
        backoff_factor=min(0.5, limits.answer / 20),
        status_forcelist=_BUSY,
        respect_retry_after_header=False,
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session
