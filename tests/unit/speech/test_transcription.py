"""Clips, the form they are sent in, what is made of the answers, and what is said of each refusal."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import socket
import threading
import wave
from collections.abc import Iterator, Mapping
from dataclasses import replace
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.portal.stt.plugins.module_utils._findings import Status
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import ClusterError
from ansible_collections.portal.stt.plugins.module_utils._speech import proof, ways
from ansible_collections.portal.stt.plugins.module_utils._speech.proof import (
    Clip,
    Heard,
    Plan,
    Report,
    Warmth,
    form,
    judge,
    listen,
    normalise,
    prove,
    read_clips,
    subtitles,
)
from ansible_collections.portal.stt.plugins.module_utils._speech.ways import (
    RefusedError,
    Silence,
    SpeechError,
    Upload,
    directly,
    servers,
    through_cluster,
    through_pod,
)
from ansible_collections.portal.stt.plugins.modules import transcription_check

from tests.conftest import ROOT

MODEL = "deepdml/faster-whisper-large-v3-turbo-ct2"
TEXT = "Turn on the light."
MODELS = json.dumps({"object": "list", "data": [{"id": "Systran/faster-whisper-base"}]}).encode()

LOADED = json.dumps({"models": [MODEL, "silero_vad_v5"]}).encode()
TRANSCRIBING = "/v1/models?task=automatic-speech-recognition"


def sound(seconds: float = 2.0) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(bytes(int(16000 * seconds)))
    return file.getvalue()


ENGLISH = Clip("light", "light.wav", sound(), TEXT, "en")
BULGARIAN = Clip("bg", "bg.wav", sound(1), "Моля, отворете прозореца.", "bg", response_format="verbose_json")


class Server:
    """Answers transcriptions in order, and keeps what it was asked."""

    def __init__(
        self,
        *answers: bytes | RefusedError,
        models: bytes | RefusedError = MODELS,
        health: bytes | RefusedError = b"OK",
        loaded: bytes | RefusedError = LOADED,
    ) -> None:
        self.answers, self.asked = iter(answers), list[tuple[str, str]]()
        self.others = {"/health": health, TRANSCRIBING: models, "/api/ps": loaded}

    def send(self, method: str, path: str, upload: Upload | None) -> bytes:
        self.asked.append((method, path))
        answer = self.others[path] if path in self.others else next(self.answers)
        if isinstance(answer, RefusedError):
            raise answer
        return answer


def ticks(*seconds: float) -> Any:
    """A clock by which each request takes so long."""
    moments = itertools.accumulate(itertools.chain.from_iterable((0.0, second) for second in seconds))
    return lambda: next(moments)


def heard(text: str, **more: object) -> bytes:
    return json.dumps({"text": text} | more).encode()


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Please open the window!", "en", "please open the window"),
        ("  Don\N{RIGHT SINGLE QUOTATION MARK}t,   don't ", "en", "dont dont"),
        ("forty-two: 42", "en", "forty two 42"),
        ("Моля, отворете ПРОЗОРЕЦА.", "bg", "моля отворете прозореца"),
        ("\u0438\u0306", "bg", "й"),
        ("Straße", "de", "strasse"),
        ("„Добър ден“ \N{EN DASH} каза той…", "", "добър ден каза той"),
        ("你好, 世界", "zh", "你 好 世 界"),
        ("...", "en", ""),
    ],
)
def test_normalise(text: str, language: str, expected: str) -> None:
    assert normalise(text, language) == expected


@pytest.mark.parametrize("name", ["light.wav", "свет.wav", 'a"b.wav'])
def test_form_is_binary_multipart(name: str) -> None:
    clip = Clip("c", name, bytes(range(256)) + b"\r\n--", "x", "bg", "Лампа", "verbose_json")
    upload = form(clip, MODEL)
    message = message_from_bytes(f"Content-Type: {upload.content_type}\r\n\r\n".encode() + upload.body)
    parts = {part.get_param("name", header="content-disposition"): part for part in message.walk()}
    assert {name: parts[name].get_payload(decode=True) for name in ("model", "language", "response_format")} == {
        "model": MODEL.encode(),
        "language": b"bg",
        "response_format": b"verbose_json",
    }
    assert parts["prompt"].get_payload(decode=True) == "Лампа".encode()
    assert "content-transfer-encoding" not in parts["file"]
    assert clip.audio in upload.body


def test_form_leaves_out_what_is_not_given() -> None:
    body = form(Clip("c", "c.flac", b"x", "x"), MODEL).body
    assert b'name="language"' not in body
    assert b'name="prompt"' not in body


@pytest.mark.parametrize(
    ("cues", "text"),
    [
        ("1\n00:00:00,000 --> 00:00:01,200\n Turn on\n\n2\n00:00:01,200 --> 00:00:02,000\n the light.\n\n", TEXT),
        ("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nTurn on\nthe light.\n", TEXT),
        ("WEBVTT\r\n\r\nNOTE said at home\r\n\r\n00:00.000 --> 00:02.000\r\nTurn on the light.\r\n", TEXT),
        ("1\n00:00:00,000 --> 00:00:02,000\n42\n", "42"),
        ("1\n00:00:00,000 --> 00:00:02,000\n\n", ""),
        ("WEBVTT\n\n", ""),
        ("", ""),
    ],
    ids=["srt", "vtt", "vtt with carriage returns and a note", "a number", "empty cue", "no cue", "empty"],
)
def test_subtitles(cues: str, text: str) -> None:
    assert subtitles(cues) == text


@pytest.mark.parametrize(
    ("form_of_answer", "answer"),
    [("text", f"{TEXT}\n"), ("srt", f"1\n00:00:00,000 --> 00:00:02,000\n{TEXT}\n"), ("json", heard(TEXT).decode())],
)
def test_each_format_is_read(form_of_answer: str, answer: str) -> None:
    clip = replace(ENGLISH, response_format=form_of_answer)
    report = listen([clip], Plan(MODEL, requests=2), Server(*[answer.encode()] * 2).send, ticks(1, 1))
    assert (report.clips[0].text, report.clips[0].duration) == (TEXT, 2.0)


def test_listen() -> None:
    server = Server(*[heard(TEXT)] * 3, heard("Мола, отворете прозореца!", language="bg", duration=2.5))
    report = listen([ENGLISH, BULGARIAN], Plan(MODEL, requests=3), server.send, ticks(0.5, 0.4, 0.6, 0.7))
    assert server.asked == [
        ("GET", "/health"),
        ("GET", "/api/ps"),
        *[("POST", "/v1/audio/transcriptions")] * 4,
    ]
    assert report.as_result() == {
        "clips": [
            {
                "clip": "light",
                "language": "en",
                "text": TEXT,
                "expected": TEXT,
                "wer": 0.0,
                "cer": 0.0,
                "seconds": [0.5, 0.4, 0.6],
                "duration": 2.0,
            },
            {
                "clip": "bg",
                "language": "bg",
                "text": "Мола, отворете прозореца!",
                "expected": "Моля, отворете прозореца.",
                "wer": 0.3333,
                "cer": 0.0435,
                "seconds": [0.7],
                "duration": 2.5,
            },
        ],
        "first_seconds": 0.5,
        "median_seconds": 0.5,
        "rtf": 0.25,
        "warm": True,
        "listed": True,
        "concurrent": [],
    }


@pytest.mark.parametrize(
    ("listed", "seconds", "factor", "status"),
    [
        (True, (0.48, 0.4, 0.4, 0.4), 1.2, Status.OK),
        (True, (0.49, 0.4, 0.4, 0.4), 1.2, Status.WARNING),  # listed, and not much slower
        (True, (0.49, 0.4, 0.4, 0.4), 1.5, Status.OK),
        (True, (8.2, 0.7, 0.7, 0.7), 1.2, Status.REFUSED),  # a load that is under way, or has failed, is listed, too
        (True, (0.7, 0.4), 1.2, Status.WARNING),  # of two requests
        (True, (8.2, 0.7, 0.7, 8.3), 1.2, Status.UNKNOWN),
        (False, (0.4, 0.4, 0.4), 1.2, Status.REFUSED),
        (False, (10.84, 9.54), 1.2, Status.REFUSED),  # seen: never loaded before, under load
        (False, (8.2, 0.7, 0.7), 1.2, Status.REFUSED),
        (None, (0.48, 0.4, 0.4, 0.4), 1.2, Status.OK),
        (None, (0.49, 0.4, 0.4, 0.4), 1.2, Status.REFUSED),
        (None, (0.3, 0.4, 0.4, 0.4), 1.2, Status.OK),
        (None, (8.2, 0.7, 0.7, 8.3), 1.2, Status.UNKNOWN),  # a later one that is as slow does not make it warm
        (None, (0.7, 0.4, 0.75), 1.2, Status.UNKNOWN),
        (None, (0.69, 0.4, 0.75), 1.2, Status.OK),  # of two later ones, the median is between them
    ],
)
def test_warm(listed: bool | None, seconds: tuple[float, ...], factor: float, status: Status) -> None:
    loaded = {True: f'{{"models": ["{MODEL}"]}}', False: '{"models": []}', None: "{}"}[listed].encode()
    plan = Plan(MODEL, requests=len(seconds), warm_factor=factor)
    server = Server(*[heard(TEXT)] * 4, loaded=loaded)
    report = listen([ENGLISH], plan, server.send, ticks(*seconds))
    (finding,) = [one for one in judge(report, [ENGLISH], plan) if one.check == "speech.warm"]
    assert (finding.status, report.warm, report.as_result()["listed"]) == (
        status,
        status in (Status.OK, Status.WARNING),
        listed,
    )


@pytest.mark.parametrize(
    ("listed", "first", "later", "message", "remedy"),
    [
        (False, 8.2, (0.7, 0.7),
         "cold: the server did not have it in memory before the first request; the first request took 8.20 s, later "
         "ones 0.70 s (median).",
         "Keep the startup probe that transcribes, and STT_MODEL_TTL=-1."),
        (False, 10.84, (9.54,),
         "cold: the server did not have it in memory before the first request, though the first request took 10.84 s, "
         "later ones 9.54 s (median): the machine was busy.",
         "Keep the startup probe that transcribes, and STT_MODEL_TTL=-1."),
        (True, 0.7, (0.4, 0.4),
         "warm by the server's word, not by the times: the first request took 0.70 s, later ones 0.40 s (median), and "
         "at most 1.2 times that passes.",
         "The machine was busy: run again, with more [requests], to tell."),
        (True, 8.2, (0.7, 0.7),
         "cold: the first request took 8.20 s, later ones 0.70 s (median), and at most 1.2 times that passes. The "
         "server had it listed, so a load was under way, or had failed.",
         "The model was not in memory, or the machine was busy: run again to tell. If it is cold after each restart, "
         "keep the startup probe that transcribes, and STT_MODEL_TTL=-1."),
        (None, 8.2, (0.7, 8.3, 0.7),
         "warm or cold cannot be told: the first request took 8.20 s, later ones 0.70 s (median, 0.70 to 8.30 s: the "
         "machine is busy), and at most 1.2 times that passes; a later one took as long as the first.",
         "Run again, with more [requests], when the machine is less busy."),
        (True, 0.4, (0.4, 0.9, 0.5),
         "warm: the first request took 0.40 s, later ones 0.50 s (median, 0.40 to 0.90 s: the machine is busy).", ""),
    ],
)  # fmt: skip
def test_what_is_said_of_warmth(
    listed: bool | None, first: float, later: tuple[float, ...], message: str, remedy: str
) -> None:
    report = Report((HEARD,), first, 1.0, 0.0, True, None, Warmth(listed, first, later, 1.2))
    (finding,) = [one for one in judge(report, [ENGLISH], Plan(MODEL)) if one.check == "speech.warm"]
    assert (finding.message, finding.remedy) == (message, remedy)


@pytest.mark.parametrize(
    "loaded",
    [b"{}", b"[]", b"<html>", b'{"models": "x"}', b"[" * 100_000, RefusedError(404, "Not Found")],
    ids=["empty", "a list", "a page", "a text", "deep", "refused"],
)
def test_a_server_that_does_not_tell_what_it_has_loaded(loaded: bytes | RefusedError) -> None:
    server = Server(heard(TEXT), heard(TEXT), loaded=loaded)
    assert listen([ENGLISH], Plan(MODEL, requests=2), server.send, ticks(1, 1)).as_result()["listed"] is None


def test_an_alias_is_listed_by_another_name() -> None:
    report = listen([ENGLISH], Plan("whisper-1", requests=2), Server(heard(TEXT), heard(TEXT)).send, ticks(1, 1))
    assert (report.warm, report.as_result()["listed"]) == (True, None)


def test_each_request_is_told() -> None:
    told: list[str] = []
    server = Server(*[heard(TEXT)] * 2, heard(BULGARIAN.text), *[heard(TEXT)] * 3)
    prove([ENGLISH, BULGARIAN], Plan(MODEL, requests=2, concurrency=3), "a", server.send, lambda: 0.0, told.append)
    assert told == [
        "pod a, clip light: request 1 of 2",
        "pod a, clip light: request 2 of 2",
        "pod a, clip bg: request 1 of 1",
        "pod a, clip light: 3 requests at once",
    ]


@pytest.mark.parametrize(
    ("silence", "asked"),
    [(Silence.UNREACHABLE, 1), (Silence.TIMEOUT, 2), (Silence.BROKEN, 2), (None, 3)],
)
def test_nobody_waits_three_times_for_a_server_that_is_not_there(silence: Silence | None, asked: int) -> None:
    gone = RefusedError(0 if silence else 500, "gone", silence=silence)
    server = Server(gone, health=gone)
    with pytest.raises(SpeechError, match="gone"):
        listen([ENGLISH], Plan(MODEL), server.send, ticks(1))
    assert len(server.asked) == asked


ESCAPE = "\x1b]0;owned\x07"


@pytest.mark.parametrize("style", ["json", "verbose_json", "text", "srt"])
def test_what_the_server_says_does_nothing_to_a_terminal(style: str) -> None:
    said = f"{TEXT[:-1]} {ESCAPE}"
    answer = {"text": said, "srt": f"1\n0 --> 1\n{said}\n"}.get(style, heard(said, language=ESCAPE).decode()).encode()
    clip = replace(ENGLISH, response_format=style, language="")
    plan = Plan(MODEL, requests=2)
    report = listen([clip], plan, Server(answer, answer).send, ticks(1, 1))
    assert report.clips[0].text == r"Turn on the light \x1b]0;owned\x07"
    assert all(line.isprintable() for one in judge(report, [clip], plan) for line in (one.message, *one.evidence))
    assert report.clips[0].language.isprintable()
    assert RefusedError(500, said).detail == r"Turn on the light \x1b]0;owned\x07"


@pytest.mark.parametrize(
    "duration", [None, "x", -1, True, float("nan"), float("inf"), [1], 10**400], ids=lambda one: repr(one)[:9]
)
def test_a_duration_that_is_none(duration: object) -> None:
    clip = replace(ENGLISH, response_format="verbose_json")
    answer = heard(TEXT, duration=duration, language=["en"])
    report = listen([clip], Plan(MODEL, requests=2), Server(answer, answer).send, ticks(1, 1))
    assert (report.clips[0].duration, report.clips[0].language) == (2.0, "en")


def test_a_text_that_nobody_could_have_said() -> None:
    with pytest.raises(SpeechError, match="the answer has 100001 characters of text"):
        listen([ENGLISH], Plan(MODEL, requests=2), Server(*[heard("x" * 100_001)] * 2).send, ticks(1, 1))


def test_at_once() -> None:
    """Requests that are sent at once are in flight together."""
    gate = threading.Barrier(4)
    server = Server(*[heard(TEXT)] * 6)
    lock = threading.Lock()

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        if len(server.asked) > 3:
            gate.wait(10)
        with lock:
            return server.send(method, path, upload)

    report = listen([ENGLISH], Plan(MODEL, requests=2, concurrency=4), send, lambda: 0.0)
    assert report.as_result()["concurrent"] == [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("wrong", ["", "Turn on the lights."])
def test_wrong_text_at_once(wrong: str) -> None:
    """All right one after the other, and one answer of three wrong under load."""
    plan = Plan(MODEL, requests=2, concurrency=3)
    server = Server(*[heard(TEXT)] * 3, heard(wrong), heard(TEXT))
    report = listen([ENGLISH], plan, server.send, lambda: 0.0)
    texts, load, *_ = judge(report, [ENGLISH], plan)
    wer = 0.25 if wrong else 1
    assert (texts.status, load.status, load.subject) == (Status.OK, Status.REFUSED, "clip light")
    assert (load.message, load.evidence) == (
        f"heard worse when asked 3 times at once: WER {wer:.2f}, and at most WER 0.20 passes.",
        ("expected: Turn on the light.", f"heard:    {wrong}"),
    )


def test_the_worst_answer_counts() -> None:
    plan = Plan(MODEL, requests=3)
    report = listen([ENGLISH], plan, Server(heard(TEXT), heard(""), heard(TEXT)).send, ticks(1, 1, 1))
    assert (report.clips[0].text, report.clips[0].seconds) == ("", (1, 1, 1))
    assert [one.status for one in judge(report, [ENGLISH], plan)] == [Status.REFUSED, Status.OK, Status.OK]


def test_findings() -> None:
    plan = Plan(MODEL, requests=2, concurrency=2)
    clips = [ENGLISH, BULGARIAN]
    answers = [heard(TEXT), heard(TEXT), heard("Мола, отворете прозореца!"), heard(TEXT), heard(TEXT)]
    report = listen(clips, plan, Server(*answers).send, ticks(8.2, 0.7, 0.7, 0.9, 0.9))
    subject = f"model {MODEL}"
    assert [finding.as_result() for finding in judge(report, clips, plan)][:3] == [
        {
            "check": "speech.text",
            "status": "ok",
            "subject": "clip light",
            "message": "heard right: WER 0.00, CER 0.00.",
            "remedy": "",
            "evidence": ["expected: Turn on the light.", "heard:    Turn on the light."],
        },
        {
            "check": "speech.text",
            "status": "refused",
            "subject": "clip bg",
            "message": "heard wrong: WER 0.33, CER 0.04, and at most WER 0.20 passes.",
            "remedy": "Compare the two texts: take a larger model, set the clip's language or prompt, or raise "
            "[max_wer] if this is as good as the model gets.",
            "evidence": ["expected: Моля, отворете прозореца.", "heard:    Мола, отворете прозореца!"],
        },
        {
            "check": "speech.warm",
            "status": "refused",
            "subject": subject,
            "message": "cold: the first request took 8.20 s, later ones 0.70 s (median), and at most 1.2 times that "
            "passes. The server had it listed, so a load was under way, or had failed.",
            "remedy": "The model was not in memory, or the machine was busy: run again to tell. If it is cold after "
            "each restart, keep the startup probe that transcribes, and STT_MODEL_TTL=-1.",
            "evidence": [],
        },
    ]


HEARD = Heard("light", "en", TEXT, TEXT, 0.0, 0.0, (0.5, 0.5), 2.0)


@pytest.mark.parametrize(
    ("report", "check", "message"),
    [
        (
            Report((HEARD,), 0.5, 0.5, 0.25, True),
            "speech.warm",
            "warm: the first request took 0.50 s, later ones 0.50 s (median).",
        ),
        (
            Report((HEARD,), 0.5, 0.5, 0.25, True),
            "speech.speed",
            "a request takes 0.50 s, 0.25 of the clip's own length (real-time factor).",
        ),
        (Report((HEARD,), 0.5, 0.5, 0.0, True), "speech.speed", "a request takes 0.50 s."),
        (
            Report((HEARD,), 0.5, 0.5, 0.25, True, replace(HEARD, seconds=(0.9, 0.5))),
            "speech.speed",
            "a request takes 0.50 s, 0.25 of the clip's own length (real-time factor); of 2 at once, the last one "
            "0.90 s.",
        ),
        (
            Report((replace(HEARD, wer=0.2, cer=0.1),), 0.5, 0.5, 0.25, True),
            "speech.text",
            "heard well enough: WER 0.20, CER 0.10.",
        ),
    ],
)
def test_good_findings(report: Report, check: str, message: str) -> None:
    findings = judge(report, [ENGLISH], Plan(MODEL, concurrency=2))
    assert {finding.status for finding in findings} == {Status.OK}
    assert [finding.message for finding in findings if finding.check == check] == [message]


def test_cold_is_a_warning_where_it_is_allowed() -> None:
    plan = Plan(MODEL, requests=2, require_warm=False)
    report = listen([ENGLISH], plan, Server(heard(TEXT), heard(TEXT)).send, ticks(8, 1))
    assert [one.status for one in judge(report, [ENGLISH], plan)] == [Status.OK, Status.WARNING, Status.OK]


SERVER_LOG = (
    "Look at the server's log. A model that does not load, a clip without sound, a language code that Whisper does not "
    "know and 30 seconds or more without speech all end like this."
)


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        pytest.param(
            RefusedError(404, f"Model '{MODEL}' is not installed locally. You can download …"),
            f"clip light: model {MODEL} is not on the server's volume; there: Systran/faster-whisper-base. "
            "Correct the model's name, or let the deploy play seed it.",
            id="model missing",
        ),
        pytest.param(
            RefusedError(404, "Not Found"),
            "clip light: HTTP 404: Not Found. Nothing there speaks OpenAI's transcription API: correct [url], or "
            "[service] and port.",
            id="another server",
        ),
        pytest.param(
            RefusedError(403, "Invalid API key. The provided API key is incorrect."),
            "clip light: HTTP 403: Invalid API key. The provided API key is incorrect. Give the server's own key "
            "as [server_api_key].",
            id="key",
        ),
        pytest.param(
            RefusedError(415, "Failed to decode audio."),
            "clip light: HTTP 415: Failed to decode audio. Give a clip with sound in it, in a format that FFmpeg "
            "decodes, such as WAV, FLAC, MP3 or Ogg.",
            id="not decodable",
        ),
        pytest.param(
            RefusedError(422, "body.model: Field required"),
            "clip light: HTTP 422: body.model: Field required. Correct the clip's response_format, or the model's "
            "name.",
            id="form",
        ),
        pytest.param(
            RefusedError(500, "Internal Server Error"),
            f"clip light: HTTP 500: Internal Server Error. {SERVER_LOG}",
            id="crash",
        ),
        pytest.param(
            RefusedError(502, "Bad Gateway"), f"clip light: HTTP 502: Bad Gateway. {SERVER_LOG}", id="gateway"
        ),
        pytest.param(
            RefusedError(0, "http://stt: nothing listens there", silence=Silence.UNREACHABLE),
            "clip light: http://stt: nothing listens there. Check the address ([url]), and that this machine may "
            "reach it (NetworkPolicy, firewall).",
            id="unreachable",
        ),
        pytest.param(
            RefusedError(0, "it does not answer", by_cluster=True, silence=Silence.UNREACHABLE),
            "clip light: it does not answer. Check that the address is right and reachable from this machine "
            "(kubeconfig or K8S_AUTH_*).",
            id="cluster unreachable",
        ),
        pytest.param(
            RefusedError(0, "no answer within 120 s", by_cluster=True, silence=Silence.TIMEOUT),
            "clip light: no answer within 120 s. The server was reached and is slow, or hangs: look at its log and at "
            "what else uses the GPU, or raise [timeout].",
            id="too slow",
        ),
        pytest.param(
            RefusedError(0, "the server broke the connection off", silence=Silence.BROKEN),
            "clip light: the server broke the connection off. The server was reached and ended meanwhile: look at the "
            "pod's restarts (killed for memory, or replaced by a rollout?) and at its log, and run again.",
            id="killed",
        ),
        pytest.param(
            RefusedError(500, "Failed to decode audio."),
            "clip light: HTTP 500: Failed to decode audio. Give a clip with sound in it, in a format that FFmpeg "
            "decodes, such as WAV, FLAC, MP3 or Ogg.",
            id="video without sound",
        ),
        pytest.param(
            RefusedError(404, f"Model '{MODEL}' is not supported. If you think this is a mistake …"),
            f"clip light: model {MODEL} is on the server's volume, and its card does not say that it transcribes. Its "
            "README.md needs library_name: ctranslate2 and pipeline_tag: automatic-speech-recognition between two "
            "lines of ---. Run the deploy play, which looks, or choose another conversion.",
            id="card",
        ),
        pytest.param(
            RefusedError(302, "it leads to http://elsewhere/"),
            "clip light: HTTP 302: it leads to http://elsewhere/. Give the address where the server is as [url]. The "
            "key is not sent elsewhere.",
            id="redirect",
        ),
        pytest.param(
            RefusedError(503, 'no endpoints available for service "portal-stt"', by_cluster=True),
            'clip light: HTTP 503: no endpoints available for service "portal-stt". Look at the pods, or run '
            "the deploy play, which waits and explains.",
            id="no endpoints",
        ),
        pytest.param(
            RefusedError(404, 'services "portal-stt" not found', by_cluster=True),
            'clip light: HTTP 404: services "portal-stt" not found. Correct [namespace], [service] and port, or '
            "run the deploy play first.",
            id="no service",
        ),
        pytest.param(
            RefusedError(403, "cannot create resource", by_cluster=True),
            "clip light: HTTP 403: cannot create resource. Give the account `get` on services, `list` on pods, and "
            "`get` and `create` on services/proxy and pods/portforward in this namespace, as playbooks/rbac.yml does.",
            id="rights",
        ),
    ],
)
def test_refusals(refusal: RefusedError, message: str) -> None:
    with pytest.raises(SpeechError) as raised:
        listen([ENGLISH], Plan(MODEL), Server(refusal).send, ticks(1))
    assert raised.value.result["clips"] == []
    assert str(raised.value) == message
    assert raised.value.finding.check == "speech.answer"


@pytest.mark.parametrize(
    ("models", "there"),
    [
        (RefusedError(500, "Internal Server Error"), ""),
        (b"Internal Server Error", ""),
        (b'{"data": [{"name": "x"}]}', "; there: none"),
    ],
    ids=["refused (a damaged model beside it)", "not a list", "empty"],
)
def test_a_mistyped_model_where_the_list_of_models_does_not_help(models: bytes | RefusedError, there: str) -> None:
    refusal = RefusedError(404, f"Model '{MODEL}' is not installed locally.")
    with pytest.raises(SpeechError) as raised:
        listen([ENGLISH], Plan(MODEL), Server(refusal, models=models).send, ticks(1))
    assert str(raised.value) == (
        f"clip light: model {MODEL} is not on the server's volume{there}. Correct the model's name, or let the deploy "
        "play seed it."
    )


def test_only_transcriptions_count() -> None:
    """Neither a list of models nor a health that the server refuses stands in the way."""
    refused = RefusedError(500, "Internal Server Error")
    server = Server(heard(TEXT), heard(TEXT), models=refused, health=refused, loaded=refused)
    assert listen([ENGLISH], Plan(MODEL, requests=2), server.send, ticks(1, 1)).warm
    assert [path for _, path in server.asked] == ["/health", "/api/ps", *["/v1/audio/transcriptions"] * 2]


def test_answer_of_something_else() -> None:
    with pytest.raises(SpeechError) as raised:
        listen([ENGLISH], Plan(MODEL, requests=2), Server(b"<html>", b"<html>").send, ticks(1, 1))
    assert str(raised.value) == (
        "clip light: the answer has no text in it: '<html>'. Something other than a transcription API answers at this "
        "address: correct [url], or [service] and port."
    )


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            {"path": "missing.wav", "text": "x"},
            "clip missing: {folder}/missing.wav cannot be read: No such file or directory. Clips are read where the "
            "module runs, by default on the controller: correct the path.",
        ),
        (
            {"path": "header.wav", "text": "x"},
            "clip header: {folder}/header.wav has the header of a WAV file and no sound. Give a clip with sound in it, "
            "in a format that FFmpeg decodes, such as WAV, FLAC, MP3 or Ogg.",
        ),
        ({"path": "empty.wav", "text": "x"}, "clip empty: {folder}/empty.wav is empty. Give a clip of speech."),
        (
            {"path": "ok.wav", "text": "…", "name": "mute"},
            "clip mute: its text has no word in it, so nothing could be compared. Write in `text` what is said in the "
            "clip.",
        ),
        (None, "clips: none is given, so nothing can be proved. Give at least one clip with its text."),
    ],
)
def test_clips_refused(tmp_path: Path, option: dict[str, str] | None, message: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "ok.wav").write_bytes(sound())
    (tmp_path / "header.wav").write_bytes(sound(0))
    options: list[dict[str, str]] = [{**option, "path": str(tmp_path / option["path"])}] if option is not None else []
    with pytest.raises(SpeechError) as raised:
        read_clips(options, 0.2)
    assert str(raised.value) == message.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("said", "passes"),
    [("Мола, отворете прозореца!", True), ("Мола, отворете прозореца те", False), ("", False)],
    ids=["Whisper base", "two of three", "silence"],
)
def test_the_bundled_bulgarian_clip_may_have_one_word_wrong(said: str, passes: bool) -> None:
    verify = ROOT / "roles" / "verify"
    options = yaml.safe_load((verify / "vars" / "main.yml").read_text())["verify__clips"]
    located = [one | {"path": one["path"].replace("{{ role_path }}", str(verify))} for one in options]
    clips = read_clips(located, 0.2)
    plan = Plan(MODEL, requests=2)
    report = listen(clips, plan, Server(*[heard(clips[0].text)] * 2, heard(said)).send, ticks(1, 1, 1))
    assert [finding.status is Status.OK for finding in judge(report, clips, plan)][:2] == [True, passes]


def test_clips_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"sound")
    options: list[dict[str, Any]] = [
        {"path": str(path), "text": "x", "language": "BG", "max_wer": 0.0},
        {"path": str(path), "text": "y"},
    ]
    assert read_clips(options, 0.3) == [
        Clip("a", "a.wav", b"sound", "x", "bg", max_wer=0.0),
        Clip("a", "a.wav", b"sound", "y", "", max_wer=0.3),
    ]


def test_jiwer_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "JIWER_MISSING", ImportError("No module named 'jiwer'"))
    with pytest.raises(SpeechError) as raised:
        read_clips([], 0.2)
    assert str(raised.value) == (
        "controller: the Python library jiwer is missing: No module named 'jiwer'. Install it: pip install jiwer."
    )


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"requests": 1}, "option requests: 1 is too small. Set 2 or more."),
        ({"concurrency": 0}, "option concurrency: 0 is too small. Set 1 or more."),
        ({"warm_factor": 0.9}, "option warm_factor: 0.9 is too small. Set 1 or more."),
    ],
)
def test_plan_refused(numbers: dict[str, Any], message: str) -> None:
    with pytest.raises(SpeechError) as raised:
        Plan(MODEL, **numbers)
    assert str(raised.value) == message


class Cluster:
    """Refuses with an error, or answers, and keeps the request."""

    def __init__(self, error: ClusterError | None = None) -> None:
        self.error = error

    def request(self, method: str, path: str, **given: Any) -> bytes:
        self.asked = (method, path, given)
        if self.error:
            raise self.error
        return b"{}"


def unused(method: str, path: str, upload: Upload | None) -> bytes:
    raise AssertionError


def test_through_cluster() -> None:
    cluster = Cluster()
    send = through_cluster(cluster, "portal-stt", "stt", "http", 120, unused)  # type: ignore[arg-type]
    assert send("POST", "/v1/audio/transcriptions", Upload(b"body", "multipart/form-data; boundary=x")) == b"{}"
    assert cluster.asked == (
        "POST",
        "/api/v1/namespaces/portal-stt/services/stt:http/proxy/v1/audio/transcriptions",
        {"body": b"body", "headers": {"Content-Type": "multipart/form-data; boundary=x"}, "timeout": 120},
    )


@pytest.mark.parametrize(
    ("status", "message", "body", "refused"),
    [
        (404, 'services "x" not found.', {"kind": "Status"}, (404, 'services "x" not found.', True)),
        (503, "no endpoints available.", {"kind": "Status"}, (503, "no endpoints available.", True)),
        (0, "it does not answer.", {}, (0, "it does not answer", True)),
        (415, "HTTP status 415 for …", {"detail": "Failed to decode audio."}, (415, "Failed to decode audio.", False)),
        (500, "Internal Server Error.", {"message": "Internal Server Error"}, (500, "Internal Server Error", False)),
    ],
)
def test_refused_through_cluster(
    status: int, message: str, body: Mapping[str, Any], refused: tuple[int, str, bool]
) -> None:
    """The API server's own refusals are Status objects; the speech server's are not."""
    error = ClusterError("API server", message, "", status=status, body=dict(body))
    with pytest.raises(RefusedError) as raised:
        through_cluster(Cluster(error), "n", "s", "http", 1, unused)("GET", "/health", None)  # type: ignore[arg-type]
    assert (raised.value.status, raised.value.detail, raised.value.by_cluster) == refused


class Answering(BaseHTTPRequestHandler):
    """A server on this machine: one model, one text, and a key where the path says so."""

    def do_GET(self) -> None:
        self.answer(200, MODELS)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Authorization"] == "Bearer wrong":
            self.answer(422, b'{"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}')
        else:
            self.answer(200, heard(TEXT))

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Not on the terminal."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def test_directly(url: str) -> None:
    upload = form(ENGLISH, MODEL)
    assert directly(url, "", 5)("POST", "/v1/audio/transcriptions", upload) == heard(TEXT)
    with pytest.raises(RefusedError) as raised:
        directly(url, "wrong", 5)("POST", "/v1/audio/transcriptions", upload)
    assert (raised.value.status, raised.value.detail) == (422, "body.model: Field required")


class Rude:
    """A server that answers with whatever bytes it is given, and keeps what it was sent."""

    def __init__(self, *parts: bytes, then: str = "close") -> None:
        self.parts, self.then, self.heard, self.over = parts, then, b"", threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self) -> Rude:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.listener.close()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection, contextlib.suppress(OSError):
            self.heard = connection.recv(65536)
            for part in self.parts:
                connection.sendall(part)
            while self.then == "on":
                connection.sendall(self.parts[-1])
            if self.then == "wait":
                self.over.wait(30)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("rude", "silence", "detail"),
    [
        (Rude(then="wait"), Silence.TIMEOUT, "no answer within 0.2 s"),
        (Rude(HEAD + b"Content-Length: 9\r\n\r\nab", then="wait"), Silence.TIMEOUT, "no answer within 0.2 s"),
        (Rude(), Silence.BROKEN, "the server broke the connection off in the middle of the request (it closes the "
         "connection without an answer)"),
        (Rude(HEAD + b"Content-Length: 9\r\n\r\nab"), Silence.BROKEN, "the server broke the connection off in the "
         "middle of the request (its answer breaks off)"),
        (Rude(b"SSH-2.0-OpenSSH_9.6\r\n"), Silence.STRANGE, "it does not speak HTTP"),
        (Rude(HEAD + b"\r\n", b"x" * 65536, then="on"), Silence.STRANGE, "its answer is longer than 8 MiB"),
        (Rude(HEAD + b"Content-Length: 1000000000\r\n\r\n", b"x" * 65536, then="on"), Silence.STRANGE,
         "its answer is longer than 8 MiB"),
    ],
    ids=["silent", "silent in the middle", "killed", "killed in the middle", "no HTTP", "endless", "1 GB"],
)  # fmt: skip
def test_three_ways_not_to_answer(rude: Rude, silence: Silence, detail: str) -> None:
    with rude, pytest.raises(RefusedError) as raised:
        directly(rude.url, "", 0.2)("GET", "/health", None)
    assert (raised.value.status, raised.value.silence) == (0, silence)
    assert raised.value.detail.removeprefix(f"{rude.url}: ") == detail


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_the_key_is_not_carried_elsewhere(status: int) -> None:
    with Rude(HEAD + b"\r\n") as other:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/\x1b[2J\r\n\r\n".encode()
        with Rude(moved) as rude, pytest.raises(RefusedError) as raised:
            directly(rude.url, "sesame", 5)("GET", "/health", None)
        assert (raised.value.status, raised.value.detail) == (status, rf"it leads to {other.url}/\x1b[2J")
        assert b"Authorization: Bearer sesame" in rude.heard
        assert other.heard == b""


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "stt:8000", "http://", "http://user:secret@stt", "http://stt/?key=x", "http://stt\r\nX: y",
     "http://stt:x", "http://\u0441\u0442\u0442"],
)  # fmt: skip
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(SpeechError, match="option url") as raised:
        directly(url, "", 5)
    assert "secret" not in str(raised.value)
    assert str(raised.value).endswith("is no address of a server. Write it as http://HOST:PORT.")
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("cause", "message", "silence", "detail"),
    [
        (urllib3.exceptions.ReadTimeoutError(None, "/", "read"), "it says nothing", Silence.TIMEOUT,  # type: ignore[arg-type]
         "no answer within 9 s"),
        (urllib3.exceptions.ConnectTimeoutError("x"), "no connection.", Silence.UNREACHABLE, "no connection"),
        (urllib3.exceptions.ProtocolError("x"), "it closed.", Silence.BROKEN,
         "the server broke the connection off in the middle of the request (it closed)"),
        (TimeoutError(), "it does not answer at port 1.", Silence.TIMEOUT, "no answer within 9 s"),
        (ConnectionResetError(), "error forwarding: connection refused.", Silence.UNREACHABLE,
         "error forwarding: connection refused"),
        (None, "no port-forward to it.", Silence.UNREACHABLE, "no port-forward to it"),
    ],
)  # fmt: skip
def test_why_a_cluster_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch, cause: Exception | None, message: str, silence: Silence, detail: str
) -> None:
    error = ClusterError("pod n/b", message, "")
    error.__cause__ = cause

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ways, "request", fail)
    cluster: Any = Cluster(error)
    for send in (through_pod(cluster, "n", "b", 1, "", 9), through_cluster(cluster, "n", "s", "http", 9, unused)):
        with pytest.raises(RefusedError) as raised:
            send("GET", "/health", None)
        assert (raised.value.silence, raised.value.detail, raised.value.by_cluster) == (silence, detail, True)


@pytest.mark.parametrize("end", ["EOF", "read tcp 10.0.0.1:1->10.0.0.2:8000: read: connection reset by peer"])
def test_a_server_that_is_killed_behind_the_proxy_is_not_asked_again(end: str) -> None:
    """A connection that broke off is not one that was never made: nothing is sent a second time."""
    message = f"error trying to reach service: {end}"
    error = ClusterError("API server", f"{message}.", "", status=503, body={"kind": "Status", "message": message})
    cluster: Any = Cluster(error)
    with pytest.raises(RefusedError) as raised:
        through_cluster(cluster, "n", "s", "http", 9, unused)("POST", "/v1", Upload(b"", "x"))
    assert raised.value.silence is Silence.BROKEN


def test_directly_without_a_server() -> None:
    with pytest.raises(RefusedError) as raised:
        directly("http://127.0.0.1:9", "", 5)("GET", "/v1/models", None)
    assert (raised.value.status, raised.value.detail) == (
        0,
        "http://127.0.0.1:9: it refuses the connection: nothing listens there",
    )


@pytest.mark.parametrize("key", ["sesame\n", "open sesame", "сезам", "sesame\x00"])
@pytest.mark.parametrize("given", [{"url": "http://127.0.0.1:9"}, {}], ids=["url", "service"])
def test_a_key_that_no_header_can_carry_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    given: dict[str, str],
) -> None:
    monkeypatch.setattr(transcription_check, "connect", lambda _: Pods())
    (tmp_path / "light.wav").write_bytes(sound())
    clips = [{"path": str(tmp_path / "light.wav"), "text": TEXT}]
    failed = run(capsys, model=MODEL, clips=clips, server_api_key=key, service="stt", namespace="n", **given)
    assert [word for word in ("sesame", "сезам") if word in json.dumps(failed, ensure_ascii=False)] == []
    assert failed["msg"] == (
        "option server_api_key: it holds white space, or a character that a header cannot carry. Correct the key. "
        "Often it is the newline at the end of the file that the key was read from."
    )


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit):
        transcription_check.main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@pytest.mark.parametrize("check_mode", [False, True])
def test_module(url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    (tmp_path / "light.wav").write_bytes(sound())
    clip = {"path": str(tmp_path / "light.wav"), "text": "Turn off the light."}
    options = {"url": url, "model": MODEL, "warm_factor": 1000, "_ansible_check_mode": check_mode}
    passed = run(capsys, clips=[clip | {"max_wer": 0.3}], **options)
    assert (passed["changed"], passed["clips"][0]["wer"], passed["warm"]) == (False, 0.25, True)
    failed = run(capsys, clips=[clip], **options)
    assert failed["failed"] is True
    assert failed["clips"][0]["text"] == TEXT
    assert [finding["status"] for finding in failed["findings"]] == ["refused", "ok", "ok"]
    assert failed["msg"] == (
        "clip light: heard wrong: WER 0.25, CER 0.11, and at most WER 0.20 passes.\n"
        "  expected: Turn off the light.\n"
        "  heard:    Turn on the light.\n"
        "Compare the two texts: take a larger model, set the clip's language or prompt, or raise max_wer if this is as "
        "good as the model gets."
    )


def test_what_was_heard_before_a_failure_is_kept() -> None:
    server = Server(heard(TEXT), heard(TEXT), RefusedError(500, "Internal Server Error"))
    with pytest.raises(SpeechError) as raised:
        listen([ENGLISH, BULGARIAN], Plan(MODEL, requests=2), server.send, ticks(0.5, 0.4, 1))
    (kept,) = raised.value.result["clips"]
    assert (kept["clip"], kept["text"], kept["seconds"]) == ("light", TEXT, [0.5, 0.4])
    assert str(raised.value).splitlines()[:2] == [
        "clip bg: HTTP 500: Internal Server Error.",
        f"  before that, clip light: WER 0.00, {TEXT}",
    ]


SELECTOR = {"app": "stt", "app.kubernetes.io/name": "stt"}


class Pods:
    """A Service `stt` with pods a, b …: whether they are Ready."""

    def __init__(self, *ready: str, selector: Mapping[str, str] = SELECTOR) -> None:
        self.ready, self.selector = ready or ("False", "True"), selector

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if path == "/api/v1/namespaces/n/services/stt":
            return {"spec": {"selector": self.selector, "ports": [{"name": "http", "port": 80, "targetPort": "web"}]}}
        assert (path, query) == ("/api/v1/namespaces/n/pods", {"labelSelector": "app=stt,app.kubernetes.io/name=stt"})
        return {"items": [self.pod(name, ready) for name, ready in zip("abc", self.ready, strict=False)]}

    def pod(self, name: str, ready: str) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {
                "containers": [{"name": "stt", "image": "stt:1", "ports": [{"name": "web", "containerPort": 8000}]}]
            },
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }


@pytest.mark.parametrize("port", ["http", "80"])
def test_through_a_ready_pod_with_the_key(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    asked: list[Any] = []

    def answer(cluster: object, *given: Any) -> tuple[int, bytes]:
        asked.append(given)
        return 200, b"{}"

    monkeypatch.setattr(ways, "request", answer)
    ((pod, send),) = servers(Pods(), "n", "stt", port, "sesame", 9)  # type: ignore[arg-type]
    assert pod == ""
    assert send("POST", "/v1", Upload(b"body", "text/plain")) == b"{}"
    headers = {"Authorization": "Bearer sesame", "Content-Type": "text/plain"}
    assert asked == [("n", "b", 8000, "POST", "/v1", b"body", headers, 9)]


class ShutOut(Pods):
    """The proxy cannot reach the pods; counts how often it was asked."""

    asked = 0

    def request(self, method: str, path: str, **given: Any) -> bytes:
        self.asked += 1
        message = "error trying to reach service: dial tcp 10.244.0.7:8000: i/o timeout"
        raise ClusterError("API server", f"{message}.", "", status=503, body={"kind": "Status", "message": message})


def test_past_a_network_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """By port-forward, without a key; and the proxy is not asked twice."""
    asked: list[Any] = []

    def answer(cluster: object, *given: Any) -> tuple[int, bytes]:
        asked.append(given)
        return 200, b"{}"

    monkeypatch.setattr(ways, "request", answer)
    cluster = ShutOut()
    ((_, send),) = servers(cluster, "n", "stt", "http", "", 9)  # type: ignore[arg-type]
    assert [send("GET", "/v1/models", None), send("POST", "/v1", Upload(b"body", "text/plain"))] == [b"{}", b"{}"]
    assert asked == [
        ("n", "b", 8000, "GET", "/v1/models", None, {}, 9),
        ("n", "b", 8000, "POST", "/v1", b"body", {"Content-Type": "text/plain"}, 9),
    ]
    assert cluster.asked == 1


@pytest.mark.parametrize("key", ["", "sesame"])
def test_each_ready_pod_is_proven_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    """Pod b is not Ready; pod c hears nothing."""
    asked: list[str] = []

    def answer(cluster: object, namespace: str, pod: str, *_: object) -> tuple[int, bytes]:
        asked.append(pod)
        return 200, heard(TEXT if pod == "a" else "")

    monkeypatch.setattr(ways, "request", answer)
    monkeypatch.setattr(transcription_check, "connect", lambda _: Pods("True", "False", "True"))
    (tmp_path / "light.wav").write_bytes(sound())
    options = {"namespace": "n", "service": "stt", "server_api_key": key, "require_warm": False, "requests": 2}
    clips = [{"path": str(tmp_path / "light.wav"), "text": TEXT}]
    failed = run(capsys, model=MODEL, clips=clips, name_model=True, **options)
    assert asked == ["a"] * 4 + ["c"] * 4
    assert [(pod["pod"], pod["clips"][0]["text"]) for pod in failed["pods"]] == [("a", TEXT), ("c", "")]
    assert "clips" not in failed
    assert [(one["check"], one["subject"]) for one in failed["findings"]] == [
        (check, f"pod {pod}, model {MODEL}{clip}")
        for pod in "ac"
        for check, clip in [("speech.text", ", clip light"), ("speech.warm", ""), ("speech.speed", "")]
    ]
    assert failed["msg"].startswith(f"pod c, model {MODEL}, clip light: heard wrong: WER 1.00")


def test_a_pod_that_does_not_answer_is_named_after_those_that_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def answer(cluster: object, namespace: str, pod: str, *_: object) -> tuple[int, bytes]:
        return (200, heard(TEXT)) if pod == "a" else (500, b"Internal Server Error")

    monkeypatch.setattr(ways, "request", answer)
    monkeypatch.setattr(transcription_check, "connect", lambda _: Pods("True", "True"))
    (tmp_path / "light.wav").write_bytes(sound())
    clips = [{"path": str(tmp_path / "light.wav"), "text": TEXT}]
    failed = run(capsys, model=MODEL, clips=clips, namespace="n", service="stt", require_warm=False)
    assert failed["msg"] == f"pod b, clip light: HTTP 500: Internal Server Error. {SERVER_LOG}"
    assert [one["subject"] for one in failed["findings"]] == [
        "pod a, clip light",
        f"pod a, model {MODEL}",
        f"pod a, model {MODEL}",
        "pod b, clip light",
    ]
    assert [pod["pod"] for pod in failed["pods"]] == ["a"]


class Refusing(Pods):
    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        raise ClusterError("API server", f"it refused {path}.", "Log in again.", status=403)


@pytest.mark.parametrize(
    ("cluster", "port", "message"),
    [
        (
            Pods("False", "False"),
            "http",
            "Service n/stt: no pod behind it is Ready. Look at the pods, or run the deploy play, which waits and "
            "explains.",
        ),
        (
            Pods(),
            "grpc",
            "Service n/stt: it has no port grpc. Correct [namespace], [service] and port, or run the deploy play "
            "first.",
        ),
        (
            Pods(selector={}),
            "http",
            "Service n/stt: it selects no pods. Correct [namespace], [service] and port, or run the deploy play first.",
        ),
        (
            Refusing(),
            "http",
            "API server: it refused /api/v1/namespaces/n/services/stt. Give the account `get` on services, `list` on "
            "pods, and `get` and `create` on services/proxy and pods/portforward in this namespace, as "
            "playbooks/rbac.yml does.",
        ),
    ],
)
def test_no_pod_to_go_through(cluster: Pods, port: str, message: str) -> None:
    with pytest.raises(SpeechError) as raised:
        servers(cluster, "n", "stt", port, "sesame", 9)  # type: ignore[arg-type]
    assert str(raised.value) == message


def test_a_wrong_key_in_the_servers_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "request", lambda *_: (403, b'{"detail": "Invalid API key."}'))
    with pytest.raises(RefusedError) as raised:
        through_pod(Pods(), "n", "b", 8000, "seeds", 9)("GET", "/", None)  # type: ignore[arg-type]
    assert (raised.value.status, raised.value.detail, raised.value.by_cluster) == (403, "Invalid API key.", False)
