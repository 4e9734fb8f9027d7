"""A stand-in of the Hugging Face hub: the routes that huggingface_hub uses to read models, and faults on demand.

`python -m lab.hub` serves the lab's Whisper weights under the first operator's model id. Two origins, as the
real hub has: the API and small files on one port, large files on the next one, to which the first redirects
(there the Authorization header must not arrive). The second port also has the controls:

  GET  /_stand-in/stats      what was asked and how many bytes were sent
  POST /_stand-in/stats      the same, and counts from zero afterwards
  PUT  /_stand-in/faults     the faults from now on, as JSON with the names of `Faults`; {} is none

Shapes and error headers (X-Error-Code and its kin) as huggingface_hub 0.35 and 2.4 read them (hf_api.py,
file_download.py, utils/_http.py).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from lab.paths import CACHE

MODEL = "deepdml/faster-whisper-large-v3-turbo-ct2"
CLIENT = "0.35.3"
"""The version of huggingface_hub in Speaches v0.9.0-rc.3 (uv.lock)."""

LARGE = 10_000_000
"""Bytes from which on a file is served as the hub serves LFS files."""

CHUNK = 64 * 1024


def client() -> Path:
    """The Python with the hub's client that the image has; installed when it is asked for first."""
    venv = CACHE / f"huggingface-hub-{CLIENT}"
    python = venv / "bin" / "python"
    if not (venv / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        subprocess.run([python, *pip, f"huggingface-hub=={CLIENT}"], check=True)
        (venv / "ready").touch()
    return python


def small_model(folder: Path, size: int = 100_000, mels: int = 80) -> dict[str, Path]:
    """The files of a model as its loaders look at them, with noise for weights; model.bin has `size` bytes.

    By name, as they lie in the folder. CTranslate2's format: python/ctranslate2/specs/model_spec.py.
    """

    def variable(name: str, shape: tuple[int, ...], data: bytes) -> bytes:
        label = f"{name}\0".encode()
        head = struct.pack(f"<H{len(label)}sB{len(shape)}I", len(label), label, len(shape), *shape)
        return head + struct.pack("<BI", 1, len(data)) + data

    conv1 = variable("encoder/conv1/weight", (1, mels, 3), bytes(3 * mels))
    kind = b"WhisperSpec\0"
    head = struct.pack(f"<IH{len(kind)}sII", 6, len(kind), kind, 3, 2) + conv1
    rest = size - len(head) - len(variable("noise", (0,), b"")) - 4
    noise = variable("noise", (rest,), random.Random(1).randbytes(rest))
    card = "---\nlibrary_name: ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n"
    files = {
        "model.bin": head + noise + struct.pack("<I", 0),
        "README.md": card.encode(),
        "config.json": b'{"suppress_ids": []}\n',
        "preprocessor_config.json": json.dumps({"feature_size": mels}).encode(),
        "tokenizer.json": b'{"model": {"type": "BPE"}}\n',
        "vocabulary.json": b'["<|endoftext|>"]\n',
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in files}


@dataclass
class Faults:
    """What is wrong with the hub. All off by default."""

    down: bool = False
    """Connections to the first port are refused, those of both are cut."""
    gated: bool = False
    """Files only for `token`; metadata for all."""
    token: str = ""
    """The only token that is accepted; another one gets 401 everywhere."""
    status: int = 0
    """This HTTP status for the next `times` requests on both ports."""
    times: int = 0
    bytes_per_s: float = 0
    """Speed of file bodies; 0 is unlimited."""
    cut_after: int = 0
    """The next `cuts` bodies of large files break off after that many bytes."""
    cuts: int = 0
    stall_after: int = 0
    """Bodies of large files stop after that many bytes, for as long as this is set; 0 is never."""
    wrong_bytes: bool = False
    """The first byte of every large body is another one."""
    ignore_range: bool = False
    """Ranges are not honoured: 200 with the whole file."""


@dataclass
class Stats:
    """What the hub was asked since the last reset."""

    requests: Counter[str] = field(default_factory=Counter)
    """By route: api, resolve, cdn, list."""
    bytes: Counter[str] = field(default_factory=Counter)
    """Bytes of file bodies handed to the network, by file name."""
    ranges: list[str] = field(default_factory=list)
    """The Range headers that came."""

    @property
    def total(self) -> int:
        return sum(self.bytes.values())


@dataclass(frozen=True)
class Served:
    """A file as the hub has it."""

    path: Path
    size: int
    sha1: str
    """Git's blob id."""
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Served:
        size = path.stat().st_size
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            content.seek(0)
            git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
            while chunk := content.read(1 << 20):
                git.update(chunk)
        return cls(path, size, git.hexdigest(), sha256)

    @property
    def large(self) -> bool:
        return self.size >= LARGE

    @property
    def etag(self) -> str:
        return self.sha256 if self.large else self.sha1


class HubStandIn:
    """The stand-in, in threads of this process; a context manager.

    models: files of each revision of each model; the last revision is what `main` is. A folder's files are
    read as they are on the disk; the text files among them can be altered by giving a mapping of names to paths.
    host, port: where it listens; port 0 takes free ones, else large files come from port + 1.
    tls: files with its certificate and key; without, it speaks plain HTTP.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Mapping[str, Path]]],
        host: str = "127.0.0.1",
        port: int = 0,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        seen: dict[Path, Served] = {}
        self.models = {
            model: {
                revision: {name: seen.setdefault(path, Served.read(path)) for name, path in files.items()}
                for revision, files in revisions.items()
            }
            for model, revisions in models.items()
        }
        self.host = host
        self.tls = tls
        self.faults = Faults()
        self.stats = Stats()
        self._cdn = _listen(host, port + 1 if port else 0)
        self._hub = _listen(host, port)
        self.port, self.cdn_port = self._hub.getsockname()[1], self._cdn.getsockname()[1]
        self._servers: dict[str, uvicorn.Server] = {}

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT has to be."""
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def __enter__(self) -> HubStandIn:
        self._start("cdn", self._cdn)
        self._start("hub", self._hub)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._servers):
            self._stop(name)
        for listener in (self._hub, self._cdn):
            listener.close()

    def set(self, **faults: Any) -> None:
        """Replaces the faults; raises TypeError for a name that `Faults` does not have."""
        self.faults = Faults(**faults)
        if self.faults.down and "hub" in self._servers:
            self._stop("hub")
            self._hub.close()
        elif not self.faults.down and "hub" not in self._servers:
            self._hub = _listen(self.host, self.port)
            self._start("hub", self._hub)

    def _start(self, name: str, listener: socket.socket) -> None:
        certificate, key = self.tls or (None, None)
        config = uvicorn.Config(
            self._application(name), log_level="critical", lifespan="off", ssl_certfile=certificate, ssl_keyfile=key
        )
        server = _Server(config)
        server.thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        server.thread.start()
        server.ready.wait(10)
        self._servers[name] = server

    def _stop(self, name: str) -> None:
        server = self._servers.pop(name)
        server.should_exit = server.force_exit = True
        assert isinstance(server, _Server)
        if server.thread is not threading.current_thread():
            server.thread.join(10)

    def _application(self, name: str) -> Starlette:
        model = "/{org}/{name}"
        api = f"/api/models{model}"
        routes = {
            "hub": [
                Route("/api/models", self._list),
                Route(api, self._info),
                Route(f"{api}/revision/{{revision:path}}", self._info),
                Route(f"{api}/tree/{{revision}}", self._tree),
                Route(f"{model}/resolve/{{revision}}/{{file:path}}", self._resolve),
            ],
            "cdn": [
                Route("/_stand-in/stats", self._give_stats, methods=["GET", "POST"]),
                Route("/_stand-in/faults", self._take_faults, methods=["PUT"]),
                Route("/{sha256}", self._content),
            ],
        }
        return Starlette(routes=routes[name])

    # ---- what the hub answers

    async def _list(self, request: Request) -> Response:
        """Every model, whatever the filter: all it has are CTranslate2 conversions for speech recognition."""
        if refusal := self._refusal(request, "list"):
            return refusal
        return JSONResponse([self._model(model, sizes=False) for model in self.models])

    async def _info(self, request: Request) -> Response:
        if refusal := self._refusal(request, "api") or self._unknown(request):
            return refusal
        revision = request.path_params.get("revision", "main")
        return JSONResponse(self._model(_model_id(request), revision, sizes="blobs" in request.query_params))

    async def _tree(self, request: Request) -> Response:
        if refusal := self._refusal(request, "api") or self._unknown(request):
            return refusal
        _, files = self._revision(_model_id(request), request.path_params["revision"])
        return JSONResponse(
            [
                {"type": "file", "path": name, "size": file.size, "oid": file.sha1}
                | ({"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134}} if file.large else {})
                for name, file in files.items()
            ]
        )

    async def _resolve(self, request: Request) -> Response:
        if refusal := self._refusal(request, "resolve") or self._unknown(request):
            return refusal
        if self.faults.gated and _token(request) != (self.faults.token or None):
            status = 403 if _token(request) else 401
            return _error(status, "GatedRepo", f"Access to model {_model_id(request)} is restricted.")
        commit, files = self._revision(_model_id(request), request.path_params["revision"])
        name = request.path_params["file"]
        if name not in files:
            return _error(404, "EntryNotFound", "Entry not found")
        file = files[name]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.etag}"', "Accept-Ranges": "bytes"}
        if not file.large:
            return self._body(request, name, file, headers)
        headers |= {
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": f'"{file.sha256}"',
            "Location": f"{request.url.scheme}://{request.url.hostname}:{self.cdn_port}/{file.sha256}?name={name}",
        }
        return Response(status_code=302, headers=headers)

    async def _content(self, request: Request) -> Response:
        if refusal := self._refusal(request, "cdn", tokens=False):
            return refusal
        if "authorization" in request.headers:  # as S3 does with a signed address
            return Response("Only one auth mechanism allowed", status_code=400)
        known = {file.sha256: file for rs in self.models.values() for fs in rs.values() for file in fs.values()}
        file = known.get(request.path_params["sha256"])
        if file is None:
            return Response("AccessDenied", status_code=403)
        name = request.query_params["name"]
        return self._body(request, name, file, {"ETag": f'"{file.sha256}"', "Accept-Ranges": "bytes"})

    async def _give_stats(self, request: Request) -> Response:
        stats = self.stats
        if request.method == "POST":
            self.stats = Stats()
        return JSONResponse(asdict(stats) | {"total": stats.total})

    async def _take_faults(self, request: Request) -> Response:
        wanted = await request.json()
        unknown = set(wanted) - {known.name for known in fields(Faults)}
        if unknown:
            return JSONResponse({"error": f"unknown faults: {sorted(unknown)}"}, status_code=400)
        await asyncio.to_thread(self.set, **wanted)
        return JSONResponse(asdict(self.faults))

    def _refusal(self, request: Request, route: str, *, tokens: bool = True) -> Response | None:
        self.stats.requests[route] += 1
        if self.faults.status and self.faults.times > 0:
            self.faults.times -= 1
            return Response("the stand-in's fault", status_code=self.faults.status)
        if tokens and self.faults.token and _token(request) not in (None, self.faults.token):
            return _error(401, None, "Invalid credentials in Authorization header")
        return None

    def _unknown(self, request: Request) -> Response | None:
        model = _model_id(request)
        if model not in self.models:
            if _token(request):
                return _error(404, "RepoNotFound", "Repository not found")
            return _error(401, "RepoNotFound", "Invalid username or password.")
        revision = request.path_params.get("revision", "main")
        if revision != "main" and revision not in self.models[model]:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def _revision(self, model: str, revision: str) -> tuple[str, dict[str, Served]]:
        revisions = self.models[model]
        commit = list(revisions)[-1] if revision == "main" else revision
        return commit, revisions[commit]

    def _model(self, model: str, revision: str = "main", *, sizes: bool) -> dict[str, Any]:
        commit, files = self._revision(model, revision)
        card = {
            "library_name": "ctranslate2",
            "pipeline_tag": "automatic-speech-recognition",
            "language": ["en", "bg"],
            "tags": ["ctranslate2", "automatic-speech-recognition"],
        }
        siblings: list[dict[str, Any]] = [{"rfilename": name} for name in files]
        if sizes:
            for sibling, file in zip(siblings, files.values(), strict=True):
                sibling |= {"size": file.size, "blobId": file.sha1}
                if file.large:
                    sibling["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": 134}
        return {
            "_id": hashlib.md5(model.encode(), usedforsecurity=False).hexdigest()[:24],
            "id": model,
            "modelId": model,
            "author": model.split("/")[0],
            "sha": commit,
            "createdAt": "2024-10-01T00:00:00.000Z",
            "lastModified": "2025-01-01T00:00:00.000Z",
            "private": False,
            "gated": "manual" if self.faults.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card["tags"],
            "pipeline_tag": card["pipeline_tag"],
            "library_name": card["library_name"],
            "cardData": card,
            "siblings": siblings,
        }

    def _body(self, request: Request, name: str, file: Served, headers: dict[str, str]) -> Response:
        start, status = 0, 200
        if wanted := request.headers.get("range"):
            self.stats.ranges.append(wanted)
            match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
            if match and not self.faults.ignore_range:
                start, status = int(match[1]), 206
                if start >= file.size:
                    return Response(status_code=416, headers={"Content-Range": f"bytes */{file.size}"})
                headers = headers | {"Content-Range": f"bytes {start}-{file.size - 1}/{file.size}"}
        headers = headers | {"Content-Length": str(file.size - start)}
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        return StreamingResponse(self._bytes(name, file, start), status, headers, media_type="application/octet-stream")

    async def _bytes(self, name: str, file: Served, start: int) -> AsyncIterator[bytes]:
        end = file.size
        if file.large and self.faults.cuts > 0:
            self.faults.cuts -= 1
            end = min(end, start + self.faults.cut_after)
        clock = asyncio.get_running_loop()
        began, sent = clock.time(), 0
        with file.path.open("rb") as content:
            content.seek(start)
            while start + sent < end:
                while file.large and 0 < self.faults.stall_after <= sent:
                    await asyncio.sleep(0.02)
                chunk = content.read(min(CHUNK, end - start - sent))
                if self.faults.wrong_bytes and file.large and start + sent == 0:
                    chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                yield chunk
                await asyncio.sleep(0)  # lets a closed connection end this, before it counts
                sent += len(chunk)
                self.stats.bytes[name] += len(chunk)
                if speed := self.faults.bytes_per_s:
                    await asyncio.sleep(max(0, began + sent / speed - clock.time()))


class _Server(uvicorn.Server):
    """uvicorn's server, that says when it listens and leaves signals to the process."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.thread = threading.current_thread()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.create_server((host, port))
    listener.set_inheritable(True)
    return listener


def _model_id(request: Request) -> str:
    return f"{request.path_params['org']}/{request.path_params['name']}"


def _token(request: Request) -> str | None:
    value: str | None = request.headers.get("authorization")
    return value.removeprefix("Bearer ") if value else None


def _error(status: int, code: str | None, message: str) -> Response:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return JSONResponse({"error": message}, status_code=status, headers=headers)


def main() -> int:
    """Serves until stopped."""
    from lab.weights import revision, weights

    parser = argparse.ArgumentParser(prog="python -m lab.hub", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8090, help="port; large files come from the next one (%(default)s)")
    parser.add_argument("--model", default=MODEL, help="model id under which the weights are served (%(default)s)")
    given = parser.parse_args()
    folder = weights()
    files = {path.name: path for path in folder.iterdir()}
    with HubStandIn({given.model: {revision(): files}}, given.host, given.port) as hub:
        print(json.dumps({"endpoint": hub.endpoint, "model": given.model, "revision": revision()}), flush=True)
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
