# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Speech in, text out: whether a server with OpenAI's transcription API hears clips right, fast, and warm."""

from __future__ import annotations

import io
import json
import mimetypes
import re
import statistics
import unicodedata
import wave
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._findings import CollectionError, Finding, Status
from .._kubernetes.cluster import ClusterError
from .._kubernetes.portforward import endpoints, request

try:
    import jiwer
except ImportError as exc:
    JIWER_MISSING: ImportError | None = exc
else:
    JIWER_MISSING = None

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
# Written without spaces between words: each character counts as a word, as in OpenAI's evaluation of Whisper.
_APOSTROPHES = "'`\N{RIGHT SINGLE QUOTATION MARK}"  # part of a word; other signs part words
_SHUT_OUT = "error trying to reach service"
"""The API server's words when its proxy finds an address behind a Service and gets no connection."""
SPACELESS = ("ja", "km", "lo", "my", "th", "yue", "zh")

Send = Callable[[str, str, "Upload | None"], bytes]
"""Sends (method, path below the server's root, body) and returns the answer's body, or raises RefusedError."""


class SpeechError(CollectionError):
    """The server cannot be asked, or did not answer with a text."""

    check = "speech.answer"


class RefusedError(Exception):
    """The answer was not a success.

    status: HTTP status, 0 without an answer.
    detail: the server's own words.
    by_cluster: the Kubernetes API server answered, not the speech server behind it.
    """

    def __init__(self, status: int, detail: str, *, by_cluster: bool = False) -> None:
        super().__init__(detail)
        self.status, self.detail, self.by_cluster = status, detail, by_cluster


@dataclass(frozen=True)
class Upload:
    """A request's body and its content type."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class Clip:
    """Recorded speech with what is said in it.

    language: ISO 639-1 code, empty to let the server find out.
    prompt: words that help the model, empty for none.
    response_format: one of `FORMATS`.
    max_wer: highest word error rate that passes, 0 to 1.
    """

    name: str
    filename: str
    audio: bytes
    text: str
    language: str = ""
    prompt: str = ""
    response_format: str = "json"
    max_wer: float = 0.2

    @property
    def subject(self) -> str:
        return f"clip {self.name}"


@dataclass(frozen=True)
class Heard:
    """What the server made of one clip: the worst of its answers.

    wer, cer: word and character error rate of `text` against `expected`, both normalised.
    seconds: how long each request took, in order. duration: of the clip in seconds, 0 when not known.
    """

    clip: str
    language: str
    text: str
    expected: str
    wer: float
    cer: float
    seconds: tuple[float, ...]
    duration: float

    @property
    def sides(self) -> tuple[str, str]:
        return f"expected: {self.expected}", f"heard:    {self.text}"

    def as_result(self) -> dict[str, Any]:
        """As a module returns it."""
        return asdict(self) | {"seconds": list(self.seconds)}


@dataclass(frozen=True)
class Report:
    """All clips, and the figures of the first one, which was asked several times in a row.

    first_seconds: of the very first request; median_seconds: of those after it; rtf: that by the clip's
    duration, 0 when not known; warm: whether the first was at most `Plan.warm_factor` times that;
    at_once: the same clip when the server was asked several times at once, None when it was not.
    """

    clips: tuple[Heard, ...]
    first_seconds: float
    median_seconds: float
    rtf: float
    warm: bool
    at_once: Heard | None = None

    def as_result(self) -> dict[str, Any]:
        """The report as a module returns it."""
        return {
            "clips": [heard.as_result() for heard in self.clips],
            "first_seconds": self.first_seconds,
            "median_seconds": self.median_seconds,
            "rtf": self.rtf,
            "warm": self.warm,
            "concurrent": sorted(self.at_once.seconds) if self.at_once else [],
        }


@dataclass(frozen=True)
class Plan:
    """What to ask. requests: how often the first clip is sent, one after the other, at least 2.

    concurrency: how many requests are then sent at once, 1 for none.
    warm_factor: how much longer than the median of the later requests the first may take.
    name_model: whether findings on a clip name the model, too.
    """

    model: str
    requests: int = 4
    concurrency: int = 1
    warm_factor: float = 1.2
    require_warm: bool = True
    name_model: bool = False

    def __post_init__(self) -> None:
        """Raises SpeechError for numbers that prove nothing."""
        for name, least in (("requests", 2), ("concurrency", 1), ("warm_factor", 1)):
            if getattr(self, name) < least:
                raise SpeechError(f"option {name}", f"{getattr(self, name):g} is too small.", f"Set {least} or more.")


def read_clips(options: Sequence[Mapping[str, Any]], max_wer: float) -> list[Clip]:
    """The clips of the module's option. Raises SpeechError for a file or a text that cannot be used."""
    if JIWER_MISSING:
        raise SpeechError(
            "controller", f"the Python library jiwer is missing: {JIWER_MISSING}.", "Install it: pip install jiwer."
        )
    clips = []
    for option in options:
        path = Path(option["path"])
        name = option.get("name") or path.stem
        try:
            audio = path.read_bytes()
        except OSError as exc:
            raise SpeechError(
                f"clip {name}",
                f"{path} cannot be read: {exc.strerror}.",
                "Clips are read where the module runs, by default on the controller: correct the path.",
            ) from exc
        if not audio:
            raise SpeechError(f"clip {name}", f"{path} is empty.", "Give a clip of speech.")
        language = (option.get("language") or "").lower()
        if not normalise(option["text"], language):
            raise SpeechError(
                f"clip {name}",
                "its text has no word in it, so nothing could be compared.",
                "Write in `text` what is said in the clip.",
            )
        limit = option.get("max_wer")
        clips.append(
            Clip(
                name,
                path.name,
                audio,
                option["text"],
                language,
                option.get("prompt") or "",
                option.get("response_format") or "json",
                max_wer if limit is None else limit,
            )
        )
    if not clips:
        raise SpeechError("clips", "none is given, so nothing can be proved.", "Give at least one clip with its text.")
    return clips


def prove(
    clips: Sequence[Clip], plan: Plan, pod: str, send: Send, clock: Callable[[], float]
) -> tuple[Report, list[Finding]]:
    """What `listen` and `judge` say of a server. pod: its name, empty where there is only one."""

    def named(subject: str) -> str:
        model = f"model {plan.model}"
        before = [f"pod {pod}"] if pod else []
        before += [model] if plan.name_model and subject != model else []
        return ", ".join([*before, subject])

    try:
        report = listen(clips, plan, send, clock)
    except SpeechError as error:
        error.subject = named(error.subject)
        raise
    return report, [replace(finding, subject=named(finding.subject)) for finding in judge(report, clips, plan)]


def listen(clips: Sequence[Clip], plan: Plan, send: Send, clock: Callable[[], float]) -> Report:
    """What the server hears and how fast; `clock` returns seconds.

    Asks for the server's health first, whatever it says: that finds the way and loads nothing, so that the first
    transcription's time is the server's own. Raises SpeechError when a transcription fails; what was heard before is
    in its result.
    """
    with suppress(RefusedError):
        send("GET", "/health", None)

    def ask(clip: Clip) -> tuple[bytes, float]:
        upload = form(clip, plan.model)
        began = clock()
        try:
            answer = send("POST", "/v1/audio/transcriptions", upload)
        except RefusedError as refusal:
            raise explain(refusal, clip.subject, plan.model, send) from None
        return answer, clock() - began

    answers: list[list[tuple[bytes, float]]] = [[] for _ in clips]
    concurrent: list[tuple[bytes, float]] = []
    try:
        for position, clip in enumerate(clips):
            for _ in range(plan.requests if position == 0 else 1):
                answers[position].append(ask(clip))
        if plan.concurrency > 1:
            with ThreadPoolExecutor(plan.concurrency) as pool:
                concurrent = list(pool.map(ask, [clips[0]] * plan.concurrency))
    except SpeechError as error:
        partly = [_heard(clip, given) for clip, given in zip(clips, answers, strict=True) if given]
        error.result["clips"] = [one.as_result() for one in partly]
        error.evidence += tuple(f"before that, clip {one.clip}: WER {one.wer:.2f}, {one.text}" for one in partly)
        raise
    heard = [_heard(clip, given) for clip, given in zip(clips, answers, strict=True)]
    first, *later = heard[0].seconds
    median = statistics.median(later)
    return Report(
        tuple(heard),
        round(first, 3),
        round(median, 3),
        round(median / heard[0].duration, 3) if heard[0].duration else 0.0,
        first <= plan.warm_factor * median,
        _heard(clips[0], concurrent) if concurrent else None,
    )


def judge(report: Report, clips: Sequence[Clip], plan: Plan) -> list[Finding]:
    """One finding a clip, one on the first request, one on the speed."""
    findings = [_likeness(heard, clip) for clip, heard in zip(clips, report.clips, strict=True)]
    if report.at_once and report.at_once.wer > max(clips[0].max_wer, report.clips[0].wer):
        findings.append(_lost(report.at_once, clips[0], plan))
    findings.append(_warmth(report, plan))
    speed = f"a request takes {report.median_seconds:.2f} s"
    if report.rtf:
        speed += f", {report.rtf:.2f} of the clip's own length (real-time factor)"
    if report.at_once:
        speed += f"; of {plan.concurrency} at once, the last one {max(report.at_once.seconds):.2f} s"
    findings.append(Finding("speech.speed", Status.OK, f"model {plan.model}", f"{speed}."))
    return findings


def explain(refusal: RefusedError, asked: str, model: str, send: Send) -> SpeechError:
    """The refusal as an error for a person. asked: what was asked. send: asks for the models that are there."""
    status, detail = refusal.status, refusal.detail.rstrip(".")
    said = f"HTTP {status}: {detail}." if status else f"{detail}."
    if refusal.by_cluster:
        remedy = _CLUSTER_REMEDIES.get(status, "")
    elif status == 404 and "not installed" in detail:
        said = f"model {model} is not on the server's volume{_installed(send)}."
        remedy = "Correct the model's name, or let the deploy play seed it."
    else:
        remedy = _SERVER_REMEDIES.get(status, _SERVER_REMEDIES[500] if status > 500 else "")
    return SpeechError(asked, said, remedy)


_CLUSTER_REMEDIES = {
    0: "Check that the address is right and reachable from this machine (kubeconfig or K8S_AUTH_*).",
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Give the account `get` on services, `list` on pods, and `get` and `create` on services/proxy and "
    "pods/portforward in this namespace, as playbooks/rbac.yml does.",
    404: "Correct namespace, service and port, or run the deploy play first.",
    503: "Look at the pods, or run the deploy play, which waits and explains.",
}
_SERVER_REMEDIES = {
    0: "Check the address, and that this machine may reach it (NetworkPolicy, firewall).",
    400: "Give a clip that holds sound.",
    403: "Give the server's own key as server_api_key.",
    404: "Nothing there speaks OpenAI's transcription API: correct url, or service and port.",
    415: "Give the clip in a format that FFmpeg decodes, such as WAV, FLAC, MP3 or Ogg.",
    422: "Correct the clip's response_format, or the model's name.",
    500: "Look at the server's log. A model that does not load, a language code that Whisper does not know and "
    "30 seconds or more without speech all end like this.",
}


def form(clip: Clip, model: str) -> Upload:
    """The multipart form that the transcription API takes; the file's part is binary, never base64."""
    from urllib3.filepost import encode_multipart_formdata

    kind = mimetypes.guess_type(clip.filename)[0] or "application/octet-stream"
    fields: dict[str, Any] = {"model": model, "response_format": clip.response_format}
    if clip.language:
        fields["language"] = clip.language
    if clip.prompt:
        fields["prompt"] = clip.prompt
    return Upload(*encode_multipart_formdata(fields | {"file": (clip.filename, clip.audio, kind)}))


def normalise(text: str, language: str = "") -> str:
    """The text as it is compared: composed characters, lower case, no punctuation, single spaces.

    Characters of the languages in `SPACELESS` stand apart. Numbers stay as they are written.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = [sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in folded if sign not in _APOSTROPHES]
    words = "".join(letters).split()
    return " ".join("".join(words) if language in SPACELESS else words)


def subtitles(cues: str) -> str:
    """The text of SRT or WebVTT: of each block, the lines after the one with the times."""
    spoken = []
    for block in re.split(r"\n\s*\n", "\n".join(cues.splitlines())):
        lines = block.splitlines()
        times = next((number for number, line in enumerate(lines) if "-->" in line), len(lines))
        spoken += [line.strip() for line in lines[times + 1 :]]
    return " ".join(spoken)


def servers(
    cluster: Cluster, namespace: str, service: str, port: str, api_key: str, timeout: float
) -> list[tuple[str, Send]]:
    """The way to each Ready pod of a Service, with the pod's name, which is empty where there is only one.

    Several are asked by port-forward: the Service would spread a pod's requests over all. Raises SpeechError.
    """
    try:
        pods = endpoints(cluster, namespace, service, port)
    except ClusterError as exc:
        raise SpeechError(exc.subject, exc.message, _CLUSTER_REMEDIES.get(exc.status, exc.remedy)) from exc
    ways = [(pod, through_pod(cluster, namespace, pod, number, api_key, timeout)) for pod, number in pods]
    if len(ways) > 1:
        return ways
    only = ways[0][1]
    return [("", only if api_key else through_cluster(cluster, namespace, service, port, timeout, only))]


def through_cluster(
    cluster: Cluster, namespace: str, service: str, port: str, timeout: float, by_port_forward: Send
) -> Send:
    """Sends through the API server's proxy to a Service. timeout: seconds without a byte.

    Where the proxy cannot reach the pods, mostly for a NetworkPolicy, by port-forward from then on.
    """
    root = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy"
    shut_out = False

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        nonlocal shut_out
        if shut_out:
            return by_port_forward(method, path, upload)
        try:
            return cluster.request(
                method,
                f"{root}{path}",
                body=upload.body if upload else None,
                headers=_headers(upload),
                timeout=timeout,
            )
        except ClusterError as exc:
            by_cluster = exc.body.get("kind") == "Status" or not exc.status
            if exc.status == 503 and _SHUT_OUT in exc.message:
                shut_out = True
                return by_port_forward(method, path, upload)
            detail = exc.message if by_cluster else _detail(exc.body)
            raise RefusedError(exc.status, detail, by_cluster=by_cluster) from exc

    return send


def through_pod(cluster: Cluster, namespace: str, pod: str, port: int, api_key: str, timeout: float) -> Send:
    """Sends by port-forward to a pod. timeout: seconds without a byte.

    api_key: sent as a bearer token unless empty. Raises SpeechError for one that no header can carry.
    """
    key = _bearer(api_key)

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        headers = key | _headers(upload)
        body = upload.body if upload else None
        try:
            status, answer = request(cluster, namespace, pod, port, method, path, body, headers, timeout)
        except ClusterError as exc:
            raise RefusedError(exc.status, exc.message, by_cluster=True) from exc
        if not 200 <= status < 300:
            raise RefusedError(status, _detail(_parsed(answer)))
        return answer

    return send


def directly(url: str, api_key: str, timeout: float, *, validate_certs: bool = True) -> Send:
    """Sends to a server's own address. api_key: as in `through_pod`."""
    from urllib.error import HTTPError

    from ansible.module_utils.urls import ConnectionError as UrlsError
    from ansible.module_utils.urls import open_url

    key = _bearer(api_key)

    def send(method: str, path: str, upload: Upload | None) -> bytes:
        try:
            answer = open_url(
                f"{url.rstrip('/')}{path}",
                method=method,
                data=upload.body if upload else None,
                headers=key | _headers(upload),
                timeout=timeout,
                validate_certs=validate_certs,
                http_agent="portal.stt",
            )
            return bytes(answer.read())
        except HTTPError as exc:
            raise RefusedError(exc.code, _detail(_parsed(exc.read()))) from exc
        except (UrlsError, OSError, ValueError) as exc:
            reason = getattr(exc, "reason", None) or exc
            raise RefusedError(0, f"{url} does not answer: {reason}") from exc

    return send


def _bearer(api_key: str) -> dict[str, str]:
    """The header that carries the key. Refuses what a header cannot carry: the library's own error shows the key."""
    if not re.fullmatch(r"[!-~\xa1-\xff]*", api_key):
        raise SpeechError(
            "option server_api_key",
            "it holds white space, or a character that a header cannot carry.",
            "Correct the key. Often it is the newline at the end of the file that the key was read from.",
        )
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _headers(upload: Upload | None) -> dict[str, str]:
    return {"Content-Type": upload.content_type} if upload else {}


def _likeness(heard: Heard, clip: Clip) -> Finding:
    rates = f"WER {heard.wer:.2f}, CER {heard.cer:.2f}"
    if heard.wer <= clip.max_wer:
        how = "well enough" if heard.wer else "right"
        return Finding("speech.text", Status.OK, clip.subject, f"heard {how}: {rates}.", evidence=heard.sides)
    return Finding(
        "speech.text",
        Status.REFUSED,
        clip.subject,
        f"heard wrong: {rates}, and at most WER {clip.max_wer:.2f} passes.",
        "Compare the two texts: take a larger model, set the clip's language or prompt, "
        "or raise max_wer if this is as good as the model gets.",
        heard.sides,
    )


def _lost(heard: Heard, clip: Clip, plan: Plan) -> Finding:
    return Finding(
        "speech.load",
        Status.REFUSED,
        clip.subject,
        f"heard worse when asked {plan.concurrency} times at once: WER {heard.wer:.2f}, and at most WER "
        f"{clip.max_wer:.2f} passes.",
        "Look at the server's log: it gives other answers under load than alone.",
        heard.sides,
    )


def _warmth(report: Report, plan: Plan) -> Finding:
    first, median = f"{report.first_seconds:.2f} s", f"{report.median_seconds:.2f} s"
    if report.warm:
        message = f"warm: the first request took {first}, later ones {median} (median)."
        return Finding("speech.warm", Status.OK, f"model {plan.model}", message)
    return Finding(
        "speech.warm",
        Status.REFUSED if plan.require_warm else Status.WARNING,
        f"model {plan.model}",
        f"cold: the first request took {first}, later ones {median} (median), and at most "
        f"{plan.warm_factor:g} times that passes.",
        "The model was not in memory, or the machine was busy: run again to tell. If it is cold after each restart, "
        "keep the startup probe that transcribes, and STT_MODEL_TTL=-1.",
    )


def _heard(clip: Clip, answers: Sequence[tuple[bytes, float]]) -> Heard:
    seconds = tuple(round(taken, 3) for _, taken in answers)
    return max((_compared(clip, answer, seconds) for answer, _ in answers), key=lambda heard: heard.wer)


def _compared(clip: Clip, answer: bytes, seconds: tuple[float, ...]) -> Heard:
    text, language, duration = _read(clip, answer)
    expected, got = normalise(clip.text, clip.language), normalise(text, clip.language)
    return Heard(
        clip.name,
        clip.language or language,
        text,
        clip.text,
        round(jiwer.wer(expected, got), 4),
        round(jiwer.cer(expected, got), 4),
        seconds,
        round(duration or _duration(clip.audio), 3),
    )


def _read(clip: Clip, answer: bytes) -> tuple[str, str, float]:
    """Text, language and duration of an answer; the last two only in the verbose format."""
    if clip.response_format == "text":
        return answer.decode(errors="replace").strip(), "", 0.0
    if clip.response_format in ("srt", "vtt"):
        return subtitles(answer.decode(errors="replace")), "", 0.0
    parsed = _parsed(answer)
    if not isinstance(parsed.get("text"), str):
        raise SpeechError(
            clip.subject,
            f"the answer has no text in it: {answer[:200].decode(errors='replace')!r}.",
            "Something other than a transcription API answers at this address: correct url, or service and port.",
        )
    return parsed["text"].strip(), str(parsed.get("language") or ""), float(parsed.get("duration") or 0)


def _duration(audio: bytes) -> float:
    try:
        with wave.open(io.BytesIO(audio), "rb") as recording:
            return float(recording.getnframes()) / recording.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        return 0.0


def _installed(send: Send) -> str:
    """The models on the server, as an aside. Empty where it does not tell: one damaged model makes rc.3 answer 500."""
    try:
        entries = _parsed(send("GET", "/v1/models", None)).get("data")
    except RefusedError:
        return ""
    if not isinstance(entries, list):
        return ""
    names = sorted(str(one["id"]) for one in entries if isinstance(one, dict) and "id" in one)
    return f"; there: {', '.join(names) or 'none'}"


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"detail": body.decode(errors="replace").strip()[:500]}


def _detail(body: Mapping[str, Any]) -> str:
    """FastAPI's `detail` (a text, or a list of wrong fields) or another server's message, in words."""
    detail = body.get("detail") or body.get("message") or "no reason given"
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, one.get('loc', [])))}: {one.get('msg')}" for one in detail)
    return str(detail)
