# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Speech in, text out: whether a server with OpenAI's transcription API hears clips right, fast, and warm."""

from __future__ import annotations

import io
import mimetypes
import re
import statistics
import unicodedata
import wave
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .._findings import Finding, Say, Status
from .._text import plain
from .ways import CLUSTER_REMEDIES, RefusedError, Send, Silence, SpeechError, Upload, parsed

try:
    import jiwer
except ImportError as exc:
    JIWER_MISSING: ImportError | None = exc
else:
    JIWER_MISSING = None

FORMATS = ("json", "text", "verbose_json", "srt", "vtt")
# Written without spaces between words: each character counts as a word, as in OpenAI's evaluation of Whisper.
_APOSTROPHES = "'`\N{RIGHT SINGLE QUOTATION MARK}"  # part of a word; other signs part words
SHOWN = 1000
"""Characters of what was heard that are shown."""
LONGEST = 100_000
"""Characters of a text that is compared: two hours of speech."""
SPACELESS = ("ja", "km", "lo", "my", "th", "yue", "zh")


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


WIDE = 1.5
"""Later requests that differ by more than this show a machine that is busy: times then say little."""

CLEAR = 3.0
"""A first request that takes this many times as long as the later ones is cold, whatever is listed: the list also has
a model whose load is under way or has failed (Speaches v0.9.0-rc.3, base_model_manager.py)."""


@dataclass(frozen=True)
class Warmth:
    """The two signs of a model in memory.

    listed: whether the server said so before the first request (``GET /api/ps``), None where it does not tell.
    first, later: seconds of the first request and of those after it. factor: `Plan.warm_factor`.
    """

    listed: bool | None
    first: float
    later: tuple[float, ...]
    factor: float

    @property
    def median(self) -> float:
        return statistics.median(self.later)

    @property
    def is_even(self) -> bool:
        return max(self.later) <= WIDE * min(self.later)

    @property
    def in_time(self) -> bool:
        return self.first <= self.factor * self.median

    @property
    def status(self) -> Status:
        """OK: warm. REFUSED: cold. WARNING: warm by the list, not by the times. UNKNOWN: the times say nothing."""
        if self.listed is False:
            return Status.REFUSED
        if self.in_time:
            return Status.OK
        if self.listed and self.first < CLEAR * self.median:
            return Status.WARNING
        return Status.REFUSED if self.first > self.factor * max(self.later) else Status.UNKNOWN

    @property
    def times(self) -> str:
        """The figures, and how far they can be trusted."""
        spread = "" if self.is_even else f", {min(self.later):.2f} to {max(self.later):.2f} s: the machine is busy"
        return f"the first request took {self.first:.2f} s, later ones {self.median:.2f} s (median{spread})"


@dataclass(frozen=True)
class Report:
    """All clips, and the figures of the first one, which was asked several times in a row.

    first_seconds: of the very first request; median_seconds: of those after it; rtf: that by the clip's
    duration, 0 when not known; warm: whether the model was in memory, by all that is known;
    at_once: the same clip when the server was asked several times at once, None when it was not;
    warmth: what tells whether it was warm.
    """

    clips: tuple[Heard, ...]
    first_seconds: float
    median_seconds: float
    rtf: float
    warm: bool
    at_once: Heard | None = None
    warmth: Warmth | None = None

    def as_result(self) -> dict[str, Any]:
        """The report as a module returns it."""
        return {
            "clips": [heard.as_result() for heard in self.clips],
            "first_seconds": self.first_seconds,
            "median_seconds": self.median_seconds,
            "rtf": self.rtf,
            "warm": self.warm,
            "listed": self.warmth.listed if self.warmth else None,
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
        if _is_silent(audio):
            raise SpeechError(f"clip {name}", f"{path} has the header of a WAV file and no sound.", _SOUND)
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
    clips: Sequence[Clip],
    plan: Plan,
    pod: str,
    send: Send,
    clock: Callable[[], float],
    say: Say | None = None,
) -> tuple[Report, list[Finding]]:
    """What `listen` and `judge` say of a server. pod: its name, empty where there is only one.

    say: told before each request which it is, such as ``clip English: request 2 of 4``.
    """

    def named(subject: str) -> str:
        model = f"model {plan.model}"
        before = [f"pod {pod}"] if pod else []
        before += [model] if plan.name_model and subject != model else []
        return ", ".join([*before, subject])

    def tell(line: str) -> None:
        if say:
            say(f"pod {pod}, {line}" if pod else line)

    try:
        report = listen(clips, plan, send, clock, tell)
    except SpeechError as error:
        error.subject = named(error.subject)
        raise
    return report, [replace(finding, subject=named(finding.subject)) for finding in judge(report, clips, plan)]


def listen(
    clips: Sequence[Clip],
    plan: Plan,
    send: Send,
    clock: Callable[[], float],
    tell: Say = lambda _: None,
) -> Report:
    """What the server hears and how fast; `clock` returns seconds, `tell` is told what comes next.

    Asks for the server's health first, whatever it says: that finds the way and loads nothing, so that the first
    transcription's time is the server's own; then for the models in memory. Raises SpeechError when a transcription
    fails; what was heard before is in its result.
    """
    listed = _is_listed(plan.model, send) if _is_there(clips[0], plan.model, send) else None

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
            times = plan.requests if position == 0 else 1
            for number in range(1, times + 1):
                tell(f"{clip.subject}: request {number} of {times}")
                answers[position].append(ask(clip))
        if plan.concurrency > 1:
            tell(f"{clips[0].subject}: {plan.concurrency} requests at once")
            with ThreadPoolExecutor(plan.concurrency) as pool:
                concurrent = list(pool.map(ask, [clips[0]] * plan.concurrency))
    except SpeechError as error:
        partly = [_heard(clip, given) for clip, given in zip(clips, answers, strict=True) if given]
        error.result["clips"] = [one.as_result() for one in partly]
        error.evidence += tuple(f"before that, clip {one.clip}: WER {one.wer:.2f}, {one.text}" for one in partly)
        raise
    heard = [_heard(clip, given) for clip, given in zip(clips, answers, strict=True)]
    first, *later = (taken for _, taken in answers[0])
    warmth = Warmth(listed, first, tuple(later), plan.warm_factor)
    return Report(
        tuple(heard),
        round(first, 3),
        round(warmth.median, 3),
        round(warmth.median / heard[0].duration, 3) if heard[0].duration else 0.0,
        warmth.status in (Status.OK, Status.WARNING),
        _heard(clips[0], concurrent) if concurrent else None,
        warmth,
    )


def _is_there(clip: Clip, model: str, send: Send) -> bool:
    """Whether something answers, whatever it says of its health. Raises SpeechError where nobody is reached."""
    try:
        send("GET", "/health", None)
    except RefusedError as refusal:
        if refusal.silence is Silence.UNREACHABLE:
            raise explain(refusal, clip.subject, model, send) from None
        return refusal.silence is None
    return True


def _is_listed(model: str, send: Send) -> bool | None:
    """Whether the server has the model in memory, or is loading it; None where it does not tell.

    An alias, which has no slash, is listed by the name that it stands for.
    """
    try:
        models = parsed(send("GET", "/api/ps", None)).get("models")
    except RefusedError:
        return None
    if not isinstance(models, list) or "/" not in model:
        return None
    return model in models


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
    if refusal.silence is Silence.UNREACHABLE and refusal.by_cluster:
        remedy = CLUSTER_REMEDIES[0]
    elif refusal.silence:
        remedy = _SILENCE_REMEDIES[refusal.silence]
    elif refusal.by_cluster:
        remedy = CLUSTER_REMEDIES.get(status, "")
    elif status == 404 and "not installed" in detail:
        said = f"model {model} is not on the server's volume{_installed(send)}."
        remedy = "Correct the model's name, or let the deploy play seed it."
    elif status == 404 and "not supported" in detail:
        said = f"model {model} is on the server's volume, and its card does not say that it transcribes."
        remedy = (
            "Its README.md needs library_name: ctranslate2 and pipeline_tag: automatic-speech-recognition between two "
            "lines of ---. Run the deploy play, which looks, or choose another conversion."
        )
    elif "decode audio" in detail.lower():
        remedy = _SOUND
    elif 300 <= status < 400:
        remedy = "Give the address where the server is as [url]. The key is not sent elsewhere."
    else:
        remedy = _SERVER_REMEDIES.get(status, _SERVER_REMEDIES[500] if status > 500 else "")
    return SpeechError(asked, said, remedy)


_SOUND = "Give a clip with sound in it, in a format that FFmpeg decodes, such as WAV, FLAC, MP3 or Ogg."
_ANOTHER = "Something other than a transcription API answers at this address: correct [url], or [service] and port."
_SILENCE_REMEDIES = {
    Silence.UNREACHABLE: "Check the address ([url]), and that this machine may reach it (NetworkPolicy, firewall).",
    Silence.TIMEOUT: "The server was reached and is slow, or hangs: look at its log and at what else uses the GPU, or "
    "raise [timeout].",
    Silence.BROKEN: "The server was reached and ended meanwhile: look at the pod's restarts (killed for memory, or "
    "replaced by a rollout?) and at its log, and run again.",
    Silence.STRANGE: _ANOTHER,
}
_SERVER_REMEDIES = {
    0: _SILENCE_REMEDIES[Silence.UNREACHABLE],
    400: _SOUND,
    403: "Give the server's own key as [server_api_key].",
    404: "Nothing there speaks OpenAI's transcription API: correct [url], or [service] and port.",
    415: _SOUND,
    422: "Correct the clip's response_format, or the model's name.",
    500: "Look at the server's log. A model that does not load, a clip without sound, a language code that Whisper "
    "does not know and 30 seconds or more without speech all end like this.",
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
        "or raise [max_wer] if this is as good as the model gets.",
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
    signs = report.warmth or Warmth(None, report.first_seconds, (report.median_seconds,), plan.warm_factor)
    status, passes = signs.status, f"at most {plan.warm_factor:g} times that passes"
    said, remedy = f"warm: {signs.times}.", ""
    if signs.listed is False:
        though = f", though {signs.times}: the machine was busy" if signs.in_time else f"; {signs.times}"
        said = f"cold: the server did not have it in memory before the first request{though}."
        remedy = f"{_KEEP_WARM[0].upper()}{_KEEP_WARM[1:]}"
    elif status is Status.WARNING:
        said = f"warm by the server's word, not by the times: {signs.times}, and {passes}."
        remedy = "The machine was busy: run again, with more [requests], to tell."
    elif status is Status.UNKNOWN:
        said = f"warm or cold cannot be told: {signs.times}, and {passes}; a later one took as long as the first."
        remedy = "Run again, with more [requests], when the machine is less busy."
    elif status is Status.REFUSED:
        listed = " The server had it listed, so a load was under way, or had failed." if signs.listed else ""
        said = f"cold: {signs.times}, and {passes}.{listed}"
        remedy = f"The model was not in memory, or the machine was busy: run again to tell. {_AFTER_RESTARTS}"
    if status is not Status.OK and not plan.require_warm:
        status = Status.WARNING
    return Finding("speech.warm", status, f"model {plan.model}", said, remedy)


_KEEP_WARM = "keep the startup probe that transcribes, and STT_MODEL_TTL=-1."
_AFTER_RESTARTS = f"If it is cold after each restart, {_KEEP_WARM}"


def _heard(clip: Clip, answers: Sequence[tuple[bytes, float]]) -> Heard:
    seconds = tuple(round(taken, 3) for _, taken in answers)
    return max((_compared(clip, answer, seconds) for answer, _ in answers), key=lambda heard: heard.wer)


def _compared(clip: Clip, answer: bytes, seconds: tuple[float, ...]) -> Heard:
    text, language, duration = _read(clip, answer)
    expected, got = normalise(clip.text, clip.language), normalise(text, clip.language)
    return Heard(
        clip.name,
        clip.language or language,
        plain(" ".join(text.split()), SHOWN),
        clip.text,
        round(jiwer.wer(expected, got), 4),
        round(jiwer.cer(expected, got), 4),
        seconds,
        round(duration or _duration(clip.audio), 3),
    )


def _read(clip: Clip, answer: bytes) -> tuple[str, str, float]:
    """Text, language and duration of an answer; the last two only in the verbose format, and only if they can be."""
    if clip.response_format == "text":
        return _within(clip, answer.decode(errors="replace")), "", 0.0
    if clip.response_format in ("srt", "vtt"):
        return _within(clip, subtitles(answer.decode(errors="replace"))), "", 0.0
    given = parsed(answer)
    text, language, duration = given.get("text"), given.get("language"), given.get("duration")
    if not isinstance(text, str):
        shown = answer[:200].decode(errors="replace")
        raise SpeechError(clip.subject, f"the answer has no text in it: {shown!r}.", _ANOTHER)
    if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 < duration < 1e6:
        duration = 0.0
    return _within(clip, text), plain(language, 40) if isinstance(language, str) else "", float(duration)


def _within(clip: Clip, text: str) -> str:
    """The text, if a person could have said it within the clip; the comparison of a longer one would not end."""
    if len(text) > LONGEST:
        raise SpeechError(clip.subject, f"the answer has {len(text)} characters of text.", _ANOTHER)
    return text.strip()


def _duration(audio: bytes) -> float:
    try:
        with wave.open(io.BytesIO(audio), "rb") as recording:
            return float(recording.getnframes()) / recording.getframerate()
    except (wave.Error, EOFError, ZeroDivisionError):
        return 0.0


def _is_silent(audio: bytes) -> bool:
    """Whether this is a WAV file without a single sample. rc.3 answers 500 then, without a reason."""
    try:
        with wave.open(io.BytesIO(audio), "rb") as recording:
            return not recording.readframes(1)
    except (wave.Error, EOFError):
        return False


def _installed(send: Send) -> str:
    """The models on the server, as an aside. Empty where it does not tell: one damaged model makes rc.3 answer 500."""
    try:
        entries = parsed(send("GET", "/v1/models?task=automatic-speech-recognition", None)).get("data")
    except RefusedError:
        return ""
    if not isinstance(entries, list):
        return ""
    names = sorted(plain(one["id"], 100) for one in entries if isinstance(one, dict) and "id" in one)
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"; there: {', '.join(names[:10]) or 'none'}{more}"
