"""warm.py against a server on localhost that answers as told."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.unit.speaches.test_seed import load

warm: Any = load("warm")
CLIP = b"RIFF\r\n--\x00\xff not a real clip"


@dataclass
class Told:
    """What the server answers, and what it got."""

    answers: list[tuple[int, bytes]]
    delay_s: float = 0
    got: list[dict[str, bytes]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


class Server(ThreadingHTTPServer):
    told: Told


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        told = self.server.told
        message = BytesParser().parsebytes(head + body)
        parts = [part for part in message.walk() if not part.is_multipart()]
        told.got.append({str(p.get_param("name", header="content-disposition")): _payload(p) for p in parts})
        told.keys.append(self.headers["Authorization"])
        assert self.path == "/v1/audio/transcriptions"
        status, answer = told.answers.pop(0)
        threading.Event().wait(told.delay_s)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        with contextlib.suppress(BrokenPipeError):  # nobody waits any more
            self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def _payload(part: Any) -> bytes:
    payload: bytes = part.get_payload(decode=True)
    return payload


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(autouse=True)
def age(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how long ago the container was started; 0 at first."""

    def set_age(seconds: float) -> None:
        monkeypatch.setattr(warm, "age_s", lambda: seconds)

    set_age(0)
    return set_age


@pytest.fixture
def env(tmp_path: Path, server: Server) -> dict[str, str]:
    (tmp_path / "clip.wav").write_bytes(CLIP)
    return {
        "WARM_MODELS": '["org/turbo"]',
        "WARM_CLIP": str(tmp_path / "clip.wav"),
        "WARM_URL": f"http://127.0.0.1:{server.server_port}",
        "WARM_RUN_S": "0",
        "http_proxy": "http://127.0.0.1:9",
    }


def run(env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit status and the one line, without the seconds."""
    code = warm.main(env)
    (line,) = capsys.readouterr().out.splitlines()
    return code, re.sub(r"\bin \d+\.\d s", "in N s", line)


def test_warm(server: Server, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    server.told = Told([(200, b'{"text": " Hello, world. "}'), (200, b'{"text": "hello"}')])
    env |= {
        "WARM_MODELS": '["org/turbo", "org/small"]',
        "WARM_LANGUAGE": "en",
        "API_KEY": "k",
    }
    assert run(env, capsys) == (0, 'warm: ok: org/turbo heard "Hello, world." in N s; org/small heard "hello" in N s')
    fields = {"response_format": b"json", "language": b"en", "file": CLIP}
    assert server.told.got == [fields | {"model": b"org/turbo"}, fields | {"model": b"org/small"}]
    assert server.told.keys == ["Bearer k", "Bearer k"]


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (
            (404, b'{"detail":"Model \'org/turbo\' is not installed locally."}'),
            'org/turbo: HTTP 404: {"detail":"Model \'org/turbo\' is not installed locally."} '
            "The model is not on the volume under this name: was it seeded?",
        ),
        (
            (404, b'{"detail":"Model \'org/turbo\' is not supported."}'),
            'org/turbo: HTTP 404: {"detail":"Model \'org/turbo\' is not supported."} '
            "Its card, README.md, does not name ctranslate2 and automatic-speech-recognition: seed it again.",
        ),
        (
            (500, b"\x1b[2Jgone\r\nwarm: ok"),
            "org/turbo: HTTP 500: ?[2Jgone??warm: ok The server failed, most often for lack of GPU memory or a broken "
            "model: see its log.",
        ),
        (
            (302, b"Moved"),  # it leads to this server, where nothing but POST is answered
            "org/turbo: HTTP 302: Moved See the server's log.",
        ),
        (
            (403, b'{"detail":"Invalid API key"}'),
            'org/turbo: HTTP 403: {"detail":"Invalid API key"} '
            "The API key is missing or wrong: does API_KEY come from the server's Secret?",
        ),
        (
            (415, b'{"detail":"Failed to decode audio."}'),
            'org/turbo: HTTP 415: {"detail":"Failed to decode audio."} '
            "The server cannot decode the clip: is WARM_CLIP a whole WAV file?",
        ),
        (
            (500, b"Internal Server Error"),
            "org/turbo: HTTP 500: Internal Server Error "
            "The server failed, most often for lack of GPU memory or a broken model: see its log.",
        ),
        ((502, b""), "org/turbo: HTTP 502:  See the server's log."),
        (
            (200, b'{"text": " ... "}'),
            "org/turbo answered without text in N s. Is the clip silent? It has to be speech.",
        ),
        (
            (200, b"<html>"),
            "org/turbo: the answer is not a transcription (Expecting value: line 1 column 1 (char 0)). "
            "Does Speaches listen here?",
        ),
        (
            (200, b"{}"),
            "org/turbo: the answer is not a transcription ('text'). Does Speaches listen here?",
        ),
    ],
)
def test_not_warm(
    server: Server, env: dict[str, str], capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes], line: str
) -> None:
    server.told = Told([answer])
    assert run(env, capsys) == (1, f"warm: {line}")


def test_any_text_will_do(server: Server, env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """Also what a model hears that was tuned for another language."""
    server.told = Told([(200, '{"text": "Отвори прозореца."}'.encode())])
    assert run(env, capsys) == (0, 'warm: ok: org/turbo heard "Отвори прозореца." in N s')


# ---- the budget


def test_a_request_gets_all_the_time_that_is_left(
    server: Server, env: dict[str, str], capsys: pytest.CaptureFixture[str], age: Callable[[float], None]
) -> None:
    """And a second, at least: without one the reason would not be told in the end."""
    for delay_s, budget_s, code in ((1.3, "102", 0), (1.3, "100", 1), (0.3, "90", 0)):
        age(100)
        server.told = Told([(200, b'{"text": "Hello"}')], delay_s=delay_s)
        said = run(env | {"WARM_BUDGET_S": budget_s}, capsys)
        assert said[0] == code
        if code:
            assert said[1] == "warm: org/turbo: no answer 100 s after the start: still loading, or stuck."


@pytest.mark.parametrize(
    ("age_s", "slept"),
    [
        (0, 20),  # a run that fails at once lasts as long as the kubelet's threshold counts on
        (590, 10),
        (601, 0),  # but not when the budget is over
    ],
)
def test_how_long_a_run_that_fails_lasts(
    server: Server,
    env: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    age: Callable[[float], None],
    age_s: float,
    slept: float,
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    age(age_s)
    server.told = Told([(500, b"")])
    assert run(env | {"WARM_BUDGET_S": "600", "WARM_RUN_S": "20"}, capsys)[0] == 1
    assert pauses == [pytest.approx(slept, abs=0.5)]


def test_the_age_is_that_of_the_first_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """ps reads it likewise."""
    monkeypatch.undo()
    said = subprocess.run(["ps", "-o", "etimes=", "-p", "1"], capture_output=True, text=True, check=True).stdout
    assert warm.age_s() == pytest.approx(float(said), abs=2)


@pytest.mark.parametrize("key", ["sesame\n", "se same", "сезам", "\tsesame"])
def test_a_key_that_no_header_can_carry_is_not_printed(
    env: dict[str, str], capsys: pytest.CaptureFixture[str], key: str
) -> None:
    assert run(env | {"API_KEY": key}, capsys) == (
        1,
        "warm: API_KEY has a blank, a line break or another character that no header can carry.",
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def test_a_server_that_does_not_listen(env: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(env | {"WARM_URL": f"http://127.0.0.1:{free_port()}"}, capsys) == (
        1,
        "warm: the server does not listen yet, 0 s after its start.",
    )


def test_a_server_that_listens_a_little_later(
    env: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    late: list[Server] = []

    def start(_: float) -> None:
        server = Server(("127.0.0.1", port), Handler)
        server.told = Told([(200, b'{"text": "Hello"}')])
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        late.append(server)

    monkeypatch.setattr(time, "sleep", start)
    assert run(env | {"WARM_URL": f"http://127.0.0.1:{port}", "WARM_RUN_S": "5"}, capsys) == (
        0,
        'warm: ok: org/turbo heard "Hello" in N s',
    )
    for server in late:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"WARM_CLIP": "/none.wav"}, "FileNotFoundError: [Errno 2] No such file or directory: '/none.wav'"),
        ({"WARM_MODELS": "turbo"}, "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ({"WARM_RUN_S": "soon"}, "ValueError: could not convert string to float: 'soon'"),
    ],
)
def test_a_probe_set_up_wrongly(
    env: dict[str, str], capsys: pytest.CaptureFixture[str], change: dict[str, str], line: str
) -> None:
    assert run(env | change, capsys) == (1, f"warm: the probe is set up wrongly: {line}")
