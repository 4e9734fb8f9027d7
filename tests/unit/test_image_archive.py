"""The lab's images, as far as no registry is needed: configurations like Speaches' own, in all manifest shapes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lab import images
from lab.images import DOCKER, IMAGES, OCI, Below, Image


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(images, "CACHE", tmp_path)
    return images._tar({"a": "b"}, "small")


def written(image: Image, layer: Path) -> tuple[dict[str, Any], Below]:
    below = Below({}, {})
    return json.loads(images._write(image, [layer], below)), below


def by_tag(tag: str) -> Image:
    return next(image for image in IMAGES if tag in image.tags)


def test_layer_is_named_by_its_content_and_made_once(layer: Path) -> None:
    assert layer.stem == hashlib.sha256(layer.read_bytes()).hexdigest()
    assert images._tar({"a": "b"}, "small") == layer


@pytest.mark.parametrize(
    ("tag", "media_type", "architectures"),
    [
        ("0.9.0-rc.3-cuda", OCI["index"], ["amd64", "arm64", "unknown"]),
        ("0.9.0-rc.3-cuda-12.6.3", OCI["manifest"], None),
        ("0.9.0-rc.3-cuda-12.4.1", DOCKER["index"], ["amd64", "arm64"]),
        ("0.9.0-rc.3-cpu", DOCKER["manifest"], None),
    ],
)
def test_shapes(layer: Path, tag: str, media_type: str, architectures: list[str] | None) -> None:
    top, below = written(by_tag(tag), layer)
    assert top["mediaType"] == media_type
    if architectures is None:
        assert top["config"]["digest"] in below.configs
        return
    assert [entry["platform"]["architecture"] for entry in top["manifests"]] == architectures
    for entry in top["manifests"]:
        manifest = json.loads(below.manifests[entry["digest"]])
        assert manifest["config"]["digest"] in below.configs
        assert [one["digest"] for one in manifest["layers"]] == [f"sha256:{layer.stem}"]


@pytest.mark.parametrize(
    ("tag", "version", "length", "digest"),
    [
        ("0.9.0-rc.3-cuda", "12.9.0", 2165, "1aca9b4cfd809b04"),
        ("0.9.0-rc.3-cuda-12.6.3", "12.6.3", 1303, "8df7d1451b989b90"),
        ("0.9.0-rc.3-cuda-12.4.1", "12.4.1", 1126, "a544f86a3c07ed51"),
    ],
)
def test_configuration(tag: str, version: str, length: int, digest: str) -> None:
    """Length and sha256 of NVIDIA_REQUIRE_CUDA as in NVIDIA's Dockerfiles of that version."""
    config = images._config(by_tag(tag), "amd64")
    env = dict(entry.split("=", 1) for entry in config["Env"])
    require = env["NVIDIA_REQUIRE_CUDA"]
    assert (len(require), hashlib.sha256(require.encode()).hexdigest()[:16]) == (length, digest)
    assert (env["CUDA_VERSION"], env["NVIDIA_DRIVER_CAPABILITIES"]) == (version, "compute,utility")
    assert (config["User"], config["WorkingDir"]) == ("ubuntu", "/home/ubuntu/speaches")


def test_no_cuda_in_the_cpu_image() -> None:
    config = images._config(by_tag("latest-cpu"), "amd64")
    assert config["Entrypoint"] is None
    assert not [entry for entry in config["Env"] if "NVIDIA" in entry or "CUDA" in entry]
