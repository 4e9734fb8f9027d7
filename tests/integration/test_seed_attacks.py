"""seed.py against whatever answers in a hub's place: a sentence, a bounded result, nothing outside the cache."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.speaches.test_seed import load

script: Any = load("seed")
SEED = ROOT / "roles" / "speaches" / "files" / "seed.py"
MODEL = "org/model"
COMMIT = "c" * 40
TOKEN = "hf_never_elsewhere"
CARD = b"---\nlibrary_name: ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n"
NAMES = ("README.md", "config.json", "model.bin", "tokenizer.json", "vocabulary.txt")

Answer = Callable[["Double", str], Iterator[bytes]]


@dataclass
class Double:
    """Answers each request with whatever bytes it is given; notes request lines and headers."""

    answer: Answer
    seen: list[str] = field(default_factory=list)
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    def __post_init__(self) -> None:
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Double:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                if not (part := connection.recv(65536)):
                    return
                request += part
            self.seen.append(request.decode())
            try:
                for part in self.answer(self, request.split()[1].decode()):
                    connection.sendall(part)
            except OSError:
                pass  # the other end has heard enough


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = "".join(f"{one}\r\n" for one in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n" + body


def description(**changes: Any) -> dict[str, Any]:
    """What an honest hub says of a model, with changes."""
    siblings = [
        {"rfilename": name, "size": len(CARD), "blobId": hashlib.sha1(b"blob %d\0" % len(CARD) + CARD).hexdigest()}
        for name in NAMES
    ]
    return {"id": MODEL, "sha": COMMIT, "siblings": siblings} | changes


def sibling(name: str = "vocabulary.json", **changes: Any) -> dict[str, Any]:
    return {"siblings": [*description()["siblings"], {"rfilename": name, "size": 1, "blobId": "a" * 40} | changes]}


def says(body: object, *headers: str) -> Answer:
    """The description; every file is a card."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()

    def answer(_: Double, path: str) -> Iterator[bytes]:
        yield http(text if path.startswith("/api/") else CARD, "200 OK", *headers)

    return answer


def endless(head: bytes, part: bytes) -> Answer:
    def answer(_: Double, __: str) -> Iterator[bytes]:
        yield head
        while True:
            yield part

    return answer


def redirect(location: str) -> Answer:
    def answer(double: Double, _: str) -> Iterator[bytes]:
        yield http(b"", "302 Found", f"Location: {location.format(url=double.url)}")

    return answer


def raw(text: bytes) -> Answer:
    def answer(_: Double, __: str) -> Iterator[bytes]:
        yield text

    return answer


@dataclass(frozen=True)
class Seeded:
    rc: int
    output: str
    text: str

    @property
    def result(self) -> dict[str, Any]:
        return dict(json.loads(self.text))


def seed(tmp_path: Path, endpoint: str, **wanted: Any) -> Seeded:
    cache = tmp_path / "a" / "b" / "c" / "hub"
    cache.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [sys.executable, str(SEED)],
        env={
            "PATH": os.environ["PATH"],
            "HF_HUB_CACHE": str(cache),
            "HF_ENDPOINT": endpoint,
            "HF_TOKEN": TOKEN,
            "SEED_MODELS": json.dumps([{"model": MODEL, "revision": None} | wanted]),
            "SEED_RESULT": str(tmp_path / "result"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return Seeded(done.returncode, done.stdout, (tmp_path / "result").read_text())


def outside(tmp_path: Path) -> list[str]:
    """Everything that lies beside the model's folder, the folders that lead there left out."""
    inside = tmp_path / "a" / "b" / "c" / "hub" / "models--org--model"
    return sorted(
        str(path.relative_to(tmp_path))
        for path in tmp_path.rglob("*")
        if path != inside and inside not in path.parents and path not in inside.parents
    )


NOT_A_HUB = "{url} does not answer as a hub does."
CAUSES: list[tuple[str, Answer, str]] = [
    ("injected", says(description(sha="abc\n    evil: injected")),
     r"Its commit is not 40 hex digits: 'abc\n    evil: injected'."),
    ("climbing commit", says(description(sha="../../../../escaped")),
     "Its commit is not 40 hex digits: '../../../../escaped'."),
    ("upper case", says(description(sha="C" * 40)), f"Its commit is not 40 hex digits: '{'C' * 40}'."),
    ("line end", says(description(sha=COMMIT + "\n")), rf"Its commit is not 40 hex digits: '{COMMIT}\n'."),
    ("no text", says(description(sha=["c"])), "Its commit is not 40 hex digits: ['c']."),
    ("climbing name", says(description(**sibling("vocabulary./../../../../../../escaped"))),
     "A file's name is none: 'vocabulary./../../../../../../escaped'."),
    ("NUL", says(description(**sibling("vocabulary.\0"))), r"A file's name is none: 'vocabulary.\x00'."),
    ("backslash", says(description(**sibling("vocabulary.\\..\\x"))), r"A file's name is none: 'vocabulary.\\..\\x'."),
    ("long name", says(description(**sibling("vocabulary." + "x" * 5000))),
     f"A file's name is none: 'vocabulary.{'x' * 65}...."),
    ("twice", says(description(**sibling("model.bin"))), "It names a file twice."),
    ("negative size", says(description(**sibling(size=-1))), "The size of vocabulary.json cannot be: -1."),
    ("huge size", says(description(**sibling(size=1 << 80))), f"The size of vocabulary.json cannot be: {1 << 80}."),
    ("no number", says(description(**sibling(size="1"))), "The size of vocabulary.json cannot be: '1'."),
    ("truth value", says(description(**sibling(size=True))), "The size of vocabulary.json cannot be: True."),
    ("climbing digest", says(description(**sibling(blobId="../../../../escaped"))),
     "The digest of vocabulary.json is none: '../../../../escaped'."),
    ("short digest", says(description(**sibling(lfs={"size": 1, "sha256": "ab"}))),
     "The digest of vocabulary.json is none: 'ab'."),
    ("many files", says(b"{\"siblings\": [" + b"{\"rfilename\": \"x\"}," * 10**6 + b"{}]}"),
     "Its description of the model is longer than 4 MB."),
    ("endless", endless(b"HTTP/1.1 200 OK\r\n\r\n", b'{"sha": ' + b" " * 65536),
     "Its description of the model is longer than 4 MB."),
    ("deep", says(b"[" * 1_000_000), f"What it sends is no description of a model: '{'[' * 60}'."),
    ("page", says(b"<html>Sign in</html>"), "What it sends is no description of a model: '<html>Sign in</html>'."),
    ("list", says([]), "What it sends is no description of a model: '[]'."),
    ("siblings", says(description(siblings={"a": 1})), "What it sends is no description of a model: "),
    ("header without end", endless(b"HTTP/1.1 200 OK\r\nETag: ", b"x" * 4096), "LineTooLong: got more than "),
    ("headers without end", endless(b"HTTP/1.1 200 OK\r\n", b"ETag: x\r\n"),
     "HTTPException: got more than 100 headers."),
    ("no HTTP", raw(b"\x1b[2JSSH-2.0-OpenSSH_9.6\r\n\r\n"), "BadStatusLine: "),
    ("file", redirect("file:///etc/passwd"), "It redirects to 'file:///etc/passwd'."),
    ("ftp", redirect("ftp://127.0.0.1/x"), "It redirects to 'ftp://127.0.0.1/x'."),
    ("login", redirect("http://user:pass@127.0.0.1/"), "It redirects to 'http://user:pass@127.0.0.1/'."),
    ("nowhere", redirect(""), "It redirects to ''."),
    ("round", redirect("{url}/api/models/org/model"), "It redirects more than 5 times."),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "cause"), [case[1:] for case in CAUSES], ids=[case[0] for case in CAUSES])
def test_what_is_no_hub(tmp_path: Path, answer: Answer, cause: str) -> None:
    with Double(answer) as double:
        seeded = seed(tmp_path, double.url)
    result = seeded.result
    assert (seeded.rc, result["error"], result["again"]) == (14, NOT_A_HUB.format(url=double.url), False)
    assert result["cause"].startswith(cause)
    assert result["models"] == []
    assert outside(tmp_path) == ["result"]
    assert len(seeded.text) <= 4096
    assert seeded.text.isascii()
    assert all(line.isprintable() for line in seeded.output.splitlines())


def test_another_commit_than_the_pinned_one(tmp_path: Path) -> None:
    with Double(says(description())) as double:
        seeded = seed(tmp_path, double.url, revision="d" * 40)
    assert (seeded.rc, seeded.result["cause"]) == (14, f"Asked for commit {'d' * 40} it answers with {COMMIT}.")


def test_a_file_of_the_wrong_length_or_without_end(tmp_path: Path) -> None:
    """What comes after the last byte is not read; what comes before has another digest."""

    def answer(_: Double, path: str) -> Iterator[bytes]:
        if path.startswith("/api/"):
            yield http(json.dumps(description()).encode())
            return
        yield b'HTTP/1.1 200 OK\r\nETag: "../../../../escaped"\r\nX-Linked-Size: 5\r\n\r\n'
        while True:
            yield b"x" * 65536

    with Double(answer) as double:
        seeded = seed(tmp_path, double.url)
    assert (seeded.rc, seeded.result["error"]) == (
        30,
        f"{MODEL}: README.md of revision {COMMIT} does not have the digest that the hub states.",
    )
    assert outside(tmp_path) == ["result"]


def test_an_error_page_without_end_is_not_read(tmp_path: Path) -> None:
    with Double(endless(b"HTTP/1.1 404 \x1b[31mred\r\n\r\n", b"x" * 65536)) as double:
        seeded = seed(tmp_path, double.url)
    assert (seeded.rc, seeded.result["error"], seeded.result["cause"]) == (
        14,
        f"{double.url} answers HTTP 404 for {MODEL}.",
        "Not Found.",
    )


def test_the_token_goes_to_the_hub_alone(tmp_path: Path) -> None:
    """Redirected to itself it comes along, to another port, as the hub's store of large files is, it does not."""

    def store(_: Double, __: str) -> Iterator[bytes]:
        yield http(CARD)

    with Double(store) as other:

        def answer(double: Double, path: str) -> Iterator[bytes]:
            if path == "/api/models/org/model?blobs=true":
                yield http(b"", "307 Temporary Redirect", "Location: /api/models/org/renamed?blobs=true")
            elif path.startswith("/api/"):
                yield http(json.dumps(description()).encode())
            else:
                yield http(b"", "302 Found", f"Location: {other.url}{path}?signed=1")

        with Double(answer) as double:
            seeded = seed(tmp_path, double.url)
    assert seeded.rc == 31, seeded.output  # five cards are no model
    assert len(double.seen) >= 3
    assert all(f"Authorization: Bearer {TOKEN}" in one for one in double.seen)
    assert other.seen
    assert not any("authorization" in one.lower() for one in other.seen)
    assert TOKEN not in seeded.output + seeded.text


def test_a_token_that_comes_back_is_not_told(tmp_path: Path) -> None:
    with Double(says(description(sha=TOKEN))) as double:
        seeded = seed(tmp_path, double.url)
    assert seeded.result["cause"] == "Its commit is not 40 hex digits: '***'."
    assert TOKEN not in seeded.output + seeded.text


@pytest.mark.parametrize(
    "record",
    [
        {"name": "../../../../escaped", "size": 1, "digest": "a" * 40},
        {"name": "model.bin", "size": 1, "digest": "../../../../escaped"},
        {"name": "model.bin", "size": "1", "digest": "a" * 40},
        {"nome": "model.bin"},
        5,
    ],
    ids=str,
)
def test_a_record_that_somebody_changed_is_not_obeyed(tmp_path: Path, record: object) -> None:
    folder = tmp_path / "a" / "b" / "c" / "hub" / "models--org--model"
    folder.mkdir(parents=True)
    written = {"resolved": {"main": COMMIT}, "snapshots": {COMMIT: [record]}}
    (folder / "portal-stt.json").write_text(json.dumps(written))
    with Double(says(description(sha="x"))) as double:
        assert seed(tmp_path, double.url).rc == 14
    assert outside(tmp_path) == ["result"]


def trickle(head: bytes) -> Answer:
    """A byte now and then, for ever: never too long a silence."""

    def answer(_: Double, __: str) -> Iterator[bytes]:
        yield head
        while True:
            time.sleep(0.01)
            yield b"x"

    return answer


@pytest.mark.parametrize(
    ("head", "code", "said"),
    [
        (b"", 10, "is unreachable: no answer within 10 s."),
        (b"HTTP/1.1 200 OK\r\n\r\n", 14, "does not answer as a hub does."),
    ],
    ids=["headers", "description"],
)
def test_a_description_that_trickles(monkeypatch: pytest.MonkeyPatch, head: bytes, code: int, said: str) -> None:
    monkeypatch.setattr(script, "HEADERS_S", 0.2)
    monkeypatch.setattr(script, "DESCRIPTION_S", 0.2)
    monkeypatch.setattr(script, "TRIES", 1)
    with Double(trickle(head)) as double, pytest.raises(script.Fault) as fault:
        script.Hub(double.url, "").snapshot(MODEL, None)
    assert (fault.value.code, fault.value.error.endswith(said)) == (code, True)


def test_a_file_that_trickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(script, "TRICKLE_S", 0.2)
    file = script.File("model.bin", 10_000_000, "a" * 64)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"
    with Double(trickle(head)) as double, pytest.raises(script.Fault) as fault:
        script._download(script.Hub(double.url, ""), MODEL, COMMIT, tmp_path / "x", file, script.Progress(MODEL, 1, 1))
    assert (fault.value.code, fault.value.again) == (10, True)
    assert fault.value.error == f"The hub at {double.url} sends less than 1 MB in 0.2 s."
