"""SpeachesStandIn: answers as Speaches v0.9.0-rc.3 does, with the real faster-whisper on the CPU.

For tests and the demo only. It needs Starlette, uvicorn and faster-whisper, and runs alone as one file: as
`python -m lab.speech.server` here, as the image's command in a container. Everything is set by the same
environment variables as in Speaches (config.py there).

What differs from Speaches, and why:
- The device is always the CPU; `cuda` and `auto` are taken as `cpu`, and compute types that only a GPU has
  become the nearest that a CPU has. Two threads, unless WHISPER__CPU_THREADS says otherwise.
- The encoder's window is the clip plus one second instead of 30 seconds, and the answer's length is bounded:
  30 seconds take a minute and a half on an emulated CPU.
- On an emulated CPU the answer is searched for in one beam instead of five.
- The pages /docs and /redoc, and /openapi.json, are there and empty; of the realtime console, speech synthesis, VAD
  and chat routes there is nothing (404).
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import av.error
import faster_whisper.transcribe
import huggingface_hub
import numpy as np
import uvicorn.main
from faster_whisper import BatchedInferencePipeline, WhisperModel, decode_audio
from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model
from huggingface_hub.utils._cache_manager import _scan_cached_repo
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

EMULATED = "QEMU TCG" in Path("/proc/cpuinfo").read_text()
if EMULATED:  # wide registers are emulated piece by piece; read when the first model is loaded
    os.environ.setdefault("CT2_FORCE_CPU_ISA", "GENERIC")

logger = logging.getLogger("speaches_stand_in")
Model = TypeVar("Model")

SAMPLE_RATE = 16000
FRAMES_PER_SECOND = 100
WINDOW_SECONDS = 30
VAD_MODEL = "silero_vad_v5"
LIBRARY, TASK = "ctranslate2", "automatic-speech-recognition"
TASKS = (TASK, "voice-activity-detection", "text-to-speech")
GRANULARITIES = "timestamp_granularities[]"
ALIASES = {"whisper-1": "Systran/faster-whisper-large-v3"}
WEIGHTS = ["config.json", "preprocessor_config.json", "model.bin", "tokenizer.json", "vocabulary.*"]
COMPUTE_TYPES = (
    *("int8", "int8_float16", "int8_bfloat16", "int8_float32", "int16", "float16", "bfloat16", "float32", "default"),
)


@dataclass(frozen=True)
class Settings:
    """Speaches' settings, under their names there in lower case (config.py)."""

    api_key: str | None = None
    log_level: str = "debug"
    stt_model_ttl: int = 300
    preload_models: list[str] = field(default_factory=list)
    enable_ui: bool = True
    exclude_providers: list[str] = field(default_factory=lambda: ["TensorrtExecutionProvider"])
    """Of ONNX Runtime, for Silero; its field is unstable_ort_opts.exclude_providers."""
    inference_device: str = "auto"
    compute_type: str = "default"
    cpu_threads: int = 2

    @classmethod
    def from_environment(cls) -> Settings:
        """Raises ValueError for a value that Speaches refuses: it then ends before it listens."""
        env = os.environ
        settings = cls(
            api_key=env.get("API_KEY"),
            log_level=env.get("LOG_LEVEL", "debug"),
            stt_model_ttl=int(env.get("STT_MODEL_TTL", "300")),
            preload_models=_names(env.get("PRELOAD_MODELS", "[]"), "PRELOAD_MODELS"),
            enable_ui=_flag(env.get("ENABLE_UI", "true"), "ENABLE_UI"),
            exclude_providers=_names(
                env.get("UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS", '["TensorrtExecutionProvider"]'),
                "UNSTABLE_ORT_OPTS__EXCLUDE_PROVIDERS",
            ),
            inference_device=env.get("WHISPER__INFERENCE_DEVICE", "auto"),
            compute_type=env.get("WHISPER__COMPUTE_TYPE", "default"),
            cpu_threads=int(env.get("WHISPER__CPU_THREADS", "0")) or 2,
        )
        if settings.stt_model_ttl < -1:
            raise ValueError("STT_MODEL_TTL is less than -1")
        if settings.inference_device not in ("cpu", "cuda", "auto"):
            raise ValueError("WHISPER__INFERENCE_DEVICE is not one of cpu, cuda, auto")
        if settings.compute_type not in COMPUTE_TYPES:
            raise ValueError(f"WHISPER__COMPUTE_TYPE is not one of {', '.join(COMPUTE_TYPES)}")
        return settings

    @property
    def cpu_compute_type(self) -> str:
        """On the GPU all types load; on the CPU Speaches fails for those that a CPU does not have."""
        if self.inference_device == "cpu" or "16" not in self.compute_type:
            return self.compute_type
        return "int8" if self.compute_type.startswith("int8") else "float32"


def _names(text: str, name: str) -> list[str]:
    """A list as pydantic-settings reads it: JSON."""
    given = json.loads(text)
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ValueError(f"{name} is not a JSON list of strings")
    return given


def _flag(text: str, name: str) -> bool:
    """A truth value as pydantic reads it."""
    words = {"false": False, "true": True}
    words |= dict.fromkeys(("0", "off", "f", "n", "no"), False) | dict.fromkeys(("1", "on", "t", "y", "yes"), True)
    if text.lower() not in words:
        raise ValueError(f"{name} is not a truth value")
    return words[text.lower()]


class Loaded(Generic[Model]):
    """One model's place in memory (executors/shared/base_model_manager.py: SelfDisposingModel)."""

    def __init__(self, name: str, load: Callable[[], Model], ttl: int, gone: Callable[[str], None]) -> None:
        self.name, self.load, self.ttl, self.gone = name, load, ttl, gone
        self.users = 0
        self.lock = threading.RLock()
        self.timer: threading.Timer | None = None
        self.model: Model | None = None

    def __enter__(self) -> Model:
        with self.lock:
            if self.model is None:
                start = time.perf_counter()
                self.model = self.load()
                logger.info("Model %s loaded in %.2fs", self.name, time.perf_counter() - start)
            self.users += 1
            if self.timer:
                self.timer.cancel()
            return self.model

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users or self.ttl < 0:
                return
            if self.ttl == 0:
                self.unload()
            else:
                self.timer = threading.Timer(self.ttl, self.unload)
                self.timer.start()

    def unload(self) -> None:
        with self.lock:
            if self.model is None:
                raise ValueError(f"Model {self.name} is not loaded. self.ref_count={self.users}")
            if self.users:
                raise ValueError(f"Model {self.name} is still in use. self.ref_count={self.users}")
            if self.timer:
                self.timer.cancel()
            self.model = None
            self.gone(self.name)
            logger.info("Model %s unloaded", self.name)


class Manager(Generic[Model]):
    """The models that are, or are about to be, in memory (BaseModelManager).

    The entry is there before the model is, and stays when loading fails; removing one that is in use removes
    the entry and says that it did not.
    """

    def __init__(self, load: Callable[[str], Model], ttl: int) -> None:
        self.load, self.ttl = load, ttl
        self.entries: OrderedDict[str, Loaded[Model]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, name: str) -> Loaded[Model]:
        with self.lock:
            if name not in self.entries:
                self.entries[name] = Loaded(name, lambda: self.load(name), self.ttl, self._forget)
            return self.entries[name]

    def unload(self, name: str) -> None:
        with self.lock:
            entry = self.entries.pop(name)
        entry.unload()

    def _forget(self, name: str) -> None:
        self.entries.pop(name, None)


class SpeachesStandIn:
    """The routes, on one Whisper manager and one for voice activity detection."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.whisper = Manager(self._load_whisper, settings.stt_model_ttl)
        self.vad = Manager(lambda _: get_vad_model(), -1)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                _get("/health", self.health),
                *(_get(path, self.page) for path in ("/docs", "/redoc", "/openapi.json")),
                Route("/v1/audio/transcriptions", self.transcribe, methods=["POST"]),
                Route("/v1/audio/translations", self.transcribe, methods=["POST"]),
                _get("/v1/models", self.list_models),
                _get("/v1/models/{name:path}", self.show_model),
                Route("/v1/models/{name:path}", self.download, methods=["POST"]),
                _get("/v1/registry", self.list_remote),
                _get("/api/ps", self.list_loaded),
                Route("/api/ps/{name:path}", self.load, methods=["POST"]),
                Route("/api/ps/{name:path}", self.unload, methods=["DELETE"]),
            ],
            exception_handlers={HTTPException: _as_fastapi_does},
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """PRELOAD_MODELS (main.py): downloads and does not load; uvicorn exits with 3 when it fails."""
        for name in self.settings.preload_models:
            logger.info("Downloading model: %s", name)
            _download(name)
            logger.info("Successfully downloaded model: %s", name)
        yield

    def health(self, _: Request) -> Response:
        return JSONResponse({"message": "OK"})

    def page(self, request: Request) -> Response:
        """Open to whoever has no key, as with FastAPI."""
        return JSONResponse({}) if request.url.path.endswith(".json") else HTMLResponse("<title>stand-in</title>")

    def list_models(self, request: Request) -> Response:
        self._authorize(request)
        task = request.query_params.get("task")
        if task not in (None, *TASKS):
            return JSONResponse({"detail": [_wrong("enum", "task", "Input should be a task", task, "query")]}, 422)
        models = [model for model in _models() if task in (None, model["task"])]
        return JSONResponse({"data": models, "object": "list"})

    def show_model(self, request: Request) -> Response:
        self._authorize(request)
        name = _resolve(request.path_params["name"])
        for model in _models():
            if model["id"] == name:
                return JSONResponse(model)
        raise HTTPException(404, f"Model '{name}' is not installed locally.")

    def download(self, request: Request) -> Response:
        """Offline the hub's library raises, and the answer is 500."""
        self._authorize(request)
        name = request.path_params["name"]
        _download(name)
        return PlainTextResponse(f"Model '{name}' downloaded")

    def list_remote(self, request: Request) -> Response:
        self._authorize(request)
        found = huggingface_hub.list_models(filter=[LIBRARY, TASK], cardData=True)
        return JSONResponse({"data": [{"id": model.id, "object": "model", "task": TASK} for model in found]})

    def list_loaded(self, request: Request) -> Response:
        self._authorize(request)
        return JSONResponse({"models": [*self.whisper.entries, *self.vad.entries]})

    def load(self, request: Request) -> Response:
        self._authorize(request)
        name = _resolve(request.path_params["name"])
        if name in self.whisper.entries or name in self.vad.entries:
            return JSONResponse({"message": f"Model '{name}' is already loaded."}, 409)
        if not _is_whisper(_installed_card(name)):
            return JSONResponse({"message": f"Model '{name}' not supported."}, 404)
        with self.whisper.get(name):
            pass
        return JSONResponse({"message": f"Model '{name}' loaded."}, 201)

    def unload(self, request: Request) -> Response:
        self._authorize(request)
        name = request.path_params["name"]
        for manager in (self.whisper, self.vad):
            if name in manager.entries:
                try:
                    manager.unload(name)
                except ValueError as exc:
                    return JSONResponse({"message": str(exc)}, 409)
                return JSONResponse({"message": f"Model {name} unloaded."})
        return JSONResponse({"message": f"Model {name} is not loaded."}, 404)

    async def transcribe(self, request: Request) -> Response:
        """routers/stt.py; everything but reading the form runs in the pool of 40 threads that /health shares."""
        async with request.form() as form:
            self._authorize(request)
            given = dict(form) | {GRANULARITIES: form.getlist(GRANULARITIES)}
            task = "translate" if request.url.path.endswith("translations") else "transcribe"
            return await run_in_threadpool(self._transcribe, given, task)

    def _transcribe(self, form: dict[str, Any], task: str) -> Response:
        upload = form.get("file")
        audio = _decode(upload.file, upload.content_type) if isinstance(upload, UploadFile) else None
        style = form.get("response_format", "json")
        wrong = _wrong_fields(form)
        if audio is None or wrong:
            return JSONResponse({"detail": wrong}, 422)

        name = _resolve(form["model"])
        if not _is_whisper(_installed_card(name)):
            raise HTTPException(
                404, f"Model '{name}' is not supported. If you think this is a mistake, please open an issue."
            )
        with self.vad.get(VAD_MODEL):
            options = VadOptions(max_speech_duration_s=WINDOW_SECONDS, min_silence_duration_ms=160)
            speech = get_speech_timestamps(audio, options)
        start, seconds = time.perf_counter(), len(audio) / SAMPLE_RATE
        clips = _merge(speech)
        longest = max((clip["end"] - clip["start"] for clip in clips), default=seconds)
        _window.set(min(WINDOW_SECONDS, longest + 1))
        with self.whisper.get(name) as model:
            # Without speech faster-whisper takes the whole clip when it is shorter than 30 s, else it raises.
            segments, info = BatchedInferencePipeline(model).transcribe(
                audio,
                task=task,
                language=form.get("language"),  # an empty one is no language that faster-whisper knows
                initial_prompt=form.get("prompt") or None,
                hotwords=form.get("hotwords") or None,
                temperature=float(form.get("temperature", 0)),
                without_timestamps=_flag(form.get("without_timestamps", "true"), "without_timestamps"),
                word_timestamps="word" in form[GRANULARITIES],
                vad_filter=False,
                clip_timestamps=clips or None,
                beam_size=1 if EMULATED else 5,
                max_new_tokens=10 + int(10 * longest),
            )
            heard = list(segments)
        logger.info("Transcribed %s seconds of audio in %s seconds", seconds, time.perf_counter() - start)
        # rc.3 logs this line at every success.
        logger.error("Unexpected streaming transcription response type: <class 'tuple'>")
        if _flag(form.get("stream", "false"), "stream"):
            return StreamingResponse(_events([segment.text for segment in heard]), media_type="text/event-stream")
        text = "".join(segment.text for segment in heard).strip()
        if style in ("text", "srt", "vtt"):
            cues = [(segment.start, segment.end, segment.text) for segment in heard]
            return PlainTextResponse(text if style == "text" else _subtitles(cues, style))
        if style == "json":
            return JSONResponse({"text": text, "logprobs": None, "usage": None})
        parts = ("id", "seek", "start", "end", "text", "tokens", "temperature")
        measures = ("avg_logprob", "compression_ratio", "no_speech_prob")
        details = [{key: getattr(segment, key) for key in (*parts, *measures)} for segment in heard]
        return JSONResponse(
            {
                "duration": info.duration,
                "language": info.language,
                "text": text,
                "segments": details,
                "usage": None,
                "words": None,
            }
        )

    def _authorize(self, request: Request) -> None:
        """dependencies.py: 403, not 401, for a key that is missing or wrong."""
        if self.settings.api_key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        given = given if scheme.lower() == "bearer" else ""
        if given and given == self.settings.api_key:
            return
        raise HTTPException(
            403,
            "Invalid API key. The provided API key is incorrect."
            if given
            else "API key required. Please provide an API key using the Authorization header with Bearer scheme.",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _load_whisper(self, name: str) -> WhisperModel:
        """Online it resolves `main` at the hub anew, without the model card; offline it takes `refs/main`."""
        return WhisperModel(
            name,
            device="cpu",
            compute_type=self.settings.cpu_compute_type,
            cpu_threads=self.settings.cpu_threads,
            num_workers=1,
        )


_window: ContextVar[float] = ContextVar("window", default=WINDOW_SECONDS)
_pad_or_trim = faster_whisper.transcribe.pad_or_trim


def _pad_to_window(array: np.ndarray, length: int = WINDOW_SECONDS * FRAMES_PER_SECOND) -> np.ndarray:
    padded: np.ndarray = _pad_or_trim(array, min(length, int(_window.get() * FRAMES_PER_SECOND)))
    return padded


faster_whisper.transcribe.pad_or_trim = _pad_to_window


def _merge(speech: list[dict[str, int]]) -> list[dict[str, float]]:
    """Stretches of speech, in seconds, joined as long as they fit into the window (silero_vad_v5.py)."""
    clips: list[dict[str, float]] = []
    for part in speech:
        start, end = part["start"] / SAMPLE_RATE, part["end"] / SAMPLE_RATE
        if clips and end - clips[-1]["start"] <= WINDOW_SECONDS:
            clips[-1]["end"] = end
        else:
            clips.append({"start": start, "end": end})
    return clips


def _decode(file: BinaryIO, content_type: str | None) -> np.ndarray:
    """Samples at 16 kHz, mono, -1 to 1 (dependencies.py: audio_file_dependency)."""
    try:
        if content_type in ("audio/pcm", "audio/raw"):
            audio: np.ndarray = np.frombuffer(file.read(), dtype=np.int16).astype(np.float32) / 32768.0
        else:
            audio = decode_audio(file, sampling_rate=SAMPLE_RATE)
        if not len(audio):
            raise ZeroDivisionError("rc.3 divides by the duration")
    except av.error.InvalidDataError as exc:
        raise HTTPException(415, "Failed to decode audio. The provided file type is not supported.") from exc
    except av.error.ArgumentError as exc:
        raise HTTPException(400, "Failed to decode audio. The provided file is likely empty.") from exc
    except Exception as exc:
        logger.exception("Failed to decode audio.")
        raise HTTPException(500, "Failed to decode audio.") from exc
    return audio


def _get(path: str, endpoint: Callable[[Request], Response]) -> Route:
    """A route for GET alone, as FastAPI's are; Starlette would add HEAD."""
    route = Route(path, endpoint, methods=["GET"])
    route.methods = {"GET"}
    return route


def _models() -> list[dict[str, Any]]:
    """The models on the volume, and the one for voice activity that the server brings along."""
    models = []
    for repository in huggingface_hub.scan_cache_dir().repos:
        card = _card(repository)
        if repository.repo_type == "model" and card is not None and _is_whisper(card):
            languages = [card.language] if isinstance(card.language, str) else card.language or []
            models.append(
                {
                    "id": repository.repo_id,
                    "created": int(repository.last_modified),
                    "object": "model",
                    "owned_by": repository.repo_id.split("/")[0],
                    "language": languages,
                    "task": TASK,
                }
            )
    vad = {"id": VAD_MODEL, "created": 0, "object": "model", "owned_by": "silero", "language": None, "task": TASKS[1]}
    return [*models, vad]


def _wrong_fields(form: dict[str, Any]) -> list[dict[str, Any]]:
    """What FastAPI says of the form, in its words; form: with a list of granularities."""
    wrong = [_wrong("missing", name, "Field required") for name in ("file", "model") if not form.get(name)]
    if isinstance(given := form.get("file"), str) and given:
        wrong.append(_wrong("value_error", "file", "Value error, Expected UploadFile, received: <class 'str'>", given))
    style = form.get("response_format", "json")
    if style not in ("text", "json", "verbose_json", "srt", "vtt"):
        allowed = "'text', 'json', 'verbose_json', 'srt' or 'vtt'"
        wrong.append(_wrong("literal_error", "response_format", f"Input should be {allowed}", style))
    number = "Input should be a valid number, unable to parse string as a number"
    truth = "Input should be a valid boolean, unable to interpret input"
    for name, parse, said in (
        ("temperature", float, number),
        ("stream", lambda text: _flag(text, "stream"), truth),
        ("without_timestamps", lambda text: _flag(text, "without_timestamps"), truth),
    ):
        try:
            parse(form.get(name, "0"))
        except ValueError:
            kind = "float_parsing" if parse is float else "bool_parsing"
            wrong.append(_wrong(kind, name, said, form[name]))
    for one in form[GRANULARITIES]:
        if one not in ("segment", "word"):
            wrong.append(_wrong("literal_error", GRANULARITIES, "Input should be 'segment' or 'word'", one))
    return wrong


def _events(texts: list[str]) -> Iterator[str]:
    """Server-sent events as rc.3 sends them: the last one's text is always empty."""
    for text in texts:
        yield f"data: {json.dumps({'type': 'transcript.text.delta', 'delta': text})}\n\n"
    yield f"data: {json.dumps({'type': 'transcript.text.done', 'text': ''})}\n\n"


def _subtitles(cues: list[tuple[float, float, str]], style: str) -> str:
    """Start, end and text of each cue as SRT or WebVTT."""

    def at(seconds: float) -> str:
        whole, milliseconds = divmod(round(seconds * 1000), 1000)
        point = "," if style == "srt" else "."
        return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{milliseconds:03}"

    head = "" if style == "srt" else "WEBVTT\n\n"
    return head + "".join(
        f"{number}\n{at(start)} --> {at(end)}\n{text}\n\n" for number, (start, end, text) in enumerate(cues, 1)
    )


def _resolve(name: str) -> str:
    return ALIASES.get(name, name)


def _download(name: str) -> None:
    """executors/shared/registry.py: lists all models of the hub first, and downloads whatever is cached."""
    listed = huggingface_hub.list_models(filter=[LIBRARY, TASK], cardData=True)
    if name not in [model.id for model in listed]:
        raise ValueError(f"Model '{name}' not found")
    huggingface_hub.snapshot_download(name, allow_patterns=[*WEIGHTS, "README.md"])


def _installed_card(name: str) -> huggingface_hub.ModelCardData:
    """The model card on the volume, read anew at each request (routers/utils.py, hf_utils.py)."""
    cache = Path(huggingface_hub.constants.HF_HUB_CACHE)
    if not cache.is_dir():
        raise huggingface_hub.CacheNotFound(f"Cache directory not found: {cache}.", cache)
    folder = cache / f"models--{name.replace('/', '--')}"
    if not folder.is_dir():
        raise HTTPException(
            404,
            f"Model '{name}' is not installed locally. You can download the model using `POST /v1/models`",
        )
    card = _card(_scan_cached_repo(folder))
    if card is None:
        raise HTTPException(
            500,
            "The model repository does not contain a valid model card. This is likely due to the breaking "
            "change introduce v0.8.0 release. You should try to delete the model and re-download it using "
            f"`DELETE /v1/models/{name}` and then `POST /v1/models`.",
        )
    return card


def _card(repository: huggingface_hub.CachedRepoInfo) -> huggingface_hub.ModelCardData | None:
    """Raises StopIteration when there are several revisions and none of them is `main`."""
    revisions = list(repository.revisions)
    chosen = revisions[0] if len(revisions) == 1 else next(one for one in revisions if "main" in one.refs)
    readme = next((file.file_path for file in chosen.files if file.file_name == "README.md"), None)
    return None if readme is None else huggingface_hub.ModelCard.load(readme).data


def _is_whisper(card: huggingface_hub.ModelCardData) -> bool:
    tags = card.tags or []
    library = card.library_name or getattr(card, "library", None)
    return (library == LIBRARY or LIBRARY in tags) and (card.pipeline_tag == TASK or TASK in tags)


def _wrong(kind: str, name: str, message: str, given: object = None, place: str = "body") -> dict[str, Any]:
    return {"type": kind, "loc": [place, name], "msg": message, "input": given}


async def _as_fastapi_does(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return JSONResponse({"detail": exc.detail}, exc.status_code, headers=exc.headers)


def create_app() -> Starlette:
    """The application, set by the environment. Raises ValueError for a setting that Speaches refuses."""
    settings = Settings.from_environment()
    logging.basicConfig(format="%(asctime)s:%(levelname)s:%(name)s:%(message)s")
    logger.setLevel(settings.log_level.upper())
    if settings.inference_device != "cpu":
        logger.warning("Stand-in: device %s is taken as cpu", settings.inference_device)
    return SpeachesStandIn(settings).app()


def main() -> None:
    """uvicorn's own command line, which reads the UVICORN_* variables."""
    uvicorn.main.main(["--factory", f"{Path(__file__).stem}:create_app", "--app-dir", str(Path(__file__).parent)])


if __name__ == "__main__":
    main()
