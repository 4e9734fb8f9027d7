"""warm.py against a server on localhost that answers as told."""

from __future__ import annotations

import contextlib
import re
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
from ansible_collections.portal.stt.plugins.filter.speaches import objects
from werkzeug import Request, Response

from tests.conftest import ROOT
from tests.servers import web
from tests.unit.speaches.test_seed import load

warm: Any = load("warm")
CLIP = b"RIFF\r\n--\x00\xff not a real clip"


@dataclass
class Told:
    """What the server answers, and what it got."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    delay_s: float = 0
    got: list[dict[str, bytes]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        assert (request.method, request.path) == ("POST", "/v1/audio/transcriptions")
        fields = {name: value.encode() for name, value in request.form.items()}
        self.got.append(fields | {name: sent.read() for name, sent in request.files.items()})
        self.keys.append(request.headers.get("Authorization"))
        status, content = self.answers.pop(0)
        threading.Event().wait(self.delay_s)
        return Response(content, status, {"Location": "/elsewhere"} if status == 302 else None)


@dataclass
class Server:
    address: str
    told: Told


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server("", Told())
    with web(lambda request: one.told.answer(request)) as one.address:
        yield one


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
        "WARM_URL": f"http://{server.address}",
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
    port, told = free_port(), Told([(200, b'{"text": "Hello"}')])
    with contextlib.ExitStack() as late:
        monkeypatch.setattr(time, "sleep", lambda _: late.enter_context(web(told.answer, port=port)))
        assert run(env | {"WARM_URL": f"http://127.0.0.1:{port}", "WARM_RUN_S": "5"}, capsys) == (
            0,
            'warm: ok: org/turbo heard "Hello" in N s',
        )


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


# ---- run by the CronJob, through the Service


def told_by_the_manifest(tmp_path: Path, **variables: Any) -> dict[str, str]:
    """The environment of the CronJob's container as the kubelet fills it in, with the clip where it is here."""
    found = {"role": str(ROOT / "roles" / "speaches"), "image": f"r.invalid/i@sha256:{'0' * 64}", "deployed": []}
    given = {"speaches_synthetic": {"enabled": True}, "speaches_models": [{"model": "org/turbo"}], **variables}
    (manifest,) = [one for one in objects(given, "server", found) if one["kind"] == "CronJob"]
    (container,) = manifest["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python3", "/opt/portal-stt/warm.py"]
    env = {one["name"]: one.get("value", "sesame") for one in container["env"]}
    assert env["WARM_HOST"] == "$(PORTAL_STT_SERVICE_HOST)"
    (tmp_path / "clip.wav").write_bytes(CLIP)
    return env | {"WARM_CLIP": str(tmp_path / "clip.wav"), "WARM_RUN_S": "0"}


SERVICE = "127.91.8.16"
"""An address of this machine that nobody else listens at."""


def test_the_clip_goes_through_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To its address and port, with the key."""
    env = told_by_the_manifest(tmp_path, speaches_api_key="sesame") | {"WARM_HOST": SERVICE}
    told = Told([(200, b'{"text": "Hello"}')])
    with web(told.answer, host=SERVICE, port=8000):
        assert run(env, capsys) == (0, 'warm: ok: org/turbo heard "Hello" in N s')
    assert told.keys == ["Bearer sesame"]
    assert told.got == [{"model": b"org/turbo", "response_format": b"json", "language": b"en", "file": CLIP}]


def test_the_clip_runs_as_a_program_of_its_own(tmp_path: Path) -> None:
    """As the container runs it: with this environment alone."""
    env = told_by_the_manifest(tmp_path) | {"WARM_HOST": SERVICE}
    told = Told([(200, b'{"text": "Hello"}'), (200, b'{"text": ""}')])
    script = ROOT / "roles" / "speaches" / "files" / "warm.py"
    codes = []
    with web(told.answer, host=SERVICE, port=8000):
        for _ in range(2):
            # the age of this machine's first process is no container's
            env["WARM_BUDGET_S"] = "1e9"
            codes.append(subprocess.run([sys.executable, script], env=env, capture_output=True, check=False).returncode)
    assert codes == [0, 1]


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({}, "http://127.0.0.1:8000"),
        ({"WARM_HOST": "10.96.7.7"}, "http://10.96.7.7:8000"),
        ({"WARM_HOST": "fd00::7"}, "http://[fd00::7]:8000"),
    ],
)
def test_where_the_server_listens(env: dict[str, str], address: str) -> None:
    assert warm.address(env) == address


def test_no_server_behind_the_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    env = told_by_the_manifest(tmp_path) | {"WARM_HOST": "127.0.0.1", "WARM_URL": f"http://127.0.0.1:{free_port()}"}
    assert run(env, capsys) == (1, "warm: no server is ready behind the Service: see its pods.")


def test_no_service(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The kubelet leaves a variable as it stands that is not there."""
    assert run(told_by_the_manifest(tmp_path), capsys) == (1, "warm: there was no Service yet when this pod started.")


def test_a_server_that_does_not_answer_in_time(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    env = told_by_the_manifest(tmp_path) | {
        "WARM_HOST": "h",
        "WARM_URL": f"http://{server.address}",
        "WARM_BUDGET_S": "1",
    }
    server.told = Told([(200, b'{"text": "Hello"}')], delay_s=1.5)
    said = "no answer 0 s after the start: busy, stuck, or kept away by a NetworkPolicy."
    assert run(env, capsys) == (1, f"warm: org/turbo: {said}")
