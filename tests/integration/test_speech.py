# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SpeachesStandIn as a process: each behaviour of Speaches v0.9.0-rc.3 that the collection relies on.

The docstrings name the file of Speaches (below src/speaches) where the behaviour comes from, and with § the section of
the facts (speaches.md) that tells it.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import wave
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.portal.stt.plugins.module_utils._speech.proof import Clip, Plan, listen
from ansible_collections.portal.stt.plugins.module_utils._speech.ways import SpeechError, Upload, directly
from ansible_collections.portal.stt.plugins.modules import transcription_check

from lab.hub import HubStandIn
from lab.paths import ROOT
from lab.weights import hub_cache, revision, weights
from tests.modules import run_module

MODEL = "Systran/faster-whisper-base"
CLIPS = ROOT / "roles" / "verify" / "files" / "clips"
ENGLISH = (CLIPS / "en.wav").read_bytes()
TEXT = "Please open the window and close the door."
BOUND = 300.0  # seconds that nothing here takes


class Speech:
    """A running stand-in. `cache` is its HF_HUB_CACHE."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, cache: Path, log: Path) -> None:
        self.process, self.url, self.cache, self.log = process, f"http://127.0.0.1:{port}", cache, log

    def call(self, method: str, path: str, **given: Any) -> requests.Response:
        return requests.request(method, f"{self.url}{path}", timeout=given.pop("timeout", BOUND), **given)

    def transcribe(self, audio: bytes = ENGLISH, name: str = "clip.wav", **form: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {form.pop('key')}"} if "key" in form else {}
        data = {"model": MODEL, "language": "en"} | form
        return self.call("POST", "/v1/audio/transcriptions", files={"file": (name, audio)}, data=data, headers=headers)

    def loaded(self) -> list[str]:
        names: list[str] = self.call("GET", "/api/ps").json()["models"]
        return names

    @property
    def model_bin(self) -> Path:
        """The weights' file on the volume."""
        (found,) = self.cache.glob("*/snapshots/*/model.bin")
        return found


Start = Callable[..., AbstractContextManager[Speech]]


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model volume as it is after seeding."""
    cache = tmp_path_factory.mktemp("hub")
    hub_cache(cache, MODEL)
    return cache


@pytest.fixture
def own_volume(tmp_path: Path) -> Path:
    """The same, for a test that damages it."""
    hub_cache(tmp_path / "hub", MODEL)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts a stand-in with further environment variables, and ends it afterwards."""

    @contextmanager
    def started(cache: Path, **environment: str) -> Iterator[Speech]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = tmp_path_factory.mktemp("log") / "speech.log"
        process = launch(cache, port, log, **environment)
        try:
            _until(lambda: process.poll() is not None or _listens(port))
            assert process.poll() is None, log.read_text()
            yield Speech(process, port, cache, log)
        finally:
            process.kill()
            process.wait()

    return started


@pytest.fixture(scope="module")
def speech(start: Start, volume: Path) -> Iterator[Speech]:
    """One server as the collection runs it, shared by the tests that leave it as it is."""
    with start(volume, WHISPER__INFERENCE_DEVICE="cuda", WHISPER__COMPUTE_TYPE="int8", STT_MODEL_TTL="-1") as server:
        yield server


def launch(cache: Path, port: int, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    settings = {
        "HF_HUB_CACHE": str(cache),
        "HF_HUB_OFFLINE": "1",
        "LOG_LEVEL": "info",
        "UVICORN_HOST": "127.0.0.1",
        "UVICORN_PORT": str(port),
    }
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with log.open("wb") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.speech.server"],
            cwd=ROOT,
            env=inherited | settings | environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def silence(seconds: int) -> bytes:
    """A WAV file in which nothing is said."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(bytes(2 * 8000 * seconds))
    return file.getvalue()


def test_starts_cold_and_loads_at_the_first_request(start: Start, volume: Path) -> None:
    """routers/misc.py, executors/shared/base_model_manager.py: healthy says nothing of the model (§1, §2)."""
    with start(volume) as server:
        health = server.call("GET", "/health")
        assert (health.status_code, health.json()) == (200, {"message": "OK"})
        assert server.call("HEAD", "/health").status_code == 405
        assert server.loaded() == []
        assert server.transcribe().json()["text"] == TEXT
        assert server.loaded() == [MODEL, "silero_vad_v5"]


def test_no_metrics(speech: Speech) -> None:
    """There is no such route at this tag (§3)."""
    answer = speech.call("GET", "/metrics")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("clip", ["en", "bg"])
def test_clips(speech: Speech, clip: str) -> None:
    """The bundled clips through Whisper base, in the process that the lab runs."""
    expected = {"en": TEXT, "bg": "Мола, отворете прозореца!"}
    answer = speech.transcribe((CLIPS / f"{clip}.wav").read_bytes(), language=clip)
    assert answer.json()["text"] == expected[clip]


def test_formats(speech: Speech) -> None:
    """routers/stt.py: json, text and verbose_json; success is logged as an error (§3, §4)."""
    assert speech.transcribe(response_format="json").json()["text"] == TEXT
    plain = speech.transcribe(response_format="text")
    assert (plain.text, plain.headers["content-type"]) == (TEXT, "text/plain; charset=utf-8")
    verbose = speech.transcribe(response_format="verbose_json").json()
    assert (verbose["text"], verbose["language"], round(verbose["duration"], 2)) == (TEXT, "en", 2.35)
    assert [segment["text"].strip() for segment in verbose["segments"]] == [TEXT]
    log = speech.log.read_text()
    assert "ERROR:speaches_stand_in:Unexpected streaming transcription response type" in log
    assert f"Model {MODEL} loaded in " in log
    assert "seconds of audio in " in log


def test_subtitles_and_streams(speech: Speech) -> None:
    """routers/stt.py: the last event's text is always empty (§4)."""
    cues = speech.transcribe(response_format="srt").text
    assert (cues.splitlines()[0], cues.splitlines()[2].strip()) == ("1", TEXT)
    assert cues.splitlines()[1].startswith("00:00:00,000 --> 00:00:0")
    assert speech.transcribe(response_format="vtt").text.startswith("WEBVTT\n\n1\n00:00:00.000 --> ")
    events = [
        json.loads(line.removeprefix("data: ")) for line in speech.transcribe(stream="true").text.split("\n\n")[:-1]
    ]
    assert [(one["type"], one.get("delta", one.get("text")).strip()) for one in events] == [
        ("transcript.text.delta", TEXT),
        ("transcript.text.done", ""),
    ]


def test_words_move_the_segments_end(speech: Speech) -> None:
    """faster-whisper ends a segment with its last word when it looks for words (§13)."""
    ends = []
    for granularity in ("segment", "word"):
        form: dict[str, Any] = {"response_format": "verbose_json", "timestamp_granularities[]": granularity}
        ends.append(speech.transcribe(**form).json()["segments"][0]["end"])
    assert ends[0] != ends[1]


def test_what_else_is_there(speech: Speech) -> None:
    """Offline the hub's library raises, which is 500; translations are transcriptions with another task (§13)."""
    assert [speech.call("GET", path).status_code for path in ("/docs", "/redoc", "/openapi.json")] == [200] * 3
    assert speech.call("GET", "/v1/registry").status_code == 500
    assert speech.call("POST", f"/v1/models/{MODEL}").status_code == 500
    audio = {"file": ("clip.wav", ENGLISH)}
    assert speech.call("POST", "/v1/audio/translations", files=audio, data={"model": MODEL}).status_code == 200


def test_models(speech: Speech) -> None:
    """routers/models.py: the one for voice activity is listed, too, unless a task is asked for (§13)."""
    listed = speech.call("GET", "/v1/models").json()["data"]
    assert [one["id"] for one in listed] == [MODEL, "silero_vad_v5"]
    (model,) = speech.call("GET", "/v1/models?task=automatic-speech-recognition").json()["data"]
    assert speech.call("GET", f"/v1/models/{MODEL}").json() == model
    assert speech.call("GET", "/v1/models/nobody/nothing").status_code == 404
    assert speech.call("GET", "/v1/models?task=cooking").status_code == 422
    assert (model["id"], model["object"], model["owned_by"]) == (MODEL, "model", "Systran")
    assert (model["task"], model["language"]) == ("automatic-speech-recognition", ["en", "bg"])


@pytest.mark.parametrize(
    ("audio", "form", "status", "detail"),
    [
        pytest.param(
            ENGLISH,
            {"model": "nobody/nothing"},
            404,
            "Model 'nobody/nothing' is not installed locally. You can download the model using `POST /v1/models`",
            id="model missing (routers/utils.py)",
        ),
        pytest.param(
            b"not a sound",
            {},
            415,
            "Failed to decode audio. The provided file type is not supported.",
            id="not decodable (dependencies.py)",
        ),
        pytest.param(ENGLISH[:44], {}, 500, "Failed to decode audio.", id="no samples (dependencies.py)"),
        pytest.param(
            ENGLISH,
            {"response_format": "yaml"},
            422,
            [
                {
                    "type": "literal_error",
                    "loc": ["body", "response_format"],
                    "msg": "Input should be 'text', 'json', 'verbose_json', 'srt' or 'vtt'",
                    "input": "yaml",
                }
            ],
            id="unknown format",
        ),
        pytest.param(
            ENGLISH,
            {"model": ""},
            422,
            [{"type": "missing", "loc": ["body", "model"], "msg": "Field required", "input": None}],
            id="no model",
        ),
    ],
)
def test_refusals(speech: Speech, audio: bytes, form: dict[str, str], status: int, detail: object) -> None:
    """routers/stt.py, and what the ids name (§4)."""
    answer = speech.transcribe(audio, **form)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        ({"temperature": "warm"}, ("float_parsing", "temperature")),
        ({"stream": "maybe"}, ("bool_parsing", "stream")),
        ({"timestamp_granularities[]": "letter"}, ("literal_error", "timestamp_granularities[]")),
        ({"file": "a text"}, ("value_error", "file")),
    ],
)
def test_wrong_fields(speech: Speech, form: dict[str, str], wrong: tuple[str, str]) -> None:
    """FastAPI's own words (§13)."""
    fields: dict[str, Any] = {name: (None, value) for name, value in ({"model": MODEL} | form).items()}
    sound = {} if "file" in form else {"file": ("clip.wav", ENGLISH)}
    answer = speech.call("POST", "/v1/audio/transcriptions", files=fields | sound)
    (one,) = answer.json()["detail"]
    assert (answer.status_code, one["type"], one["loc"][1]) == (422, *wrong)


@pytest.mark.parametrize("language", ["klingon", ""])
def test_unknown_language_is_a_crash(speech: Speech, language: str) -> None:
    """routers/stt.py does not look at it; faster-whisper raises: plain text, as for each unhandled exception (§4)."""
    answer = speech.transcribe(language=language)
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


@pytest.mark.parametrize(("seconds", "status"), [(2, 200), (30, 500)])
def test_silence(speech: Speech, seconds: int, status: int) -> None:
    """executors/silero_vad_v5.py: without speech a short clip is transcribed all the same, a long one crashes (§4)."""
    assert speech.transcribe(silence(seconds)).status_code == status


def check(server: Speech, clip: Path, model: str = MODEL) -> dict[str, Any]:
    """What `transcription_check` says of the server."""
    clips = [{"path": str(clip), "text": TEXT, "language": "en", "name": "en"}]
    return run_module(transcription_check, url=server.url, model=model, clips=clips, requests=2, warm_factor=10)


def test_the_check_hears_speech(speech: Speech) -> None:
    speech.transcribe()
    passed = check(speech, CLIPS / "en.wav")
    assert (passed["clips"][0]["wer"], passed["warm"], passed["listed"], "failed" in passed) == (0.0, True, True, False)


def test_the_check_of_a_server_that_has_loaded_nothing(start: Start, volume: Path) -> None:
    """Whatever the times say: the server does not list the model."""
    with start(volume) as server:
        failed = check(server, CLIPS / "en.wav")
        assert (failed["warm"], failed["listed"]) == (False, False)
        assert failed["msg"].startswith(
            f"model {MODEL}: cold: the server did not have it in memory before the first request"
        )
        assert check(server, CLIPS / "en.wav")["warm"]


def test_the_check_of_a_card_without_its_front_matter(start: Start, own_volume: Path) -> None:
    (card,) = own_volume.glob("*/snapshots/*/README.md")
    card.unlink()
    card.write_text("# Whisper\n")
    with start(own_volume) as server:
        failed = check(server, CLIPS / "en.wav")
    assert failed["msg"].startswith(
        f"clip en: model {MODEL} is on the server's volume, and its card does not say that it transcribes. "
    )


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (signal.SIGKILL, "the server broke the connection off in the middle of the request"),
        (signal.SIGSTOP, "no answer within 3 s"),
    ],
)
def test_the_check_of_a_server_that_ends_or_hangs_in_the_middle(
    start: Start, volume: Path, end: signal.Signals, said: str
) -> None:
    """While it loads the model, which takes longer than the timer."""
    with start(volume) as server:
        send = directly(server.url, "", 3)

        def interrupted(method: str, path: str, upload: Upload | None) -> bytes:
            if method == "POST":
                threading.Timer(0.3, server.process.send_signal, (end,)).start()
            return send(method, path, upload)

        clip = Clip("en", "en.wav", ENGLISH, TEXT, "en")
        with pytest.raises(SpeechError) as raised:
            listen([clip], Plan(MODEL), interrupted, time.monotonic)
    assert said in str(raised.value)
    assert "NetworkPolicy" not in str(raised.value)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2, "clip en: heard wrong: WER 1.00, CER {cer}, and at most WER 0.20 passes.\n"
            f"  expected: {TEXT}\n  heard:    "),
        (30, "clip en: HTTP 500: Internal Server Error. Look at the server's log. A model that does not load, a clip "
             "without sound, a language code that Whisper does not know and 30 seconds or more without speech all end "
             "like this."),
    ],
)  # fmt: skip
def test_the_check_of_a_silent_clip(speech: Speech, tmp_path: Path, seconds: int, said: str) -> None:
    """As in test_silence (§4)."""
    (tmp_path / "silent.wav").write_bytes(silence(seconds))
    failed = check(speech, tmp_path / "silent.wav")
    cer = failed["clips"][0]["cer"] if failed["clips"] else 0
    assert failed["failed"]
    assert failed["msg"].startswith(said.format(cer=f"{cer:.2f}"))


def test_the_check_of_a_mistyped_model(speech: Speech) -> None:
    """routers/utils.py (§4); the list of models says what is there."""
    failed = check(speech, CLIPS / "en.wav", "Systran/faster-whisper-bse")
    assert failed["msg"] == (
        f"clip en: model Systran/faster-whisper-bse is not on the server's volume; there: {MODEL}. Correct the model's "
        "name, or let the deploy play seed it."
    )


def test_load_and_unload(start: Start, volume: Path) -> None:
    """routers/misc.py: 201, then 409; 200, then 404 (§2)."""
    with start(volume) as server:
        answers = [server.call(method, f"/api/ps/{MODEL}") for method in ("POST", "POST", "DELETE", "DELETE")]
        assert [(answer.status_code, answer.json()["message"]) for answer in answers] == [
            (201, f"Model '{MODEL}' loaded."),
            (409, f"Model '{MODEL}' is already loaded."),
            (200, f"Model {MODEL} unloaded."),
            (404, f"Model {MODEL} is not loaded."),
        ]
        assert server.call("POST", "/api/ps/nobody/nothing").status_code == 404


def test_failed_load_looks_loaded(start: Start, volume: Path) -> None:
    """executors/shared/base_model_manager.py: the entry is made before loading and stays when that fails (§2)."""
    with start(volume, WHISPER__INFERENCE_DEVICE="cpu", WHISPER__COMPUTE_TYPE="float16") as server:
        failed = server.call("POST", f"/api/ps/{MODEL}")
        assert (failed.status_code, failed.text) == (500, "Internal Server Error")
        assert server.loaded() == [MODEL]
        assert server.call("POST", f"/api/ps/{MODEL}").status_code == 409
        cleared = server.call("DELETE", f"/api/ps/{MODEL}")
        assert (cleared.status_code, cleared.json()["message"]) == (
            409,
            f"Model {MODEL} is not loaded. self.ref_count=0",
        )
        assert server.loaded() == []
        assert server.transcribe().status_code == 500


def test_while_a_load_hangs(start: Start, own_volume: Path) -> None:
    """A model that does not come from the volume (here: a pipe in its place).

    executors/shared/base_model_manager.py: it is listed as loaded, and 409 proves nothing. All handlers share a
    pool of 40 threads: 40 requests that wait for the model take /health with them. Once the load fails, it goes
    on (§2, §4).
    """
    with start(own_volume) as server, ThreadPoolExecutor(64) as pool:
        pipe = server.model_bin
        pipe.unlink()
        os.mkfifo(pipe)
        waiting = [pool.submit(server.call, "POST", f"/api/ps/{MODEL}")]
        _until(lambda: server.loaded() == [MODEL])
        assert server.call("POST", f"/api/ps/{MODEL}").status_code == 409
        assert server.call("GET", "/health", timeout=10).status_code == 200

        waiting += [pool.submit(server.transcribe) for _ in range(39)]
        _until(lambda: _is_starved(server))

        waiting_end = pipe.rename(pipe.with_name("pipe"))
        pipe.touch()
        waiting_end.open("wb").close()
        assert {future.result().status_code for future in waiting} == {500}
        assert server.call("GET", "/health").status_code == 200


def _is_starved(server: Speech) -> bool:
    try:
        server.call("GET", "/health", timeout=2)
    except requests.Timeout:
        return True
    return False


def test_time_to_live_of_zero(start: Start, volume: Path) -> None:
    """executors/shared/base_model_manager.py: unloaded as soon as nobody uses it; not the VAD model (§2, §5)."""
    with start(volume, STT_MODEL_TTL="0") as server:
        assert server.transcribe().json()["text"] == TEXT
        assert server.loaded() == ["silero_vad_v5"]


def test_time_to_live(start: Start, volume: Path) -> None:
    """As above, after seconds without use (§2)."""
    with start(volume, STT_MODEL_TTL="1") as server:
        assert server.call("POST", f"/api/ps/{MODEL}").status_code == 201
        assert server.loaded() == [MODEL]
        _until(lambda: server.loaded() == [])


def test_api_key(start: Start, volume: Path) -> None:
    """dependencies.py: 403, whether missing or wrong; /health stays public (§2)."""
    with start(volume, API_KEY="sesame") as server:
        assert server.call("GET", "/health").status_code == 200
        assert server.call("GET", "/api/ps").status_code == 403
        missing, wrong = server.transcribe(), server.transcribe(key="seeds")
        assert (missing.status_code, missing.json()["detail"]) == (
            403,
            "API key required. Please provide an API key using the Authorization header with Bearer scheme.",
        )
        assert (wrong.status_code, wrong.json()["detail"]) == (
            403,
            "Invalid API key. The provided API key is incorrect.",
        )
        assert wrong.headers["www-authenticate"] == "Bearer"
        basic = server.call("GET", "/api/ps", auth=("sesame", "sesame"))
        assert basic.json()["detail"].startswith("API key required.")
        assert server.call("GET", "/docs").status_code == 200  # and so are FastAPI's own pages
        assert server.transcribe(key="sesame").json()["text"] == TEXT


@pytest.mark.parametrize(
    ("damage", "detail"),
    [
        pytest.param(lambda repo: next(repo.glob("snapshots/*/README.md")).unlink(), "valid model card", id="no card"),
        pytest.param(lambda repo: (repo / "refs" / "main").write_text("0" * 40), "Internal Server Error", id="ref"),
        pytest.param(lambda repo: shutil.rmtree(repo.parent), "Internal Server Error", id="no cache"),
        pytest.param(lambda repo: (repo / "refs" / "main").unlink(), "", id="no ref, but one snapshot"),
    ],
)
def test_damaged_volume(start: Start, own_volume: Path, damage: Callable[[Path], None], detail: str) -> None:
    """hf_utils.py, routers/utils.py: the volume is read anew at each request, also of a loaded model (§2, §4)."""
    with start(own_volume) as server:
        assert server.transcribe().status_code == 200
        damage(next(own_volume.glob("models--*")))
        answer = server.transcribe()
        assert answer.status_code == (500 if detail else 200)
        assert detail in answer.text


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        pytest.param({"HF_HUB_OFFLINE": "1"}, 3, "Application startup failed. Exiting.", id="offline"),
        pytest.param(
            {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}, 3, "Application startup failed", id="no hub"
        ),
        pytest.param({"PRELOAD_MODELS": MODEL}, 1, "Expecting value", id="not a JSON list"),
        pytest.param({"STT_MODEL_TTL": "-2"}, 1, "STT_MODEL_TTL", id="time to live"),
        pytest.param({"WHISPER__COMPUTE_TYPE": "int4"}, 1, "WHISPER__COMPUTE_TYPE", id="compute type"),
    ],
)
def test_does_not_start(volume: Path, tmp_path: Path, environment: dict[str, str], code: int, said: str) -> None:
    """main.py, config.py: PRELOAD_MODELS asks the hub although all is on the volume; exit code 3 without it (§1)."""
    given = {"PRELOAD_MODELS": f'["{MODEL}"]'} | environment
    process = launch(volume, 1, tmp_path / "log", **given)
    assert process.wait(BOUND) == code
    assert said in (tmp_path / "log").read_text()


@pytest.fixture
def hub() -> Iterator[HubStandIn]:
    files = {path.name: path for path in weights().iterdir()}
    with HubStandIn({MODEL: {revision(): files}}) as running:
        yield running


def test_preload_downloads_and_does_not_load(start: Start, hub: HubStandIn, tmp_path: Path) -> None:
    """main.py, executors/shared/registry.py: it answers after the download, and has nothing in memory (§1)."""
    (tmp_path / "hub").mkdir()
    online = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.endpoint, "PRELOAD_MODELS": f'["{MODEL}"]'}
    with start(tmp_path / "hub", **online) as server:
        assert server.loaded() == []
        assert f"Successfully downloaded model: {MODEL}" in server.log.read_text()
        assert server.transcribe().json()["text"] == TEXT


def test_online_load_moves_main_without_the_card(start: Start, hub: HubStandIn, tmp_path: Path) -> None:
    """executors/whisper.py: a load takes what `main` is at the hub now, without README.md: nothing works then (§2)."""
    cache = tmp_path / "hub"
    hub_cache(cache, MODEL, "0" * 40)
    with start(cache, HF_HUB_OFFLINE="0", HF_ENDPOINT=hub.endpoint) as server:
        assert server.transcribe().json()["text"] == TEXT
        assert next(cache.glob("*/refs/main")).read_text() == revision()
        answer = server.transcribe()
        assert answer.status_code == 500
        assert "valid model card" in answer.json()["detail"]


def test_online_load_without_a_hub(start: Start, volume: Path) -> None:
    """executors/whisper.py: a load whose hub does not answer takes what `refs/main` names (§2)."""
    with start(volume, HF_HUB_OFFLINE="0", HF_ENDPOINT="http://127.0.0.1:9") as server:
        assert server.transcribe().json()["text"] == TEXT


def test_ends_after_what_it_is_doing(start: Start, volume: Path) -> None:
    """uvicorn: SIGTERM waits for requests that run (§5)."""
    with start(volume) as server, ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.transcribe)
        _until(lambda: server.loaded())
        server.process.send_signal(signal.SIGTERM)
        assert running.result().json()["text"] == TEXT
        assert server.process.wait(BOUND) == -signal.SIGTERM
