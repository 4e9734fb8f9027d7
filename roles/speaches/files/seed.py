#!/usr/bin/env python3
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts models onto a volume, in the Hugging Face hub's cache layout, each at one pinned revision.

Runs in the seed Job, with the Python of the speech server's own image (standard library; certifi's certificates
where they are). The server may read the same volume meanwhile.

Whatever answers as the hub is not believed: its description is bounded and every value of it checked, a download
ends where the file does, redirects stay on HTTP and carry no token elsewhere, and nothing is written but below
models--ORG--NAME, under names that were checked.

Environment:
  SEED_MODELS    JSON list of {"model": "org/name", "revision": commit, branch, tag or null,
                 "local": path or absent}.
  HF_HUB_CACHE   the cache on the volume (default /data/hub).
  HF_ENDPOINT    the hub (default https://huggingface.co).
  HF_TOKEN       token for gated and private models; never printed.
  SEED_CA        file with certificates (PEM) that are trusted beside the public ones, such as a proxy's.
  SEED_RESULT    where the result goes as JSON (default /dev/termination-log).

Result: {"models": [{"model", "revision", "status": "present" | "downloaded" | "imported",
"bytes_downloaded"}]}, and after a failure also "error", "cause", "remedy", "code" and "again": whether another
try can help when nobody changes anything. At most 4096 bytes, which is what the kubelet keeps of it.

What it guarantees:
  * Nothing is written, and the hub is not asked, when refs/main names the wanted revision and every file has
    its recorded digest. The record (models--ORG--NAME/portal-stt.json) holds size and digest of every file of
    every revision that was seeded, and what an unset revision, a branch or a tag resolved to: that is asked
    of the hub once. To move on, pin another revision. To go back, pin the old one: its files are still there.
  * A file gets its name under blobs/ only after it was read back and its digest found right (sha256 of large
    files, git's blob sha1 of the others). A snapshot folder appears whole, by rename; refs/main is replaced
    last, by rename. So a server never sees a half model, and never a broken link; nor does it see a model that
    has no snapshot yet, because the folder for them comes with the first.
  * A download that was cut off goes on where it stopped (blobs/DIGEST.incomplete).
  * A lock file with a heartbeat keeps a second run waiting, to save bandwidth. What the server gets does not
    depend on it: two runs would write the same bytes at the same places, or one of them would have to be run
    again because the other has swept its partial files away. Locks of the file system, which hang on some NFS
    mounts, are not used.

"local" takes a folder or an archive (tar, also compressed, or zip) that lies on the volume, at any depth a
folder with model.bin. It becomes a snapshot whose revision is the digest of its content; the import may be
removed afterwards.

Exit status: 0 done; 2 bad SEED_MODELS; 10 hub unreachable; 11 token refused or model gated; 12 no such model;
13 no such revision; 14 hub answers with an error; 20 volume full; 21 volume read-only; 22 wrong owner or
mode; 23 I/O error of the volume; 30 digest mismatch; 31 not a model the server can load; 32 import missing or
unreadable; 70 a defect of this script; 143 stopped.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fnmatch
import functools
import hashlib
import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import ssl
import stat
import struct
import sys
import tarfile
import threading
import time
import urllib.parse
import urllib.request
import uuid
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

PATTERNS = (
    "README.md",
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
)
"""What Speaches v0.9.0-rc.3 downloads (executors/whisper.py); a repository may hold more."""

NEEDED = ("README.md", "config.json", "model.bin", "tokenizer.json", "vocabulary.*")
"""Without the card it answers 500, without tokenizer.json faster-whisper asks the hub for another one."""

CARD = ("ctranslate2", "automatic-speech-recognition")
"""What the card has to name for the server to list the model (hf_utils.py, HfModelFilter)."""

UNSET = "main"
MB = 1_000_000
CHUNK = 1 << 20
TICK_S = 2.0
QUIET_S = 20.0
BEAT_S = 5.0
STALE_S = 30.0
TIMEOUT_S = 10
TRIES = 3
REDIRECTS = 5
DESCRIPTION = 4_000_000
"""Bytes of a model's description by the hub: 10,000 files and more."""
DESCRIPTION_S = 60
HEADERS_S = 60
"""From the connection to the end of an answer's headers, however they come."""
TRICKLE, TRICKLE_S = 1_000_000, 300
"""A download that brings less than so many bytes in so many seconds is given up."""
LARGEST, LARGEST_TEXT = 1 << 36, 1 << 26
"""Bytes of model.bin, and of any other file: Whisper large has 6 GB in float32, and 3 MB of tokenizer."""
NEWEST_FORMAT = 6
"""The version of CTranslate2's binary format up to 4.5; a newer one is left to the server to judge."""
WIDTHS = (4, 1, 2, 4, 2, 2)
"""Bytes of CTranslate2's data types by number: float32, int8, int16, int32, float16, bfloat16 (types.h)."""
KINDS = (
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file (git lfs pull brings it)"),
    (b"<", "a web page or XML"),
    (b"PK\x03\x04", "a zip archive, as PyTorch saves its models, not in CTranslate2's format"),
    (b"lmgg", "in whisper.cpp's format, not in CTranslate2's"),
    (b"GGUF", "in whisper.cpp's format, not in CTranslate2's"),
)
"""What lies in a model's place now and then, by its first bytes."""
BARE = ("tokenizer.json", "preprocessor_config.json")
"""Read by serde_json and by Python's json as UTF-8, which take no byte order mark."""
RESULT = 4096
MODELS_RESULT = 3000
"""Of the bytes of a result, those for the models; the rest is for what went wrong."""
AGAIN = (10, 23, 30, 70, 143)
"""Exit statuses after which another try can help, beside a passing 14."""


class Fault(Exception):
    """What stopped the seeding: what happened and where, why, what to do, and the exit status."""

    def __init__(self, code: int, error: str, cause: str, remedy: str, *, passing: bool = False) -> None:
        super().__init__(error)
        self.code, self.error, self.cause, self.remedy, self.passing = code, error, cause, remedy, passing

    @property
    def again(self) -> bool:
        """Whether another try can help when nobody changes anything."""
        return self.passing or self.code in AGAIN


@dataclass(frozen=True)
class Wanted:
    """A model to have on the volume."""

    model: str
    revision: str | None = None
    local: str | None = None


@dataclass(frozen=True)
class File:
    """A file of a snapshot. `digest` is its sha256 (64 hex digits) or git's blob sha1 (40)."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True)
class Snapshot:
    """A revision with its files."""

    revision: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Result:
    """What became of one model; `bytes_downloaded` counts bytes that came from the hub."""

    model: str
    revision: str
    status: str
    bytes_downloaded: int


def say(line: str) -> None:
    print(f"seed: {_plain(line)}", flush=True)


def _plain(text: str) -> str:
    """The text in one line, without characters that do something to a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def main(env: Mapping[str, str]) -> int:
    """Exit status, after every wanted model is on the volume or the first fault is reported."""
    results: list[Result] = []
    fault: Fault | None = None
    token = env.get("HF_TOKEN", "").strip()
    os.umask(0o022)
    signal.signal(signal.SIGTERM, _stopped)
    try:
        cache = Path(env.get("HF_HUB_CACHE") or "/data/hub")
        hub = Hub(env.get("HF_ENDPOINT") or "https://huggingface.co", token, env.get("SEED_CA", ""))
        hub.check()
        for wanted in wanted_models(env.get("SEED_MODELS", "")):
            results.append(seed(wanted, cache, hub))
    except Fault as stopped:
        fault = stopped
    except Exception as defect:
        where = defect.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        line = where.tb_lineno if where else 0
        fault = Fault(
            70,
            f"The seed script met what it does not know: {type(defect).__name__}: {defect} (line {line}).",
            "This is a defect of the script.",
            "Report it with this line.",
        )
    _report(results, fault, token, Path(env.get("SEED_RESULT") or "/dev/termination-log"))
    return fault.code if fault else 0


def wanted_models(text: str) -> list[Wanted]:
    """The models that SEED_MODELS asks for; raises Fault (2) where it is not what it should be."""
    try:
        wanted = [_entry(entry) for entry in json.loads(text)]
        if not wanted:
            raise ValueError("no entry")
        if len({one.model.lower() for one in wanted}) < len(wanted):
            raise ValueError("a model twice")
        if sum(len(one.model) + 130 for one in wanted) > MODELS_RESULT:
            raise ValueError(f"{len(wanted)} models are more than a result can tell of")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Fault(
            2,
            "SEED_MODELS is not a list of models.",
            f"{type(error).__name__}: {_first_line(error)}.",
            'Write it as [{"model": "org/name", "revision": "commit or null"}].',
        ) from error
    return wanted


def _entry(entry: Any) -> Wanted:
    """An entry of SEED_MODELS. Names become folders, so they have no way out of them."""
    model, revision, local = entry["model"], entry.get("revision") or None, entry.get("local") or None
    right = (
        set(entry) <= {"model", "revision", "local"}
        and re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", model, re.ASCII)
        and "--" not in model
        and (revision is None or (re.fullmatch(r"\w[\w./-]{0,199}", revision, re.ASCII) and ".." not in revision))
        and (local is None or (local.startswith("/") and local.isprintable() and ".." not in local.split("/")))
    )
    if not right:
        raise ValueError(f"bad entry {json.dumps(entry)}")
    return Wanted(model, revision, local)


def seed(wanted: Wanted, cache: Path, hub: Hub) -> Result:
    """What became of the wanted model, which is on the volume and served from refs/main afterwards.

    Raises Fault.
    """
    repo = cache / ("models--" + wanted.model.replace("/", "--"))
    with _volume(repo):
        _heal(cache)
        known = _known(repo, wanted)
        if known and _served(repo, known, wanted.model):
            _check_model(wanted.model, repo, known.files)
            say(f"{wanted.model}: present at {known.revision}, {len(known.files)} files; nothing to do")
            return Result(wanted.model, known.revision, "present", 0)
        (repo / "blobs").mkdir(parents=True, exist_ok=True)
        with _lock(repo / "portal-stt.lock", wanted.model):
            known = _known(repo, wanted)
            if known and _served(repo, known, wanted.model):
                say(f"{wanted.model}: present at {known.revision}; another run put it there")
                return Result(wanted.model, known.revision, "present", 0)
            if known is None and wanted.local:
                return _import(wanted, repo)
            return _fetch(wanted, known, repo, hub)


# ---- from the hub


def _fetch(wanted: Wanted, known: Snapshot | None, repo: Path, hub: Hub) -> Result:
    started = time.monotonic()
    try:
        snapshot = known or hub.snapshot(wanted.model, wanted.revision)
    except Fault as fault:
        adopted = _adopt(wanted, repo) if fault.passing else None
        if not adopted:
            raise
        return adopted
    _check_names(wanted.model, [file.name for file in snapshot.files], f"revision {snapshot.revision}")
    _sweep(repo, snapshot.files)
    if known is None:
        _record(repo, snapshot, wanted.revision or UNSET)
        how = "" if wanted.revision == snapshot.revision else f" (what {wanted.revision or 'unset'} is now)"
        say(f"{wanted.model}: revision {snapshot.revision}{how}, recorded on the volume")
    progress = _progress(wanted.model, snapshot.files)
    with _every(TICK_S, progress.print):
        missing = [file for file in snapshot.files if not progress.kept(repo / "blobs" / file.digest, file)]
        if missing and wanted.local:
            if Path(wanted.local).exists():
                return _import(wanted, repo)
            raise Fault(
                32,
                f"{wanted.model}: {missing[0].name} on the volume is damaged, and {wanted.local} is gone.",
                "A file imported from a local copy can only be repaired from it.",
                "Put the folder or archive back and run again.",
            )
        _check_room(repo, wanted.model, missing)
        # The card first: it says whether the server can use the rest.
        for file in sorted(missing, key=lambda file: (file.name != "README.md", file.size)):
            _obtain(hub, wanted.model, snapshot.revision, repo, file, progress)
            if file.name == "README.md":
                _check_card(wanted.model, repo / "blobs" / file.digest)
    _check_model(wanted.model, repo, snapshot.files)
    _publish(repo, snapshot)
    seconds = time.monotonic() - started
    say(
        f"{wanted.model}: {snapshot.revision} is complete: {len(snapshot.files)} files verified, "
        f"{progress.received / MB:.1f} MB downloaded in {seconds:.0f} s"
    )
    return Result(wanted.model, snapshot.revision, "downloaded", progress.received)


def _adopt(wanted: Wanted, repo: Path) -> Result | None:
    """Takes over what the hub's own library has left on the volume, where that is whole; None where it is not."""
    snapshot = _linked(wanted, repo)
    if snapshot is None:
        return None
    progress = _progress(wanted.model, snapshot.files)
    with _every(TICK_S, progress.print):
        if not all(progress.kept(repo / "blobs" / file.digest, file) for file in snapshot.files):
            return None
    try:
        _check_names(wanted.model, [file.name for file in snapshot.files], f"revision {snapshot.revision}")
        _check_model(wanted.model, repo, snapshot.files)
    except Fault as unfit:
        say(unfit.error)
        return None
    _record(repo, snapshot, wanted.revision or UNSET)
    _publish(repo, snapshot)
    say(f"{wanted.model}: {snapshot.revision} is on the volume, {len(snapshot.files)} files verified; now recorded")
    return Result(wanted.model, snapshot.revision, "present", 0)


def _linked(wanted: Wanted, repo: Path) -> Snapshot | None:
    """The snapshot in the hub's cache layout: each file a link to a blob whose name is its digest."""
    try:
        revision = wanted.revision or UNSET
        if not _is_hex(revision, 40):
            revision = (repo / "refs" / revision).read_text().strip()
        if not _is_hex(revision, 40):
            return None
        blobs = (repo / "blobs").resolve()
        entries: list[Mapping[str, object]] = []
        for path in sorted((repo / "snapshots" / revision).iterdir()):
            blob = path.resolve()
            if _is_wanted(path.name) and blob.parent == blobs:
                entries.append({"name": path.name, "size": blob.stat().st_size, "digest": blob.name})
        return Snapshot(revision, _checked(entries))
    except (OSError, UnicodeError, NoHub):
        return None


def _obtain(hub: Hub, model: str, revision: str, repo: Path, file: File, progress: Progress) -> None:
    blob = repo / "blobs" / file.digest
    partial = blob.with_name(f"{file.digest}.incomplete")
    for _ in range(2):  # a partial file from before may be bad: once more from its start
        _download(hub, model, revision, partial, file, progress)
        if _intact(partial, file, progress):
            os.replace(partial, blob)
            progress.finish(file)
            return
        partial.unlink()
    raise Fault(
        30,
        f"{model}: {file.name} of revision {revision} does not have the digest that the hub states.",
        f"Downloaded twice from {hub.endpoint}, expected {file.digest}, got other bytes.",
        "Something between the hub and the volume alters data (a proxy, a mirror, a bad disk); nothing was "
        "changed for the server. Try again from another network or with another HF_ENDPOINT.",
    )


def _download(hub: Hub, model: str, revision: str, partial: Path, file: File, progress: Progress) -> None:
    failures, furthest = 0, -1
    while True:
        size = partial.stat().st_size if partial.exists() else 0
        if size > file.size:  # a server that ignores ranges sent the whole file once more
            partial.unlink()
            size = 0
        if size and furthest < 0:
            say(f"{model}: {file.name}: {size / MB:.1f} of {file.size / MB:.1f} MB are here already")
        furthest = max(furthest, size)
        with open(os.open(partial, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as target:
            try:
                hub.fetch(model, revision, file, Sink(target, partial, progress, size), size)
                os.fsync(target.fileno())
                return
            except Fault as fault:
                here = min(target.seek(0, os.SEEK_END), file.size)
                failures = 1 if here > furthest else failures + 1
                # Where no byte came, the library has tried for a while itself.
                if not fault.passing or failures >= TRIES or (fault.code == 10 and here == size):
                    if fault.passing and here:
                        fault.remedy += f" {here / MB:.1f} of {file.size / MB:.1f} MB of {file.name} stay."
                    raise
                furthest = max(furthest, here)
                say(f"{model}: {fault.error} Trying again.")
                time.sleep(2 ** (failures - 1))


class Sink:
    """The file that a download goes to: counts what arrives, and makes faults of the volume known."""

    def __init__(self, target: IO[bytes], path: Path, progress: Progress, start: int) -> None:
        self.target, self.path, self.progress = target, path, progress
        self.seek(start)

    def write(self, data: bytes) -> None:
        with _volume(self.path):
            view = memoryview(data)
            while view:
                view = view[self.target.write(view) :]
        self.progress.part += len(data)
        self.progress.received += len(data)

    def seek(self, offset: int) -> int:
        self.progress.part = self.target.seek(offset)
        return self.progress.part


class NoHub(ValueError):
    """What answers is not what a hub says; the message is the end of a sentence about it."""


class Trickle(OSError):
    """A download that would never end; trying again at once would go on with it."""


class Denied(Exception):
    """The hub's answer is not the thing asked for: its status, and its own name for the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.reason = status, reason


class Hub:
    """The hub, asked with the standard library, so that whatever answers is kept within bounds: how much is read of
    it, nothing unpacked, where it may redirect to, and the token goes to the hub's own address alone."""

    def __init__(self, endpoint: str, token: str, ca: str = "") -> None:
        self.endpoint, self.token, self.ca = endpoint.rstrip("/"), token, ca
        self._made: urllib.request.OpenerDirector | None = None

    def check(self) -> None:
        """Raises Fault for an address or a token that cannot be one."""
        try:
            right = bool(re.match(r"https?://[^/]", self.endpoint)) and _origin(self.endpoint) is not None
        except ValueError:
            right = False
        if not right:
            raise Fault(
                2,
                f"HF_ENDPOINT is not an address of a hub: {re.sub('//.*@', '//***@', self.endpoint)}.",
                "It has to begin with http:// or https://.",
                "Leave it unset for https://huggingface.co.",
            )
        if self.token and not re.fullmatch(r"[!-~]+", self.token):
            raise Fault(
                11,
                "HF_TOKEN holds white space, or a character that no header can carry.",
                "It is no token of a hub.",
                "Correct the token in its Secret.",
            )

    def snapshot(self, model: str, revision: str | None) -> Snapshot:
        """The files of a revision (a commit, branch or tag; None: the default branch) that the server needs."""
        url = f"{self.endpoint}/api/models/{model}"
        if revision:
            url += f"/revision/{urllib.parse.quote(revision, safe='')}"
        for attempt in range(1, TRIES + 1):
            try:
                with self._explained(model, revision):
                    return _described(self._read(f"{url}?blobs=true"), model, revision, self.endpoint)
            except Fault as fault:
                if not fault.passing or attempt == TRIES:
                    raise
                say(f"{model}: {fault.error} Trying again.")
                time.sleep(2 ** (attempt - 1))
        raise AssertionError("not reached")

    def fetch(self, model: str, revision: str, file: File, sink: Sink, start: int) -> None:
        """Writes the file's bytes from `start` on to the sink, which stands there; never more than the file has."""
        if start >= file.size:
            return
        url = f"{self.endpoint}/{model}/resolve/{urllib.parse.quote(revision, safe='')}/{file.name}"
        with self._explained(model, revision), self._open(url, start) as answer:
            if answer.status == http.HTTPStatus.OK:
                start = sink.seek(0)
            elif not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
                raise NoHub("it sends another part of the file than was asked for")
            left, since, before = file.size - start, time.monotonic(), 0
            while left and (chunk := answer.read1(min(CHUNK, left))):
                sink.write(chunk)
                left -= len(chunk)
                before += len(chunk)
                if before >= TRICKLE:
                    since, before = time.monotonic(), 0
                elif time.monotonic() - since > TRICKLE_S:
                    raise Trickle
            if left:
                raise ConnectionAbortedError("Consistency")

    def _read(self, url: str) -> bytes:
        """The body of a description."""
        end = time.monotonic() + DESCRIPTION_S
        body = bytearray()
        with self._open(url) as answer:
            while chunk := answer.read1(CHUNK):
                body += chunk
                if len(body) > DESCRIPTION:
                    raise NoHub(f"its description of the model is longer than {DESCRIPTION / MB:.0f} MB")
                if time.monotonic() > end:
                    raise NoHub(f"its description of the model has no end after {DESCRIPTION_S} s")
        return bytes(body)

    @contextlib.contextmanager
    def _open(self, url: str, start: int = 0) -> Iterator[http.client.HTTPResponse]:
        """The answer to GET, with status 200 or, from the byte `start` on, 206. Raises Denied."""
        ours = _origin(url)
        for _ in range(REDIRECTS + 1):
            request = urllib.request.Request(url, headers={"User-Agent": "portal.stt", "Accept-Encoding": "identity"})
            if start:
                request.add_header("Range", f"bytes={start}-")
            if self.token and _origin(url) == ours:
                request.add_header("Authorization", f"Bearer {self.token}")
            with _within(HEADERS_S):
                opened = self._opener().open(request, timeout=TIMEOUT_S)
            with contextlib.closing(opened) as answer:
                if answer.status in (200, 206 if start else 200):
                    yield answer
                    return
                if answer.status not in (301, 302, 303, 307, 308):
                    raise Denied(answer.status, _reason(answer))
                url = _redirected(url, answer.headers.get("Location") or "")
        raise NoHub(f"it redirects more than {REDIRECTS} times")

    def _opener(self) -> urllib.request.OpenerDirector:
        """HTTP and HTTPS, by the environment's proxies; no other scheme, and no redirect that is not looked at."""
        if not self._made:
            trusted = ssl.create_default_context()
            with contextlib.suppress(ImportError):
                import certifi

                trusted.load_verify_locations(certifi.where())
            if self.ca:
                trusted.load_verify_locations(self.ca)
            self._made = urllib.request.OpenerDirector()
            for handler in (
                urllib.request.ProxyHandler(),
                urllib.request.UnknownHandler(),
                urllib.request.HTTPHandler(),
                urllib.request.HTTPSHandler(context=trusted),
            ):
                self._made.add_handler(handler)
        return self._made

    @contextlib.contextmanager
    def _explained(self, model: str, revision: str | None) -> Iterator[None]:
        try:
            yield
        except Denied as denied:
            raise self._denied(model, revision, denied) from denied
        except (OSError, http.client.IncompleteRead) as error:  # before the next: some of TLS' errors are both
            raise Fault(
                10,
                f"The hub at {self.endpoint} {_network_reason(error)}.",
                f"The model {model} is not complete on the volume, so it has to be fetched.",
                f"Let the seed Job out to {self.endpoint} (DNS, firewall; a proxy or its CA: speaches_hub.environment "
                "and speaches_hub.ca) and run again, or bring the model yourself: speaches_model_source: local.",
                passing=not isinstance(error, Trickle),
            ) from error
        except (http.client.HTTPException, ValueError) as error:
            cause = str(error) if isinstance(error, NoHub) else f"{type(error).__name__}: {_first_line(error)}"
            raise Fault(
                14,
                f"{self.endpoint} does not answer as a hub does.",
                f"{cause[:1].upper()}{cause[1:]}.",
                "Look at HF_ENDPOINT: is it a hub, and is no login page of a proxy in between?",
            ) from error

    def _denied(self, model: str, revision: str | None, denied: Denied) -> Fault:
        status, reason = denied.status, denied.reason
        if reason == "GatedRepo":
            return self._refused(model, f"{model} is gated.", status)
        if reason == "RevisionNotFound":
            return Fault(
                13,
                f"{model} has no revision {revision or UNSET} on {self.endpoint}.",
                f"The hub answers HTTP {status} (RevisionNotFound).",
                f"Take a commit from {self.endpoint}/{model}/commits/main, or leave the revision unset.",
            )
        if reason == "RepoNotFound":
            token = "the token given may not see it" if self.token else "no token was given to see it with"
            return Fault(
                12,
                f"There is no model {model} on {self.endpoint}.",
                f"The hub answers HTTP {status} (RepoNotFound): "
                f"the name is mistyped, or the model is private and {token}.",
                "Correct the name (org/name, upper and lower case count), or give a token that may read it.",
            )
        if status == http.HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            return Fault(
                10,
                f"The proxy before {self.endpoint} wants a login.",
                f"It answers HTTP {status}.",
                "Put the login into the proxy's address, http://USER:PASSWORD@HOST:PORT: speaches_hub.environment.",
                passing=True,
            )
        if status in (401, 403):
            return self._refused(model, f"{self.endpoint} refuses {model}.", status)
        busy = status in (408, 429) or status >= 500
        return Fault(
            14,
            f"{self.endpoint} answers HTTP {status} for {model}.",
            f"{http.HTTPStatus(status).phrase}." if status in set(http.HTTPStatus) else "It does not say why.",
            "Run again later: it goes on where it stopped." if busy else "Look at HF_ENDPOINT: is it a hub?",
            passing=busy,
        )

    def _refused(self, model: str, what: str, status: int) -> Fault:
        token = "the token given is not accepted" if self.token else "no token was given"
        return Fault(
            11,
            f"{what[:-1]}, and {token}.",
            f"The hub answers HTTP {status}.",
            f"Accept the model's terms at {self.endpoint}/{model} and give a read token of that account as "
            "HF_TOKEN, from a Secret.",
        )


def _reason(answer: http.client.HTTPResponse) -> str:
    """The hub's name for why it refuses (huggingface_hub, utils/_http.py): for a repository that is not there it
    says 401 to whoever has no token, and only of a wrong token that the credentials are not valid."""
    said = answer.headers.get("X-Error-Code") or ""
    if said in ("GatedRepo", "RevisionNotFound", "RepoNotFound"):
        return said
    bad_token = (answer.headers.get("X-Error-Message") or "") == "Invalid credentials in Authorization header"
    return "RepoNotFound" if answer.status == http.HTTPStatus.UNAUTHORIZED and not said and not bad_token else ""


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port; raises ValueError for what is no address of HTTP, or has a login in it."""
    if not re.fullmatch(r"[!-~]+", url):
        raise NoHub(f"its address is none: {_shown(url)}")
    parts = urllib.parse.urlsplit(url)
    ports = {"http": 80, "https": 443}
    if parts.scheme not in ports or not parts.hostname or parts.username is not None:
        raise NoHub(f"its address is none that may be asked: {_shown(url)}")
    return parts.scheme, parts.hostname, parts.port or ports[parts.scheme]


def _redirected(url: str, location: str) -> str:
    """Where a redirect leads. Raises NoHub unless that is HTTP too, and HTTPS where it was."""
    target = urllib.parse.urljoin(url, location).partition("#")[0]
    try:
        scheme = _origin(target)[0]
    except ValueError:
        scheme = ""
    if not location or not scheme or (scheme == "http" and url.startswith("https:")):
        raise NoHub(f"it redirects to {_shown(location)}")
    return target


def _described(body: bytes, model: str, revision: str | None, endpoint: str) -> Snapshot:
    """The revision that the hub describes, nothing of it believed; raises NoHub or Fault."""
    try:
        info = json.loads(body)
    except (ValueError, RecursionError):
        info = None
    if not isinstance(info, dict) or not isinstance(info.get("siblings") or [], list):
        raise NoHub(f"what it sends is no description of a model: {_shown(body[:60].decode(errors='replace'))}")
    commit = info.get("sha")
    entries = [_sibling(entry) for entry in info.get("siblings") or ()]
    files = [entry for entry in entries if entry and _is_wanted(str(entry["name"]))]
    if commit is None or any(entry["size"] is None or entry["digest"] is None for entry in files):
        raise Fault(
            14,
            f"{endpoint} does not say which commit, sizes or digests {model} has.",
            "Without them a download cannot be verified; some mirrors leave them out.",
            "Set HF_ENDPOINT to a hub that answers in full.",
        )
    if not _is_hex(commit, 40):
        raise NoHub(f"its commit is not 40 hex digits: {_shown(commit)}")
    if revision and _is_hex(revision, 40) and revision != commit:
        raise NoHub(f"asked for commit {revision} it answers with {commit}")
    return Snapshot(commit, _checked(files))


def _sibling(entry: object) -> dict[str, object] | None:
    """Name, size and digest as the hub gives them, unchecked; None for what is no file."""
    if not isinstance(entry, dict) or not isinstance(entry.get("rfilename"), str):
        return None
    large = entry.get("lfs")
    if isinstance(large, dict):
        return {"name": entry["rfilename"], "size": large.get("size"), "digest": large.get("sha256")}
    return {"name": entry["rfilename"], "size": entry.get("size"), "digest": entry.get("blobId")}


def _checked(entries: Sequence[Mapping[str, object]]) -> tuple[File, ...]:
    """The files of a revision, each with a name that stays in its folder; raises NoHub. From hub and volume alike."""
    files = []
    for entry in entries:
        name, size, digest = entry["name"], entry["size"], entry["digest"]
        if not isinstance(name, str) or not _is_name(name) or not _is_wanted(name):
            raise NoHub(f"a file's name is none: {_shown(name)}")
        if type(size) is not int or not 0 <= size <= (LARGEST if name == "model.bin" else LARGEST_TEXT):
            raise NoHub(f"the size of {name} cannot be: {_shown(size)}")
        if not isinstance(digest, str) or not (_is_hex(digest, 40) or _is_hex(digest, 64)):
            raise NoHub(f"the digest of {name} is none: {_shown(digest)}")
        files.append(File(name, size, digest))
    if len({file.name for file in files}) < len(files):
        raise NoHub("it names a file twice")
    return tuple(files)


def _is_hex(value: object, digits: int) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(f"[0-9a-f]{{{digits}}}", value))


def _shown(value: object) -> str:
    """What came from outside, in one short line of plain characters."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _network_reason(error: BaseException) -> str:
    """What the hub does, as the end of a sentence, from the first cause in the chain that says it."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in chain:
        chain.append(step)
        step = step.__cause__ or step.__context__
    for link in reversed(chain):
        refused = re.search(r"Tunnel connection failed: (\d{3}[^<>\n]{0,80})", str(link))
        if refused:
            return f"is not reached: the proxy answers {refused[1].strip()}"
        if isinstance(link, socket.gaierror):
            return "is unreachable: its name does not resolve"
        if isinstance(link, ConnectionRefusedError):
            return "is unreachable: connection refused"
        if isinstance(link, TimeoutError) or "Timeout" in type(link).__name__:
            return f"is unreachable: no answer within {TIMEOUT_S} s"
        if isinstance(link, OSError) and link.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
            return f"is unreachable: {os.strerror(link.errno).lower()}"
        if "SSL" in type(link).__name__:
            return f"is unreachable: TLS fails ({_first_line(link)})"
        if isinstance(link, Trickle):
            return f"sends less than {TRICKLE / MB:.0f} MB in {TRICKLE_S} s"
        if "Consistency" in str(link):
            return "sends fewer bytes than the file has"
    return f"broke the connection off ({type(error).__name__})"


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


# ---- from a folder or an archive on the volume


@dataclass(frozen=True)
class Part:
    """A file of an import, and how to read it."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


def _import(wanted: Wanted, repo: Path) -> Result:
    source = Path(wanted.local or "")
    with _readable(wanted.model, source), _parts(source) as parts:
        _check_names(wanted.model, [part.name for part in parts], str(source))
        _sweep(repo)
        _check_room(repo, wanted.model, parts)
        progress = _progress(wanted.model, parts, "copied")
        files = []
        with _every(TICK_S, progress.print):
            for part in sorted(parts, key=lambda part: (part.name != "README.md", part.size)):
                files.append(_copy(part, repo, progress))
                if part.name == "README.md":
                    _check_card(wanted.model, repo / "blobs" / files[0].digest)
    _check_model(wanted.model, repo, files)
    listing = "".join(f"{file.digest}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
    snapshot = Snapshot(hashlib.sha1(listing.encode()).hexdigest(), tuple(files))
    _record(repo, snapshot, _import_key(source))
    _publish(repo, snapshot)
    say(f"{wanted.model}: {snapshot.revision} is complete: {len(files)} files imported from {source}")
    return Result(wanted.model, snapshot.revision, "imported", 0)


@contextlib.contextmanager
def _parts(source: Path) -> Iterator[list[Part]]:
    if source.is_dir():
        found = [Path(top) for top, _, names in os.walk(source, followlinks=True) if "model.bin" in names] or [source]
        _check_one(source, [os.path.relpath(folder, source) for folder in found])
        paths = [path for path in found[0].iterdir() if _is_imported(path.name)]
        for path in paths:
            if path.is_symlink() and not path.exists():
                raise Fault(
                    32,
                    f"{path} is a link to {os.readlink(path)}, which is not there.",
                    "A folder of the hub's cache has links to its blobs, and was copied without them.",
                    "Copy it with what the links lead to (cp -rL) and run again.",
                )
        files = [path for path in paths if path.is_file()]  # a pipe would keep its reader waiting
        yield [Part(path.name, path.stat().st_size, functools.partial(_reader, path)) for path in files]
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            yield [
                Part(_base(name), archive.getinfo(name).file_size, functools.partial(archive.open, name))
                for name in _beside_model(source, archive.namelist())
            ]
    else:
        with tarfile.open(source) as tar:
            names = [member.name for member in tar.getmembers() if member.isfile() or member.issym()]
            parts = []
            for name in _beside_model(source, names):
                with _member(tar, name) as stream:
                    size = stream.seek(0, os.SEEK_END)
                parts.append(Part(_base(name), size, functools.partial(_member, tar, name)))
            yield parts


def _reader(path: Path) -> IO[bytes]:
    return path.open("rb")


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)  # follows links within the archive
    if stream is None:
        raise tarfile.ReadError(f"{name} is not a file")
    return stream


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _beside_model(source: Path, names: Sequence[str]) -> list[str]:
    """The model's files in an archive; where there is no model.bin, those that it would be beside."""
    folders = [name.removesuffix("model.bin") for name in names if _base(name) == "model.bin"]
    _check_one(source, folders)
    wanted = [name for name in names if _is_imported(_base(name))]
    if not folders:
        folders = sorted((name.removesuffix(_base(name)) for name in wanted), key=len)
    beside = [name for name in wanted if [name.removesuffix(_base(name))] == folders[:1]]
    return list(dict.fromkeys(beside))  # an archive that was added to has a file twice: readers take the last


def _check_one(source: Path, folders: Sequence[str]) -> None:
    models = sorted(set(folders))
    if len(models) > 1:
        raise Fault(
            32,
            f"{source} holds {len(models)} models, not one: {', '.join(map(_shown, models[:3]))}.",
            "Each folder with a model.bin is one; a copied cache of the hub may have several revisions.",
            "Name the folder of the one that is meant, or pack that one alone.",
        )


def _is_wanted(name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in PATTERNS)


def _is_imported(name: str) -> bool:
    return _is_wanted(name) and _is_name(name)


def _is_name(name: str) -> bool:
    """Whether a model's file may be called so: as an editor's `vocabulary.json~` is not."""
    return bool(re.fullmatch(r"\w[\w.-]{0,99}", name, re.ASCII))


def _copy(part: Part, repo: Path, progress: Progress) -> File:
    partial = repo / "blobs" / f"{part.name}.{uuid.uuid4().hex}.incomplete"
    digest = hashlib.sha256()
    try:
        with part.open() as source, partial.open("wb") as target:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                with _volume(partial):
                    target.write(chunk)
                progress.part += len(chunk)
            target.flush()
            os.fsync(target.fileno())
        file = File(part.name, partial.stat().st_size, digest.hexdigest())
        if not _intact(partial, file, progress):
            raise Fault(
                30,
                f"{part.name} came back from the volume with other bytes than were written.",
                f"Expected sha256 {file.digest}.",
                "Check the disk of the NFS server, then run again.",
            )
        os.replace(partial, repo / "blobs" / file.digest)
    finally:
        partial.unlink(missing_ok=True)
    progress.finish(file)
    return file


@contextlib.contextmanager
def _readable(model: str, source: Path) -> Iterator[None]:
    remedy = "Put a folder or a tar or zip archive with the model's files there, readable by this user."
    if not source.exists():
        raise Fault(32, f"{model}: there is nothing at {source}.", "The import was not put there.", remedy)
    try:
        yield
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError) as error:
        raise Fault(32, f"{model}: {source} is not a whole archive.", f"{_first_line(error)}.", remedy) from error


def _import_key(source: Path) -> str:
    """Names an import in the record: its path and, while it is there, what changes when it is replaced."""
    paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    state = [(str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in paths]
    return f"{source} {hashlib.sha1(json.dumps(state).encode()).hexdigest()}"


# ---- the volume


def _served(repo: Path, snapshot: Snapshot, model: str) -> bool:
    """Whether the server gets exactly this snapshot: every file is read, which 1.6 GB over 1 Gbit/s take 15 s for."""
    folder = repo / "snapshots" / snapshot.revision
    try:
        if (repo / "refs" / "main").read_text() != snapshot.revision:
            return False
        if any((folder / file.name).stat().st_size != file.size for file in snapshot.files):
            return False
    except (FileNotFoundError, UnicodeError):
        return False
    progress = _progress(model, snapshot.files)
    with _every(TICK_S, progress.print):
        return all(progress.kept(folder / file.name, file) for file in snapshot.files)


def _heal(cache: Path) -> None:
    """Removes empty snapshots folders: with one, the server's list of all models is an error (StopIteration)."""
    for folder in cache.glob("models--*/snapshots"):
        with contextlib.suppress(OSError):
            folder.rmdir()  # only an empty one goes


def _publish(repo: Path, snapshot: Snapshot) -> None:
    """Makes the snapshot what the server gets. Its scan skips a repository as long as that has no snapshots
    folder, so the first snapshot comes after refs/main and with its folder; a later one before."""
    snapshots, ref = repo / "snapshots", repo / "refs" / "main"
    staged = repo / f"staged-{uuid.uuid4().hex}"
    folder, final = staged / snapshot.revision, snapshots / snapshot.revision
    folder.mkdir(parents=True)
    ref.parent.mkdir(exist_ok=True)
    try:
        for file in snapshot.files:
            (folder / file.name).symlink_to(f"../../blobs/{file.digest}")
        if not snapshots.exists():
            _write(ref, snapshot.revision, staging=repo)
            os.rename(staged, snapshots)
        elif not final.exists():
            os.rename(folder, final)
        else:
            for file in snapshot.files:
                os.replace(folder / file.name, final / file.name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    _write(ref, snapshot.revision, staging=repo)
    for other in ref.parent.iterdir():
        if other.name != "main":  # the server wants one ref at most
            other.unlink() if not other.is_dir() else shutil.rmtree(other)


def _write(path: Path, text: str, staging: Path) -> None:
    """Replaces a file whole. Staged elsewhere than in refs/, where every file counts as a ref."""
    temporary = staging / f"staged-{uuid.uuid4().hex}"
    try:
        with temporary.open("w") as target:
            target.write(text)
            target.flush()
            os.fsync(target.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _recorded(repo: Path) -> dict[str, Any]:
    try:
        record = json.loads((repo / "portal-stt.json").read_text())
        resolved, snapshots = dict(record["resolved"]), dict(record["snapshots"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return {"resolved": {}, "snapshots": {}}
    return {
        "resolved": {asked: revision for asked, revision in resolved.items() if _is_hex(revision, 40)},
        "snapshots": {revision: files for revision, files in snapshots.items() if isinstance(files, list)},
    }


def _record(repo: Path, snapshot: Snapshot, asked: str) -> None:
    record = _recorded(repo)
    record["resolved"].pop(asked, None)  # the newest last
    record["resolved"][asked] = snapshot.revision
    record["snapshots"][snapshot.revision] = [asdict(file) for file in snapshot.files]
    _write(repo / "portal-stt.json", json.dumps(record, indent=1), staging=repo)


def _known(repo: Path, wanted: Wanted) -> Snapshot | None:
    """The snapshot that the record gives for what is wanted; None: it has to be asked for or imported."""
    record = _recorded(repo)
    if wanted.local:
        source = Path(wanted.local)
        if source.exists():
            revision = record["resolved"].get(_import_key(source))
        else:
            revision = ([r for key, r in record["resolved"].items() if key.startswith(f"{source} ")] or [None])[-1]
    else:
        revision = record["resolved"].get(wanted.revision or UNSET, wanted.revision)
    files = record["snapshots"].get(revision)
    try:
        checked = _checked(files) if files and _is_hex(revision, 40) else ()
    except (NoHub, KeyError, TypeError):
        return None
    return None if _lacking([file.name for file in checked]) else Snapshot(revision, checked)


def _intact(path: Path, file: File, progress: Progress | None = None) -> bool:
    """Whether the file, read back from the volume, has the size and digest that it should have."""
    if not path.exists() or path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256() if len(file.digest) == 64 else hashlib.sha1(f"blob {file.size}\0".encode())
    with path.open("rb") as source:
        os.posix_fadvise(source.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        done = 0
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress.verifying = f"verifying {file.name}: {done / MB:.0f} of {file.size / MB:.0f} MB"
    if progress:
        progress.verifying = ""
    return digest.hexdigest() == file.digest


def _sweep(repo: Path, wanted: Sequence[File] = ()) -> None:
    """Removes what a kill has left: staged folders, copies of an import, downloads of other files than these."""
    for staged in repo.glob("staged-*"):
        shutil.rmtree(staged) if staged.is_dir() else staged.unlink()
    keep = {f"{file.digest}.incomplete" for file in wanted}
    for partial in (repo / "blobs").glob("*.incomplete"):
        if partial.name not in keep:
            partial.unlink()


def _check_room(repo: Path, model: str, missing: Sequence[File | Part]) -> None:
    partials = [repo / "blobs" / f"{file.digest}.incomplete" for file in missing if isinstance(file, File)]
    need = sum(file.size for file in missing) - sum(p.stat().st_size for p in partials if p.exists())
    system = os.statvfs(repo)
    free = system.f_bavail * system.f_frsize
    if need > free:
        raise _full(f"{model}: {need / MB:.1f} MB are still to come and {free / MB:.1f} MB are free at {repo.parent}.")


def _full(error: str) -> Fault:
    return Fault(
        20,
        f"The volume is full. {error}",
        "The export's file system, or its quota, has no room.",
        "Free space on the export or enlarge it and run again: what was downloaded stays.",
    )


def _lacking(names: Sequence[str]) -> list[str]:
    """What the server needs and is not among the names."""
    return [need for need in NEEDED if not fnmatch.filter(names, need)]


def _check_names(model: str, names: Sequence[str], where: str) -> None:
    if lacking := _lacking(names):
        raise Fault(
            31,
            f"{model} cannot be served: {where} has no {', '.join(lacking)}.",
            "The server loads Whisper models in CTranslate2's format, with their model card.",
            "Choose a CTranslate2 conversion (model.bin), such as deepdml/faster-whisper-large-v3-turbo-ct2, "
            "or complete the folder.",
        )


def _check_card(model: str, readme: Path) -> None:
    """The card as the server reads it (hf_utils.py; ModelCard of huggingface_hub)."""
    import yaml

    front = re.match(r"\s*---[\r\n]+(.*?)[\r\n]+---(?:\r?\n|$)", readme.read_text(errors="replace"), re.DOTALL)
    try:
        card = yaml.safe_load(front.group(1)) if front else {}
    except (yaml.YAMLError, ValueError, RecursionError):
        card = {}
    card = card if isinstance(card, dict) else {}
    tags = card.get("tags") if isinstance(card.get("tags"), list) else []
    library, task = CARD
    lacking = [
        word
        for word, given in (
            (library, card.get("library_name") or card.get("library")),
            (task, card.get("pipeline_tag")),
        )
        if word != given and word not in (tags or [])
    ]
    if lacking:
        raise Fault(
            31,
            f"{model} cannot be served: the card in README.md does not say {' and '.join(lacking)}.",
            "The server lists a model only when its card names the library ctranslate2 and the task "
            "automatic-speech-recognition.",
            "Choose a conversion whose card says so, or add library_name and pipeline_tag to a local copy's card.",
        )


class Unfit(ValueError):
    """A file that the server could not load; the message is a sentence about it without its end."""


def _check_model(model: str, repo: Path, files: Sequence[File]) -> None:
    """Raises Fault (31) unless the server can load these files: everything that it, CTranslate2 and faster-whisper
    look at when they do."""
    paths = {file.name: repo / "blobs" / file.digest for file in files}
    _check_card(model, paths["README.md"])
    try:
        mels = _mel_bins(paths["model.bin"])
        _object(paths["config.json"], "config.json")
        if not isinstance(_object(paths["tokenizer.json"], "tokenizer.json").get("model"), dict):
            raise Unfit("tokenizer.json has no model in it")
        _check_vocabulary(paths)
        features = (
            _object(paths["preprocessor_config.json"], "preprocessor_config.json")
            if "preprocessor_config.json" in paths
            else None
        )
    except Unfit as unfit:
        raise Fault(
            31,
            f"{model} cannot be served: {unfit}.",
            "The files are what their digests say, so they were published or copied like this.",
            "Choose another revision or another conversion, or repair the local copy.",
        ) from unfit
    made = 80 if features is None else features.get("feature_size", 80)  # faster-whisper's default
    if mels and made != mels:
        lacking = "there is no preprocessor_config.json" if features is None else "preprocessor_config.json has another"
        raise Fault(
            31,
            f"{model} cannot be served: its model.bin takes {mels} mel bins, and {lacking}.",
            f"The server would make {_shown(made)} of them and answer every request with an error.",
            f"Choose a revision with a preprocessor_config.json whose feature_size is {mels}, or add that of the model "
            "it was converted from to a local copy.",
        )


def _object(path: Path, name: str) -> dict[str, Any]:
    data = path.read_bytes()
    try:
        given = json.loads(data)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise Unfit(f"{name} is {_other_kind(data) or 'no JSON object'}")
    if data.startswith(codecs.BOM_UTF8) and name in BARE:
        raise Unfit(f"{name} begins with a byte order mark, which its reader does not take")
    return given


def _other_kind(head: bytes) -> str:
    """What a file is by its first bytes, where that is known and no file of a model; empty where it is not."""
    return "empty" if not head else next((kind for begin, kind in KINDS if head.lstrip().startswith(begin)), "")


def _check_vocabulary(paths: Mapping[str, Path]) -> None:
    """One of the two forms that CTranslate2 reads (models/model_factory, vocabulary.cc)."""
    try:
        if "vocabulary.json" in paths:
            words = json.loads(paths["vocabulary.json"].read_bytes())
        elif "vocabulary.txt" in paths:
            words = paths["vocabulary.txt"].read_text("utf-8").splitlines()
        else:
            raise Unfit("it has neither vocabulary.json nor vocabulary.txt")
    except Unfit:
        raise
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise Unfit("its vocabulary is no list of words")


def _mel_bins(path: Path) -> int:
    """How many mel bins the weights take; 0 where they do not say. Raises Unfit unless the file is as long as its
    headers say: CTranslate2's format (python/ctranslate2/specs/model_spec.py, src/models/model.cc), of which only
    the headers are read."""
    size = path.stat().st_size
    with path.open("rb") as source:
        other = _other_kind(source.read(64))
        if other:
            raise Unfit(f"model.bin is {other}")
        source.seek(0)
        read = functools.partial(_numbers, source)
        (version,) = read("I")
        if not 1 <= version <= 100:
            raise Unfit("model.bin is not in CTranslate2's format")
        if version > NEWEST_FORMAT:
            return 0
        kind = _name(source) if version >= 2 else "WhisperSpec"
        if kind != "WhisperSpec":
            raise Unfit(f"model.bin is no Whisper model, but {_shown(kind)}")
        count = read("II")[1] if version >= 2 else read("I")[0]
        mels = 0
        for _ in range(count):
            name = _name(source)
            shape = read(f"{read('B')[0]}I")
            kind_or_width, length = read("BI")
            if version < 4:
                length *= kind_or_width
            elif kind_or_width < len(WIDTHS) and length != math.prod(shape) * WIDTHS[kind_or_width]:
                raise Unfit(f"model.bin is damaged: {_shown(name)} is not as long as its shape")
            if name == "encoder/conv1/weight" and len(shape) == 3:
                mels = shape[1]
            if source.seek(length, os.SEEK_CUR) > size:
                raise Unfit(f"model.bin is cut off: {size} bytes are less than it says of itself")
        for _ in range(2 * read("I")[0] if version >= 3 else 0):
            _name(source)
        if source.tell() != size:
            raise Unfit(f"model.bin has {size} bytes, and says of itself that it has {source.tell()}")
    return mels


def _numbers(source: IO[bytes], kinds: str) -> tuple[int, ...]:
    """Numbers as CTranslate2 writes them: little-endian without gaps."""
    data = source.read(struct.calcsize(f"<{kinds}"))
    try:
        return struct.unpack(f"<{kinds}", data)
    except struct.error:
        raise Unfit("model.bin is cut off: it ends within what it says of itself") from None


def _name(source: IO[bytes]) -> str:
    (length,) = _numbers(source, "H")
    return bytes(_numbers(source, f"{length}B")).rstrip(b"\0").decode(errors="replace")


@contextlib.contextmanager
def _volume(path: Path) -> Iterator[None]:
    """Turns errors of the volume into faults."""
    try:
        yield
    except OSError as error:
        at = Path(error.filename) if isinstance(error.filename, str) else path
        what = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(f"{at} could not be written: {what}.") from error
        if error.errno == errno.EROFS:
            raise Fault(
                21,
                f"The volume is read-only: {at} could not be written.",
                f"{what}.",
                "Give the seed Job the claim read-write and see that the export has rw.",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM):
            near = at
            while not os.access(near, os.F_OK) and near != near.parent:
                near = near.parent
            owner = near.stat()
            raise Fault(
                22,
                f"User {os.getuid()} (group {os.getgid()}) may not use {at}: {near} belongs to "
                f"{owner.st_uid}:{owner.st_gid}, mode {stat.S_IMODE(owner.st_mode):04o}.",
                f"{what}.",
                "On the NFS host give the exported directory, with what is in it, to the server's user "
                "(chown -R 1000:1000), as the storage play does.",
            ) from error
        raise Fault(
            23,
            f"The volume fails at {at}: {what}.",
            "A soft NFS mount reports an error when the server does not answer in time, or the export changed.",
            "Look at the NFS server and the network between; run again: it goes on where it stopped.",
        ) from error


@contextlib.contextmanager
def _lock(path: Path, model: str) -> Iterator[None]:
    """Holds the lock file. Waits while its holder's heartbeat is seen, takes it over when that stops."""
    me = json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "run": uuid.uuid4().hex})
    seen: tuple[str, int] | None = None
    since = time.monotonic()
    while True:
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w") as lock:
                lock.write(me)
            break
        except FileExistsError:
            pass
        with contextlib.suppress(FileNotFoundError):  # released meanwhile
            with path.open(
                errors="replace"
            ) as lock:  # opening makes an NFS client ask the server for the time of change
                now = (lock.read(), os.fstat(lock.fileno()).st_mtime_ns)
            if now != seen:
                if seen is None:
                    say(f"{model}: another run is at work on it, waiting: {now[0] or 'starting'}")
                seen, since = now, time.monotonic()
            if _is_dead(now[0]) or time.monotonic() - since > STALE_S:
                say(f"{model}: the other run is gone, taking over")
                path.unlink()
                continue
        time.sleep(1)
    try:
        with _every(BEAT_S, lambda: os.utime(path)):
            yield
    finally:
        with contextlib.suppress(OSError):
            if path.read_text(errors="replace") == me:
                path.unlink()


def _is_dead(holder: str) -> bool:
    """Whether the lock's holder ran on this host and is no more; in a container a process id comes again."""
    try:
        owner = json.loads(holder)
        if owner["host"] != socket.gethostname():
            return False
        if owner["pid"] == os.getpid():
            return True
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return True
    except (ValueError, KeyError, TypeError, OSError, OverflowError, RecursionError):
        return False
    return False


# ---- telling


@dataclass
class Progress:
    """How far a model is. `received` counts bytes that came from the hub."""

    model: str
    files: int
    bytes: int
    verb: str = "on the volume"
    files_done: int = 0
    whole: int = 0
    """Bytes of files that are there and verified."""
    part: int = 0
    """Bytes of the file that is on its way."""
    received: int = 0
    verifying: str = ""
    _last: tuple[float, int] = field(default_factory=lambda: (time.monotonic(), 0))
    _said: tuple[float, str] = (0, "")

    def kept(self, path: Path, file: File) -> bool:
        """Whether the file is already whole at this path on the volume; counts it then."""
        if not _intact(path, file, self):
            return False
        self.finish(file)
        return True

    def finish(self, file: File) -> None:
        self.files_done += 1
        self.whole += file.size
        self.part = 0

    def line(self, now: float) -> str:
        """For example: 2/6 files, 812.3 of 1628.0 MB (49 %) on the volume, 43.1 MB/s."""
        then, before = self._last
        rate = (self.received - before) / MB / max(now - then, 0.001)
        self._last = (now, self.received)
        done = self.whole + self.part
        share = 100 * done // max(self.bytes, 1)
        return (
            f"{self.model}: {self.files_done}/{self.files} files, {done / MB:.1f} of {self.bytes / MB:.1f} MB "
            f"({share} %) {self.verb}, {self.verifying or f'{rate:.1f} MB/s'}"
        )

    def print(self) -> None:
        now = time.monotonic()
        line = self.line(now)
        if line != self._said[1] or now - self._said[0] >= QUIET_S:
            say(line)
            self._said = (now, line)


def _progress(model: str, files: Sequence[File | Part], verb: str = "on the volume") -> Progress:
    return Progress(model, len(files), sum(file.size for file in files), verb)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raises TimeoutError in what takes longer; for the main thread."""

    def over(signum: int, frame: FrameType | None) -> NoReturn:
        raise TimeoutError("too slow")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _every(seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Calls from a thread, so that it goes on while the network or the volume stalls."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(seconds):
            with contextlib.suppress(OSError):
                call()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _stopped(signum: int, frame: FrameType | None) -> NoReturn:
    raise Fault(
        143,
        "The seeding was stopped.",
        "The pod got SIGTERM (deleted, evicted, or the Job's deadline).",
        "Run again: it goes on where it stopped.",
    )


def _report(results: Sequence[Result], fault: Fault | None, token: str, path: Path) -> None:
    text = _result(results, fault, token)
    if fault:
        for key in ("error", "cause", "remedy"):
            say(f"{key}: {json.loads(text)[key]}")
    with contextlib.suppress(FileNotFoundError, PermissionError):  # no kubelet made one
        path.write_text(text)


def _result(results: Sequence[Result], fault: Fault | None, token: str) -> str:
    """The result as JSON of at most 4096 bytes: texts are cut, the figures never."""
    result: dict[str, object] = {"models": [asdict(one) for one in results]}
    if not fault:
        return json.dumps(result)
    result |= {"code": fault.code, "again": fault.again}
    for limit in (1000, 400, 150, 50):
        for key in ("error", "cause", "remedy"):
            told: str = getattr(fault, key)
            result[key] = _plain(told.replace(token, "***") if token else told)[:limit]
        if len(json.dumps(result)) <= RESULT:
            break
    return json.dumps(result)


if __name__ == "__main__":
    sys.exit(main(os.environ))
