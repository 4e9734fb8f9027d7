"""Container images for the lab, made without a container engine and pushed to the lab's registry.

They go by the names of Speaches' own images and have their configuration (user, environment, command), so
that what reads them decides as it would on the real ones. Their content is the stand-in of lab/speech on a
small Debian root with faster-whisper. What goes in decides every byte: same input, same digest.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import oras.provider
import requests

from lab.console import LabError, say
from lab.paths import CACHE, ROOT

BASE = "lab.invalid/speech-base:1"
"""Name of the image that holds the lower layer alone, for preloading."""

REPOSITORY = "speaches-ai/speaches"

APP = ROOT / "lab" / "speech" / "server.py"
HOME = "home/ubuntu"
VENV = f"{HOME}/speaches/.venv"
LIBRARIES = f"{VENV}/lib/python3.11/site-packages"
UID = 1000

DEBIAN = "base-files,bash,coreutils,dash,libc-bin,libpython3-stdlib,libstdc++6,mount,python3-minimal"
# What faster-whisper and the server need, without hf-xet: nothing in the lab speaks its protocol.
PYTHON = """
    anyio av click ctranslate2 faster-whisper filelock flatbuffers fsspec h11 httpcore2 httpx2
    huggingface-hub idna numpy onnxruntime packaging protobuf python-multipart pyyaml starlette
    tokenizers tqdm truststore typing-extensions uvicorn
"""
UNNEEDED = (
    "dev/",
    "usr/lib/x86_64-linux-gnu/gconv/",
    "usr/share/bash-completion/",
    "usr/share/doc/",
    "usr/share/info/",
    "usr/share/lintian/",
    "usr/share/locale/",
    "usr/share/man/",
    "var/cache/",
    "var/lib/apt/",
    "var/lib/dpkg/",
    "var/log/",
)
"""What of them no program of ours reads."""
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n",
    "etc/group": "root:x:0:\nubuntu:x:1000:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
    "opt/nvidia/nvidia_entrypoint.sh": '#!/bin/bash\nexec "$@"\n',
    f"{VENV}/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n",
    f"{VENV}/bin/uvicorn": (f"#!/{VENV}/bin/python3\nimport sys\nfrom uvicorn.main import main\nsys.exit(main())\n"),
}

OCI = {
    "index": "application/vnd.oci.image.index.v1+json",
    "manifest": "application/vnd.oci.image.manifest.v1+json",
    "config": "application/vnd.oci.image.config.v1+json",
    "layer": "application/vnd.oci.image.layer.v1.tar",
}
DOCKER = {
    "index": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar",
}


@dataclass(frozen=True)
class Cuda:
    """The version-dependent environment of one nvidia/cuda image (its Dockerfiles, base and runtime)."""

    version: str
    cudart: str
    cudnn: str
    library_path: str


CUDA_12_9 = Cuda("12.9.0", "12.9.37-1", "9.9.0.52-1", "/usr/local/cuda/lib64")
CUDA_12_6 = Cuda("12.6.3", "12.6.77-1", "9.5.1.17-1", "/usr/local/nvidia/lib:/usr/local/nvidia/lib64")
CUDA_12_4 = Cuda("12.4.1", "12.4.127-1", "9.1.0.70-1", "/usr/local/nvidia/lib:/usr/local/nvidia/lib64")


@dataclass(frozen=True)
class Image:
    """One image of the repository: its tags, what it is built on, and how its manifests are written.

    types: media types by part; indexed: whether several platforms are offered, as buildx does.
    """

    version: str
    tags: tuple[str, ...]
    cuda: Cuda | None
    types: dict[str, str]
    indexed: bool


IMAGES = (
    Image("0.9.0-rc.3", ("0.9.0-rc.3-cuda",), CUDA_12_9, OCI, indexed=True),
    Image("0.9.0-rc.3", ("0.9.0-rc.3-cuda-12.6.3",), CUDA_12_6, OCI, indexed=False),
    Image("0.9.0-rc.3", ("0.9.0-rc.3-cuda-12.4.1",), CUDA_12_4, DOCKER, indexed=True),
    Image("0.9.0-rc.3", ("0.9.0-rc.3-cpu",), None, DOCKER, indexed=False),
    Image("0.8.3", ("0.8.3-cuda", "latest-cuda"), CUDA_12_9, OCI, indexed=True),
    Image("0.8.3", ("0.8.3-cpu", "latest-cpu"), None, OCI, indexed=True),
)


def publish(registry: str, *, small: bool = False) -> dict[str, str]:
    """Digest by tag after all images are at the plain-HTTP registry `registry` (``HOST:PORT``).

    What is there already is not sent again. small: with a layer of a few bytes, for whoever only reads
    configurations; such images do not run. Raises LabError when the registry refuses something.
    """
    layers = [_tar({"stand-in": "Not to be run.\n"}, "small")] if small else [_base_layer(), _app_layer()]
    client = oras.provider.Registry(hostname=registry, insecure=True)
    container = client.get_container(f"{registry}/{REPOSITORY}")

    def put(reference: str, body: bytes) -> None:
        url = f"{client.prefix}://{container.manifest_url(reference)}"
        kind = {"Content-Type": json.loads(body)["mediaType"]}
        _accepted(client.do_request(url, "PUT", data=body, headers=kind), reference)

    for layer in layers:
        sent = client.upload_blob(str(layer), container, _described(layer), do_chunked=True, chunk_size=16 * 2**20)
        _accepted(sent, layer.name)
    digests = {}
    for image in IMAGES:
        below = Below({}, {})
        top = _write(image, layers, below)
        with tempfile.TemporaryDirectory() as scratch:
            for digest, config in below.configs.items():
                file = Path(scratch, digest)
                file.write_bytes(config)
                _accepted(client.upload_blob(str(file), container, _described(config)), digest)
        for digest, manifest in below.manifests.items():
            put(digest, manifest)
        for tag in image.tags:
            put(tag, top)
            digests[tag] = _digest(top)
    return digests


def base_archive() -> Path:
    """An OCI archive of the lower layer alone under the name `BASE`, for containerd to import.

    Its command only waits: the node takes it for the pods' pause container, too.
    """
    layer, below = _base_layer(), Below({}, {})
    manifest = _manifest(OCI, "amd64", {"Entrypoint": ["/bin/sleep", "infinity"]}, [layer], below)
    archive = layer.with_name(f"archive-{_digest(manifest)[7:19]}.tar")
    if archive.is_file():
        return archive
    entry = {"mediaType": OCI["manifest"], **_described(manifest)}
    entry["annotations"] = {"io.containerd.image.name": BASE, "org.opencontainers.image.ref.name": BASE}
    index = {"schemaVersion": 2, "mediaType": OCI["index"], "manifests": [entry]}
    small = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": _json(index)}
    for digest, body in [*below.configs.items(), (_digest(manifest), manifest)]:
        small[f"blobs/sha256/{digest.removeprefix('sha256:')}"] = body
    with _new(archive) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for name, body in small.items():
            _add(tar, name, body)
        with layer.open("rb") as content:
            member = _member(f"blobs/sha256/{layer.stem}")
            member.size = layer.stat().st_size
            tar.addfile(member, content)
    return archive


@dataclass(frozen=True)
class Below:
    """What a top manifest refers to, by digest, in the order in which a registry wants it."""

    configs: dict[str, bytes]
    manifests: dict[str, bytes]


def _write(image: Image, layers: list[Path], below: Below) -> bytes:
    """The top manifest; what it refers to goes into `below`."""
    manifest = _manifest(image.types, "amd64", _config(image, "amd64"), layers, below)
    if not image.indexed:
        return manifest
    offered = [("linux", "amd64", manifest)]
    offered += [("linux", "arm64", _manifest(image.types, "arm64", _config(image, "arm64"), layers[-1:], below))]
    if image.types is OCI:  # buildx: provenance, as a manifest for no platform
        offered += [("unknown", "unknown", _manifest(OCI, "unknown", {}, layers[-1:], below))]
    entries = []
    for system, architecture, body in offered:
        below.manifests[_digest(body)] = body
        entry = {"mediaType": image.types["manifest"], **_described(body)}
        entry["platform"] = {"architecture": architecture, "os": system}
        if system == "unknown":
            kind = {"vnd.docker.reference.type": "attestation-manifest"}
            entry["annotations"] = {"vnd.docker.reference.digest": _digest(manifest), **kind}
        entries.append(entry)
    return _json({"schemaVersion": 2, "mediaType": image.types["index"], "manifests": entries})


def _manifest(
    types: dict[str, str], architecture: str, config: dict[str, Any], layers: list[Path], below: Below
) -> bytes:
    body = _json(
        {
            "architecture": architecture,
            "os": "unknown" if architecture == "unknown" else "linux",
            "created": "2025-12-27T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [_described(layer)["digest"] for layer in layers]},
            "history": [{"created_by": "lab"} for _ in layers],
        }
    )
    below.configs[_digest(body)] = body
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": types["manifest"],
            "config": {"mediaType": types["config"], **_described(body)},
            "layers": [{"mediaType": types["layer"], **_described(layer)} for layer in layers],
        }
    )


def _config(image: Image, architecture: str) -> dict[str, Any]:
    """User, environment and command as in Speaches' Dockerfile and the image that it builds on."""
    cuda, system = image.cuda, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    env: dict[str, str] = {}
    if cuda:
        require = json.loads((ROOT / "tests/vectors/cuda_vectors.json").read_text())["require"]
        system = f"/usr/local/nvidia/bin:/usr/local/cuda/bin:{system}"
        env = {
            "NVARCH": {"amd64": "x86_64", "arm64": "sbsa"}[architecture],
            "NVIDIA_REQUIRE_CUDA": require[cuda.version],
            "NV_CUDA_CUDART_VERSION": cuda.cudart,
            "CUDA_VERSION": cuda.version,
            "LD_LIBRARY_PATH": cuda.library_path,
            "NVIDIA_VISIBLE_DEVICES": "all",
            "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
            "NVIDIA_PRODUCT_NAME": "CUDA",
            "NV_CUDNN_VERSION": cuda.cudnn,
        }
    env |= {
        "HOME": f"/{HOME}",
        "PATH": f"/{VENV}/bin:/{HOME}/.local/bin:{system}",
        "UVICORN_HOST": "0.0.0.0",
        "UVICORN_PORT": "8000",
        "HF_HUB_ENABLE_HF_TRANSFER": "0",
        "DO_NOT_TRACK": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return {
        "User": "ubuntu",
        "ExposedPorts": {"8000/tcp": {}},
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Entrypoint": ["/opt/nvidia/nvidia_entrypoint.sh"] if cuda else None,
        "Cmd": ["uvicorn", "--factory", "speaches_stand_in:create_app"],
        "WorkingDir": f"/{HOME}/speaches",
        "Labels": {
            "lab.invalid.stand-in": "true",
            "org.opencontainers.image.source": "https://github.com/speaches-ai/speaches",
            "org.opencontainers.image.version": image.version,
        },
    }


def _base_layer() -> Path:
    """The layer with Debian, Python and the libraries, made once for a set of versions."""
    pins = _pins()
    return _cached("base", [DEBIAN, pins, UNNEEDED, FILES], lambda stream: _build_base(pins, stream))


def _app_layer() -> Path:
    return _tar({f"{LIBRARIES}/speaches_stand_in.py": APP.read_text()}, "app")


def _tar(files: dict[str, str], name: str) -> Path:
    def build(stream: BinaryIO) -> None:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path, content in files.items():
                _add(tar, path, content.encode())

    return _cached(name, files, build)


def _cached(name: str, recipe: object, build: Callable[[BinaryIO], None]) -> Path:
    """The layer that `build` makes from `recipe`, once; its file is called as its digest."""
    folder = CACHE / "images" / f"{name}-{hashlib.sha256(_json(recipe)).hexdigest()[:16]}"
    for layer in folder.glob("?" * 64 + ".tar"):
        return layer
    folder.mkdir(parents=True, exist_ok=True)
    unnamed = folder / "new.tar"
    with _new(unnamed) as stream:
        build(stream)
    with unnamed.open("rb") as done:
        return unnamed.rename(folder / f"{hashlib.file_digest(done, 'sha256').hexdigest()}.tar")


def _build_base(pins: list[str], stream: BinaryIO) -> None:
    say("making the speech server's image (about a minute)")
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        root = Path(scratch, "root")
        # Unpacked only: nothing in it is ever set up or runs as a system.
        _run("mmdebstrap", "--quiet", "--variant=extract", f"--include={DEBIAN}", "bookworm", root)
        libraries = root / LIBRARIES
        python = ("--python-version", "3.11", "--python-platform", "x86_64-unknown-linux-gnu")
        pick = ("--no-deps", "--only-binary", ":all:", "--link-mode", "copy", "--target", libraries)
        _run(uv, "pip", "install", "--quiet", *python, *pick, *pins)
        shutil.rmtree(libraries / "bin", ignore_errors=True)
        for folder in [*libraries.rglob("tests"), libraries / "onnxruntime" / "transformers"]:
            shutil.rmtree(folder, ignore_errors=True)
        for name, content in FILES.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        for name in ("python", "python3", "python3.11"):
            (root / VENV / "bin" / name).symlink_to("/usr/bin/python3")
        (root / HOME / ".cache/huggingface/hub").mkdir(parents=True)
        (root / HOME).chmod(0o750)
        # Compiled here and trusted whatever the files' times say: an emulated CPU is slow at it.
        inside = ("chroot", root, f"/{VENV}/bin/python3")
        trusted = ("--invalidation-mode", "unchecked-hash")
        _run(*inside, "-m", "compileall", "-q", *trusted, "/usr/lib/python3.11", f"/{LIBRARIES}")
        _run(*inside, "-B", "-c", "import faster_whisper, python_multipart, starlette, uvicorn")
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path in sorted(root.rglob("*")):
                name = path.relative_to(root).as_posix()
                if not name.startswith(UNNEEDED):
                    _add_path(tar, path, name)


def _pins() -> list[str]:
    """``NAME==VERSION`` of the libraries as locked for Python 3.11."""
    locked = {}
    for line in (ROOT / "requirements-dev.txt").read_text().splitlines():
        requirement, _, marker = line.partition(";")
        if ">= '3.12'" not in marker:
            locked[requirement.partition("==")[0]] = requirement.strip()
    return [locked[name] for name in PYTHON.split()]


def _run(*command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SOURCE_DATE_EPOCH": "0", "PYTHONHASHSEED": "0"},
    )
    if done.returncode:
        raise LabError(f"`{command[0]}` failed while the speech server's image was made:\n{done.stderr}")


def _add_path(tar: tarfile.TarFile, path: Path, name: str) -> None:
    """One file as the layer has it: of the user below its home, else of root; without a time."""
    found = tar.gettarinfo(path, name)
    member = _member(name, found.mode)
    member.type, member.linkname, member.size = found.type, found.linkname, found.size
    if found.isreg():
        with path.open("rb") as content:
            tar.addfile(member, content)
    else:
        tar.addfile(member)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = _member(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _member(name: str, mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.mode = mode
    if f"{name}/".startswith(f"{HOME}/"):
        member.uid = member.gid = UID
    return member


@contextmanager
def _new(path: Path) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _described(content: bytes | Path) -> dict[str, Any]:
    """Digest and size of some bytes, or of a layer, whose file is called as its digest."""
    if isinstance(content, Path):
        return {"digest": f"sha256:{content.stem}", "size": content.stat().st_size}
    return {"digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _accepted(response: requests.Response, what: str) -> None:
    if not response.ok:
        raise LabError(f"The registry at {response.url} refused {what}: {response.status_code} {response.text}")
