"""seed.py as a process against a hub (lab.hub, a stand-in) and real file systems, with the huggingface_hub that
the server's image holds and with the installed one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from lab.hub import CLIENT, MODEL, HubStandIn, Served, client, small_model
from lab.weights import revision, weights
from tests.conftest import ROOT

SEED = ROOT / "roles" / "speaches" / "files" / "seed.py"

REPO = "models--" + MODEL.replace("/", "--")
OLD, NEW = "0" * 39 + "1", "0" * 39 + "2"
CARD = "---\nlibrary_name: ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n"
SIZE = 12_000_000

root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system or changes the user: needs root")


@pytest.fixture(scope="module", params=[CLIENT, "installed"])
def python(request: pytest.FixtureRequest) -> str:
    """An interpreter with the version of huggingface_hub that the test is about."""
    return sys.executable if request.param == "installed" else str(client())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    """Two revisions of a small model: the same weights, another card."""
    folder = tmp_path_factory.mktemp("model")
    small_model(folder, SIZE)
    (folder / "older.md").write_text(f"{CARD}# Older\n")
    (folder / "flax_model.msgpack").write_bytes(b"not for this server")
    names = [path.name for path in folder.iterdir() if path.name != "older.md"]
    new = {name: folder / name for name in names}
    return {OLD: new | {"README.md": folder / "older.md"}, NEW: new}


@pytest.fixture
def hub(model: dict[str, dict[str, Path]]) -> Iterator[HubStandIn]:
    with HubStandIn({MODEL: model}) as hub:
        yield hub


@dataclass(frozen=True)
class Seeded:
    """A finished seed.py: exit status, everything it said, and its result."""

    rc: int
    output: str
    result: dict[str, Any]

    @property
    def status(self) -> str:
        (model,) = self.result["models"]
        return str(model["status"])

    @property
    def fault(self) -> tuple[int, str, str, str]:
        assert self.rc == self.result["code"], self.output
        assert "Traceback" not in self.output
        return self.rc, self.result["error"], self.result["cause"], self.result["remedy"]


@dataclass(frozen=True)
class Volume:
    """The volume's folder and how seed.py is started on it."""

    path: Path
    python: str
    endpoint: str

    @property
    def cache(self) -> Path:
        return self.path / "hub"

    @property
    def repo(self) -> Path:
        return self.cache / REPO

    @property
    def main(self) -> str:
        return (self.repo / "refs" / "main").read_text()

    def snapshot(self, commit: str) -> Path:
        return self.repo / "snapshots" / commit

    def start(self, pin: str | None = NEW, local: Path | None = None, **env: str) -> subprocess.Popen[str]:
        """env: beside what the Job sets; `result` names the result's file."""
        wanted = {"model": MODEL, "revision": pin} | ({"local": str(local)} if local else {})
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "HF_HUB_CACHE": str(self.cache),
            "HF_ENDPOINT": self.endpoint,
            "SEED_MODELS": json.dumps([wanted]),
            "SEED_RESULT": f"{self.path}.result",
        }
        return subprocess.Popen(
            [self.python, str(SEED)],
            env=environment | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, process: subprocess.Popen[str], result: str = "") -> Seeded:
        output, _ = process.communicate(timeout=120)
        written = Path(result or f"{self.path}.result")
        return Seeded(process.returncode, output, json.loads(written.read_text()) if written.exists() else {})

    def seed(self, pin: str | None = NEW, local: Path | None = None, **env: str) -> Seeded:
        return self.finish(self.start(pin, local, **env))

    def partial(self) -> int:
        """Bytes of model.bin, while it is being downloaded."""
        return sum(path.stat().st_size for path in (self.repo / "blobs").glob(f"{'?' * 64}.incomplete"))


@pytest.fixture
def volume(tmp_path: Path, python: str, hub: HubStandIn) -> Volume:
    (tmp_path / "data" / "hub").mkdir(parents=True)
    return Volume(tmp_path / "data", python, hub.endpoint)


@pytest.fixture
def disk(tmp_path: Path, hub: HubStandIn) -> Volume:
    """A volume for what does not depend on the version of huggingface_hub."""
    (tmp_path / "data" / "hub").mkdir(parents=True)
    return Volume(tmp_path / "data", sys.executable, hub.endpoint)


@pytest.fixture
def mounted(disk: Volume) -> Iterator[Callable[[str], None]]:
    """Mounts a tmpfs with the given options as the volume."""

    def mount(options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk.path], check=True)

    yield mount
    subprocess.run(["umount", "-l", disk.path], check=True)


def until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Waits for the condition while the process runs."""
    while not condition():
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.01)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every path below a folder with inode and time of change: equal means untouched."""
    return {
        str(path): (path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in [folder, *folder.rglob("*")]
    }  # fmt: skip


# ---- the stand-in answers huggingface_hub's own calls


def test_what_the_server_asks_at_its_start(hub: HubStandIn, tmp_path: Path) -> None:
    """Speaches v0.9.0-rc.3 with PRELOAD_MODELS (executors/whisper.py): list_models, then snapshot_download."""
    api = huggingface_hub.HfApi(endpoint=hub.endpoint, token=False)
    (listed,) = api.list_models(filter=["ctranslate2", "automatic-speech-recognition"], cardData=True)
    assert listed.id == MODEL
    assert listed.created_at
    assert listed.card_data
    assert listed.card_data.library_name == "ctranslate2"
    folder = api.snapshot_download(MODEL, cache_dir=tmp_path, allow_patterns=["*.json", "model.bin", "README.md"])
    assert Path(folder).name == NEW
    assert sorted(os.listdir(folder)) == sorted(set(hub.models[MODEL][NEW]) - {"flax_model.msgpack"})
    assert (Path(folder) / "model.bin").stat().st_size == SIZE


# ---- what it does


def test_the_snapshot_is_complete_and_a_second_run_asks_nothing(volume: Volume, hub: HubStandIn) -> None:
    first = volume.seed()
    size = sum(path.stat().st_size for path in volume.snapshot(NEW).iterdir())
    assert (first.rc, first.result) == (
        0,
        {"models": [{"model": MODEL, "revision": NEW, "status": "downloaded", "bytes_downloaded": size}]},
    )
    assert hub.stats.total == size
    assert sorted(path.name for path in volume.snapshot(NEW).iterdir()) == [
        "README.md",
        "config.json",
        "model.bin",
        "preprocessor_config.json",
        "tokenizer.json",
        "vocabulary.json",
    ]
    assert volume.main == NEW
    assert sorted(path.name for path in volume.repo.iterdir()) == ["blobs", "portal-stt.json", "refs", "snapshots"]
    assert not Path("/nonexistent").exists()

    hub.set(down=True)
    before = tree(volume.path)
    second = volume.seed()
    assert (second.rc, second.result["models"][0]) == (
        0,
        {"model": MODEL, "revision": NEW, "status": "present", "bytes_downloaded": 0},
    )
    assert second.output == f"seed: {MODEL}: present at {NEW}, 6 files; nothing to do\n"
    assert tree(volume.path) == before
    assert hub.stats.total == size


def test_an_unset_revision_is_asked_for_once(disk: Volume, hub: HubStandIn, model: dict[str, Any]) -> None:
    hub.models[MODEL] = {OLD: hub.models[MODEL][OLD]}
    first = disk.seed(None)
    assert first.output.startswith(f"seed: {MODEL}: revision {OLD} (what unset is now), recorded on the volume\n")
    asked = hub.stats.requests["api"]
    with HubStandIn({MODEL: model}) as moved_on:
        again = Volume(disk.path, disk.python, moved_on.endpoint).seed(None)
        assert (again.status, again.result["models"][0]["revision"]) == ("present", OLD)
        assert (asked, moved_on.stats.requests["api"]) == (1, 0)


def test_another_pin_keeps_the_old_snapshot_and_going_back_needs_no_hub(disk: Volume, hub: HubStandIn) -> None:
    disk.seed(OLD)
    hub.stats.bytes.clear()
    assert disk.seed(NEW).status == "downloaded"
    assert (disk.main, dict(hub.stats.bytes)) == (NEW, {"README.md": len(CARD)})
    hub.set(down=True)
    assert disk.seed(OLD).rc == 0
    assert disk.main == OLD
    assert [path.name for path in (disk.repo / "refs").iterdir()] == ["main"]
    assert {path.name for path in (disk.repo / "snapshots").iterdir()} == {OLD, NEW}


def test_a_server_never_meets_a_half_model(disk: Volume, hub: HubStandIn, tmp_path: Path) -> None:
    """Scanned all the time, as the server does at every request, while another revision arrives."""
    disk.seed(OLD)
    (tmp_path / "other").mkdir()
    hub.models[MODEL][NEW]["model.bin"] = Served.read(small_model(tmp_path / "other", 8_000_000)["model.bin"])
    hub.set(bytes_per_s=2_000_000)
    seen: set[tuple[str, int]] = set()
    over = threading.Event()

    def scan() -> None:
        while not over.is_set():
            cache = huggingface_hub.scan_cache_dir(disk.cache)
            assert not cache.warnings
            (repo,) = cache.repos
            (served,) = (revision for revision in repo.revisions if "main" in revision.refs)
            seen.add((served.commit_hash, len(served.files)))

    failed: list[BaseException] = []
    thread = threading.Thread(target=lambda: _kept(scan, failed))
    thread.start()
    try:
        assert disk.seed(NEW).rc == 0
        time.sleep(0.1)
    finally:
        over.set()
        thread.join()
    assert not failed
    assert seen == {(OLD, 6), (NEW, 6)}


def _kept(call: Callable[[], None], errors: list[BaseException]) -> None:
    try:
        call()
    except BaseException as error:
        errors.append(error)


# ---- a server that lists its models meanwhile

LISTED = """
import huggingface_hub, sys
for repository in huggingface_hub.scan_cache_dir(sys.argv[1]).repos:
    revisions = list(repository.revisions)
    one = revisions[0] if len(revisions) == 1 else next(one for one in revisions if "main" in one.refs)
    print(repository.repo_id, one.commit_hash, len(one.files))
"""
"""What Speaches v0.9.0-rc.3 does for GET /v1/models (hf_utils.py): StopIteration for a repository without snapshots."""


def listed(volume: Volume) -> list[str]:
    """Model, revision and number of files of what the server lists, with the scan of its huggingface_hub."""
    command = [volume.python, "-c", LISTED, str(volume.cache)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(done.stdout.splitlines())


MISTYPED = '{"model": "deepdml/mistyped"}'
SERVED = [f"{MODEL} {NEW} 6"]


def test_a_failed_first_seeding_leaves_nothing_that_the_server_stumbles_over(volume: Volume) -> None:
    assert volume.seed(SEED_MODELS=f"[{MISTYPED}]").rc == 12
    assert listed(volume) == []
    assert volume.seed().status == "downloaded"
    assert listed(volume) == SERVED


def test_a_second_model_that_fails_beside_one_that_is_served(volume: Volume) -> None:
    both = json.dumps([{"model": MODEL, "revision": NEW}, json.loads(MISTYPED)])
    done = volume.seed(SEED_MODELS=both)
    assert (done.rc, [one["status"] for one in done.result["models"]]) == (12, ["downloaded"])
    assert listed(volume) == SERVED


def test_a_first_download_that_was_killed_is_not_listed(volume: Volume, hub: HubStandIn) -> None:
    hub.set(stall_after=SIZE // 2)
    killed = volume.start()
    until(lambda: volume.partial() > 0, killed)
    assert listed(volume) == []  # nor while it goes on
    killed.kill()
    killed.communicate()
    assert listed(volume) == []
    hub.set()
    assert volume.seed().status == "downloaded"
    assert listed(volume) == SERVED


def test_a_kill_between_ref_and_first_snapshot(volume: Volume) -> None:
    volume.seed()
    (volume.repo / "snapshots").rename(volume.repo / f"staged-{'0' * 32}")
    assert listed(volume) == []
    assert volume.seed().result["models"][0]["bytes_downloaded"] == 0
    assert listed(volume) == SERVED
    assert sorted(path.name for path in volume.repo.iterdir()) == ["blobs", "portal-stt.json", "refs", "snapshots"]


@pytest.mark.parametrize("leftover", [REPO, "models--deepdml--mistyped"])
def test_an_empty_snapshots_folder_of_before_goes(volume: Volume, hub: HubStandIn, leftover: str) -> None:
    """Also that of another model, and before the download begins: the server is in trouble as long as it is there."""
    volume.seed(None)
    for folder in ("snapshots", "blobs", "refs"):
        (volume.cache / leftover / folder).mkdir(parents=True, exist_ok=True)
    if leftover == REPO:
        for path in (volume.repo / "snapshots", volume.repo / "refs"):
            shutil.rmtree(path)
            path.mkdir()
    with pytest.raises(AssertionError, match="StopIteration"):
        listed(volume)
    hub.set(down=True)
    volume.seed("f" * 40)
    assert listed(volume) == ([] if leftover == REPO else SERVED)


def test_two_at_once_download_once(disk: Volume, hub: HubStandIn) -> None:
    hub.set(bytes_per_s=6_000_000)
    one = disk.start(SEED_RESULT=f"{disk.path}.one")
    until(lambda: disk.partial() > 0, one)
    two = disk.start(SEED_RESULT=f"{disk.path}.two")
    first, second = disk.finish(one, f"{disk.path}.one"), disk.finish(two, f"{disk.path}.two")
    assert [first.status, second.status] == ["downloaded", "present"]
    assert "another run is at work on it, waiting" in second.output
    assert hub.stats.bytes["model.bin"] == SIZE


def test_progress_is_told(volume: Volume, hub: HubStandIn) -> None:
    hub.set(bytes_per_s=3_000_000)
    lines = volume.seed().output.splitlines()
    (progress, *_) = [line for line in lines if "MB/s" in line]
    files, megabytes = progress.removeprefix(f"seed: {MODEL}: ").split(", ")[:2]
    assert files == "5/6 files"
    assert float(megabytes.split()[0]) > 3
    assert progress.endswith("MB/s")
    assert lines[-1].startswith(f"seed: {MODEL}: {NEW} is complete: 6 files verified, 12.0 MB downloaded in ")


def test_the_model_loads_without_the_hub(python: str, tmp_path: Path) -> None:
    """The real weights, read by faster-whisper as the server reads them."""
    commit = revision()
    files = {path.name: path for path in weights().iterdir()}
    with HubStandIn({MODEL: {commit: files}}) as hub:
        volume = Volume(tmp_path / "data", python, hub.endpoint)
        assert volume.seed(commit).status == "downloaded"
    load = (
        "import faster_whisper, numpy\n"
        f"model = faster_whisper.WhisperModel({MODEL!r}, device='cpu', compute_type='int8')\n"
        "print(model.model.is_multilingual, model.hf_tokenizer.get_vocab_size())"
    )
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(volume.cache)}
    done = subprocess.run([sys.executable, "-c", load], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("True 51865\n", 0), done.stderr


# ---- interruptions


def test_a_killed_download_goes_on(volume: Volume, hub: HubStandIn) -> None:
    hub.set(stall_after=SIZE // 2)  # nothing on its way in the network's buffers when the kill comes
    killed = volume.start()
    until(lambda: volume.partial() > SIZE / 2 - (1 << 20), killed)
    killed.kill()
    killed.communicate()
    here = volume.partial()
    assert not (volume.repo / "refs" / "main").exists()
    hub.set()
    done = volume.seed()
    assert done.status == "downloaded"
    assert f"seed: {MODEL}: the other run is gone, taking over\n" in done.output
    assert f"seed: {MODEL}: model.bin: {here / 1e6:.1f} of 12.0 MB are here already\n" in done.output
    assert hub.stats.ranges == [f"bytes={here}-"]
    repeated = hub.stats.total - sum(path.stat().st_size for path in volume.snapshot(NEW).iterdir())
    assert repeated < 1 << 20, f"{repeated} bytes came twice"


def test_what_kills_have_left_goes(disk: Volume, hub: HubStandIn, copy: Path) -> None:
    """Copies of imports, staged folders, and a download of another revision; the download that goes on stays."""
    digest = hub.models[MODEL][NEW]["model.bin"].sha256
    (disk.repo / "blobs").mkdir(parents=True)
    (disk.repo / f"staged-{'1' * 32}").mkdir()
    (disk.repo / f"staged-{'2' * 32}").write_text(OLD)
    for name in (f"model.bin.{'0' * 32}", "0" * 64, digest):
        (disk.repo / "blobs" / f"{name}.incomplete").write_bytes((copy / "model.bin").read_bytes()[:5_000_000])
    assert disk.seed().status == "downloaded"
    assert hub.stats.ranges == ["bytes=5000000-"]
    assert list((disk.repo / "blobs").glob("*.incomplete")) + list(disk.repo.glob("staged-*")) == []


def test_a_killed_import_leaves_nothing_after_the_next(disk: Volume, copy: Path) -> None:
    killed = disk.start(None, copy)
    until(lambda: any((disk.repo / "blobs").glob("model.bin.*.incomplete")), killed)
    killed.kill()
    killed.communicate()
    assert list((disk.repo / "blobs").glob("model.bin.*.incomplete"))
    assert disk.seed(None, copy).status == "imported"
    assert list((disk.repo / "blobs").glob("*.incomplete")) == []


def test_stopped_by_kubernetes(disk: Volume, hub: HubStandIn) -> None:
    hub.set(bytes_per_s=3_000_000)
    stopped = disk.start()
    until(lambda: disk.partial() > 0, stopped)
    stopped.send_signal(signal.SIGTERM)
    assert disk.finish(stopped).fault == (
        143,
        "The seeding was stopped.",
        "The pod got SIGTERM (deleted, evicted, or the Job's deadline).",
        "Run again: it goes on where it stopped.",
    )
    assert not (disk.repo / "portal-stt.lock").exists()


@pytest.mark.parametrize(
    "faults",
    [
        {"cuts": 2, "cut_after": 5_000_000},
        {"cuts": 1, "cut_after": 5_000_000, "ignore_range": True},
        {"status": 503, "times": 1},
        {"status": 429, "times": 1},
    ],
    ids=["cut-off", "no-ranges", "503", "429"],
)
def test_a_passing_fault_is_ridden_out(volume: Volume, hub: HubStandIn, faults: dict[str, int]) -> None:
    hub.set(**faults)
    done = volume.seed()
    assert (done.rc, done.status) == (0, "downloaded"), done.output


def test_a_bad_partial_file_is_downloaded_again(disk: Volume, hub: HubStandIn) -> None:
    digest = hub.models[MODEL][NEW]["model.bin"].sha256
    (disk.repo / "blobs").mkdir(parents=True)
    (disk.repo / "blobs" / f"{digest}.incomplete").write_bytes(bytes(5_000_000))
    assert disk.seed().status == "downloaded"


# ---- a damaged disk


def test_a_truncated_file_is_repaired(disk: Volume, hub: HubStandIn) -> None:
    disk.seed()
    blob = (disk.snapshot(NEW) / "model.bin").resolve()
    os.truncate(blob, SIZE // 2)
    hub.stats.bytes.clear()
    assert disk.seed().result["models"][0]["bytes_downloaded"] == SIZE
    assert (blob.stat().st_size, dict(hub.stats.bytes)) == (SIZE, {"model.bin": SIZE})


def test_rotten_bytes_are_found(disk: Volume) -> None:
    disk.seed()
    with (disk.snapshot(NEW) / "model.bin").open("r+b") as weights_file:
        weights_file.write(b"rotten")
    assert disk.seed().result["models"][0]["bytes_downloaded"] == SIZE
    assert disk.seed().status == "present"


def test_a_damaged_record_is_made_anew(disk: Volume) -> None:
    disk.seed()
    (disk.repo / "portal-stt.json").write_text('{"resolved": ')
    assert disk.seed().result["models"][0]["bytes_downloaded"] == 0
    assert disk.seed().status == "present"


# ---- what the hub's own library has left


@pytest.fixture
def downloaded(disk: Volume, hub: HubStandIn) -> Volume:
    """As `hf download` leaves it: complete, and without our record."""
    huggingface_hub.HfApi(endpoint=hub.endpoint, token=False).snapshot_download(MODEL, cache_dir=disk.cache)
    hub.set(down=True)
    return disk


@pytest.mark.parametrize("pin", [None, NEW], ids=["unset", "pinned"])
def test_a_complete_cache_is_adopted_while_the_hub_is_down(downloaded: Volume, pin: str | None) -> None:
    first = downloaded.seed(pin)
    assert (first.rc, first.result) == (
        0,
        {"models": [{"model": MODEL, "revision": NEW, "status": "present", "bytes_downloaded": 0}]},
    )
    assert first.output.endswith(f"{MODEL}: {NEW} is on the volume, 6 files verified; now recorded\n")
    assert listed(downloaded)[0].startswith(f"{MODEL} {NEW} ")
    assert downloaded.seed(pin).output == f"seed: {MODEL}: present at {NEW}, 6 files; nothing to do\n"


@pytest.mark.parametrize("name", ["model.bin", "tokenizer.json", "README.md"])
def test_a_cache_that_is_not_whole_is_not_adopted(downloaded: Volume, name: str) -> None:
    blob = (downloaded.snapshot(NEW) / name).resolve()
    os.truncate(blob, blob.stat().st_size - 1)
    assert downloaded.seed(None).rc == 10
    assert not (downloaded.repo / "portal-stt.json").exists()


def test_a_cache_of_another_revision_is_not_adopted(downloaded: Volume) -> None:
    assert downloaded.seed(OLD).rc == 10


def test_a_link_that_leads_out_is_not_adopted(downloaded: Volume) -> None:
    path = downloaded.snapshot(NEW) / "model.bin"
    elsewhere = downloaded.path / path.resolve().name
    path.resolve().rename(elsewhere)
    path.unlink()
    path.symlink_to(elsewhere)
    assert downloaded.seed(None).rc == 10


# ---- faults, each with its whole message


def test_hub_down_at_the_first_seeding(volume: Volume, hub: HubStandIn) -> None:
    hub.set(down=True)
    seeded = volume.seed()
    assert seeded.fault == (
        10,
        f"The hub at {hub.endpoint} is unreachable: connection refused.",
        f"The model {MODEL} is not complete on the volume, so it has to be fetched.",
        f"Let the seed Job out to {hub.endpoint} (DNS, firewall; a proxy or its CA: speaches_hub.environment and "
        "speaches_hub.ca) and run again, or bring the model yourself: speaches_model_source: local.",
    )
    assert seeded.output.splitlines()[-3:] == [
        f"seed: error: {seeded.result['error']}",
        f"seed: cause: {seeded.result['cause']}",
        f"seed: remedy: {seeded.result['remedy']}",
    ]


def test_a_hub_whose_name_does_not_resolve(volume: Volume) -> None:
    code, error, *_ = volume.seed(HF_ENDPOINT="http://hub.invalid").fault
    assert (code, error) == (10, "The hub at http://hub.invalid is unreachable: its name does not resolve.")


def test_a_hub_with_a_certificate_of_ones_own(
    python: str, tmp_path: Path, model: dict[str, dict[str, Path]], authority: tuple[Path, Path]
) -> None:
    """Also through a proxy that reads along, which shows such a certificate. The public ones stay trusted."""
    certificate, key = authority
    with HubStandIn({MODEL: model}, tls=(certificate, key)) as hub:
        volume = Volume(tmp_path / "data", python, hub.endpoint)
        code, error, *_ = volume.seed().fault
        assert (code, error.split(" (")[0]) == (10, f"The hub at {hub.endpoint} is unreachable: TLS fails")
        assert volume.seed(SEED_CA=str(certificate)).status == "downloaded"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate and key for localhost, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*made, "-out", folder / "crt", "-keyout", folder / "key"], capture_output=True, check=True)
    return folder / "crt", folder / "key"


def test_a_proxy_is_used(volume: Volume) -> None:
    """huggingface_hub takes it from the environment; here nobody listens there."""
    code, error, *_ = volume.seed(HF_ENDPOINT="http://hub.invalid", HTTP_PROXY="http://127.0.0.1:9").fault
    assert (code, error) == (10, "The hub at http://hub.invalid is unreachable: connection refused.")


def test_not_a_hub(volume: Volume, hub: HubStandIn) -> None:
    assert volume.seed(HF_ENDPOINT=f"http://127.0.0.1:{hub.cdn_port}").fault == (
        14,
        f"http://127.0.0.1:{hub.cdn_port} answers HTTP 404 for {MODEL}.",
        "Not Found.",
        "Look at HF_ENDPOINT: is it a hub?",
    )


def test_wrong_revision(volume: Volume, hub: HubStandIn) -> None:
    wrong = "f" * 40
    assert volume.seed(wrong).fault == (
        13,
        f"{MODEL} has no revision {wrong} on {hub.endpoint}.",
        "The hub answers HTTP 404 (RevisionNotFound).",
        f"Take a commit from {hub.endpoint}/{MODEL}/commits/main, or leave the revision unset.",
    )


@pytest.mark.parametrize(
    ("token", "cause"),
    [
        ("", "The hub answers HTTP 401 (RepoNotFound): the name is mistyped, or the model is private and no token "
             "was given to see it with."),
        ("hf_given", "The hub answers HTTP 404 (RepoNotFound): the name is mistyped, or the model is private and "
                     "the token given may not see it."),
    ],
)  # fmt: skip
def test_wrong_model(volume: Volume, hub: HubStandIn, token: str, cause: str) -> None:
    assert volume.seed(SEED_MODELS='[{"model": "deepdml/mistyped"}]', HF_TOKEN=token).fault == (
        12,
        f"There is no model deepdml/mistyped on {hub.endpoint}.",
        cause,
        "Correct the name (org/name, upper and lower case count), or give a token that may read it.",
    )


@pytest.mark.parametrize(
    ("token", "error", "cause"),
    [
        ("", f"{MODEL} is gated, and no token was given.", "The hub answers HTTP 401."),
        ("hf_wrong", "{endpoint} refuses " + MODEL + ", and the token given is not accepted.",
         "The hub answers HTTP 401."),
    ],
)  # fmt: skip
def test_a_gated_model(volume: Volume, hub: HubStandIn, token: str, error: str, cause: str) -> None:
    hub.set(gated=True, token="hf_right")
    seeded = volume.seed(HF_TOKEN=token)
    assert seeded.fault == (
        11,
        error.format(endpoint=hub.endpoint),
        cause,
        f"Accept the model's terms at {hub.endpoint}/{MODEL} and give a read token of that account as HF_TOKEN, "
        "from a Secret.",
    )
    assert not token or token not in seeded.output + json.dumps(seeded.result)
    right = volume.seed(HF_TOKEN="hf_right\n")
    assert (right.rc, "hf_right" in right.output) == (0, False)


def test_a_token_whose_account_has_not_accepted_the_terms(volume: Volume, hub: HubStandIn) -> None:
    hub.set(gated=True)
    seeded = volume.seed(HF_TOKEN="hf_other")
    assert seeded.fault[:3] == (
        11,
        f"{MODEL} is gated, and the token given is not accepted.",
        "The hub answers HTTP 403.",
    )
    assert "hf_other" not in seeded.output + json.dumps(seeded.result)


def test_wrong_bytes_never_reach_the_server(volume: Volume, hub: HubStandIn) -> None:
    volume.seed(OLD)
    (volume.snapshot(OLD) / "model.bin").resolve().unlink()
    hub.set(wrong_bytes=True)
    digest = hub.models[MODEL][NEW]["model.bin"].sha256
    assert volume.seed(NEW).fault == (
        30,
        f"{MODEL}: model.bin of revision {NEW} does not have the digest that the hub states.",
        f"Downloaded twice from {hub.endpoint}, expected {digest}, got other bytes.",
        "Something between the hub and the volume alters data (a proxy, a mirror, a bad disk); nothing was changed "
        "for the server. Try again from another network or with another HF_ENDPOINT.",
    )
    assert volume.main == OLD


@root
def test_volume_full_before_the_download(disk: Volume, hub: HubStandIn, mounted: Callable[[str], None]) -> None:
    mounted("size=8M")
    code, error, cause, remedy = disk.seed().fault
    assert (code, cause, remedy) == (
        20,
        "The export's file system, or its quota, has no room.",
        "Free space on the export or enlarge it and run again: what was downloaded stays.",
    )
    assert error == f"The volume is full. {MODEL}: 12.0 MB are still to come and 8.4 MB are free at {disk.cache}."
    assert hub.stats.total == 0


@root
def test_volume_full_before_an_import(disk: Volume, copy: Path, mounted: Callable[[str], None]) -> None:
    elsewhere = copy.rename(disk.path.parent / "turbo")
    mounted("size=8M")
    code, error, *_ = disk.seed(None, elsewhere).fault
    assert (code, error) == (
        20,
        f"The volume is full. {MODEL}: 12.0 MB are still to come and 8.4 MB are free at {disk.cache}.",
    )


@root
def test_volume_full_meanwhile(disk: Volume, hub: HubStandIn, mounted: Callable[[str], None]) -> None:
    mounted("size=16M")
    hub.set(bytes_per_s=4_000_000)
    running = disk.start()
    until(lambda: disk.partial() > 2_000_000, running)
    filler = disk.path / "of-somebody-else"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(16_000_000))
    blob = disk.repo / "blobs" / f"{hub.models[MODEL][NEW]['model.bin'].sha256}.incomplete"
    assert disk.finish(running).fault == (
        20,
        f"The volume is full. {blob} could not be written: No space left on device.",
        "The export's file system, or its quota, has no room.",
        "Free space on the export or enlarge it and run again: what was downloaded stays.",
    )
    filler.unlink()
    hub.set()
    assert disk.seed().status == "downloaded"
    assert hub.stats.ranges != []


@root
def test_volume_read_only(disk: Volume, mounted: Callable[[str], None]) -> None:
    mounted("size=1M,ro")
    assert disk.seed().fault == (
        21,
        f"The volume is read-only: {disk.cache} could not be written.",
        "Read-only file system.",
        "Give the seed Job the claim read-write and see that the export has rw.",
    )


@root
def test_wrong_owner(hub: HubStandIn) -> None:
    """Without the hub's library: the fault shows before it is needed, and this user may not read root's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        done = subprocess.run(
            ["/usr/bin/python3", "-I", "-"],
            input=SEED.read_text(),
            env={"HF_HUB_CACHE": f"{folder}/hub", "SEED_MODELS": json.dumps([{"model": MODEL}])},
            capture_output=True,
            text=True,
            user=1000,
            group=1000,
            extra_groups=[],
            check=False,
        )
        assert (done.returncode, done.stderr) == (22, "")
        assert done.stdout.splitlines() == [
            f"seed: error: User 1000 (group 1000) may not use {folder}/hub: {folder} belongs to 0:0, mode 0755.",
            "seed: cause: Permission denied.",
            "seed: remedy: On the NFS host give the exported directory, with what is in it, to the server's user "
            "(chown -R 1000:1000), as the storage play does.",
        ]


# ---- from a local copy


@pytest.fixture
def copy(model: dict[str, dict[str, Path]], tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "import" / "turbo"
    folder.mkdir(parents=True)
    for name, path in model[NEW].items():
        (folder / name).write_bytes(path.read_bytes())
    return folder


def archive(kind: str, copy: Path) -> Path:
    """The folder as an archive; "cache" as the hub's cache has it, with links, as one packs ~/.cache/huggingface."""
    target = copy.with_name("turbo.zip" if kind == "zip" else "turbo.tar.gz")
    if kind == "folder":
        return copy
    if kind == "zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in copy.iterdir():
                packed.write(path, f"turbo/{path.name}")
        return target
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for path in copy.iterdir():
            if kind == "cache":
                tar.add(path, f"hub/{REPO}/blobs/{path.stat().st_ino}")
                link = tarfile.TarInfo(f"hub/{REPO}/snapshots/{NEW}/{path.name}")
                link.type, link.linkname = tarfile.SYMTYPE, f"../../blobs/{path.stat().st_ino}"
                tar.addfile(link)
            else:
                tar.add(path, path.name)
    return target


@pytest.mark.parametrize("kind", ["folder", "tar", "cache", "zip"])
def test_a_local_copy_is_imported(disk: Volume, hub: HubStandIn, copy: Path, kind: str) -> None:
    source = archive(kind, copy)
    hub.set(down=True)
    done = disk.seed(None, source)
    (imported,) = done.result["models"]
    # The revision is the content's: the same for a folder and for every archive of it.
    names = sorted(name for name in os.listdir(copy) if name != "flax_model.msgpack")
    listing = subprocess.run(["sha256sum", *names], cwd=copy, capture_output=True, check=True).stdout
    assert imported == {
        "model": MODEL,
        "revision": hashlib.sha1(listing).hexdigest(),
        "status": "imported",
        "bytes_downloaded": 0,
    }
    snapshot = disk.snapshot(imported["revision"])
    assert disk.main == imported["revision"]
    assert all(path.read_bytes() == (copy / path.name).read_bytes() for path in snapshot.iterdir())
    assert len(list(snapshot.iterdir())) == 6
    assert disk.seed(None, source).status == "present"

    blob = (snapshot / "model.bin").resolve()
    os.truncate(blob, 5)
    assert disk.seed(None, source).status == "imported"
    assert blob.stat().st_size == SIZE


def test_a_replaced_local_copy_is_another_revision(disk: Volume, copy: Path) -> None:
    first = disk.seed(None, copy)
    (copy / "config.json").write_text("{ }")
    second = disk.seed(None, copy)
    assert second.status == "imported"
    assert second.result["models"][0]["revision"] != first.result["models"][0]["revision"]
    for path in copy.iterdir():
        path.unlink()
    copy.rmdir()
    assert disk.seed(None, copy).result["models"][0] == second.result["models"][0] | {"status": "present"}
    os.truncate((disk.snapshot(disk.main) / "model.bin").resolve(), 5)
    assert disk.seed(None, copy).fault == (
        32,
        f"{MODEL}: model.bin on the volume is damaged, and {copy} is gone.",
        "A file imported from a local copy can only be repaired from it.",
        "Put the folder or archive back and run again.",
    )


def test_an_import_that_is_not_there(disk: Volume) -> None:
    assert disk.seed(None, disk.path / "import" / "turbo").fault == (
        32,
        f"{MODEL}: there is nothing at {disk.path}/import/turbo.",
        "The import was not put there.",
        "Put a folder or a tar or zip archive with the model's files there, readable by this user.",
    )


def test_a_truncated_archive(disk: Volume, copy: Path) -> None:
    source = archive("tar", copy)
    os.truncate(source, source.stat().st_size // 2)
    code, error, _, remedy = disk.seed(None, source).fault
    assert (code, error, remedy) == (
        32,
        f"{MODEL}: {source} is not a whole archive.",
        "Put a folder or a tar or zip archive with the model's files there, readable by this user.",
    )
    assert not (disk.repo / "refs" / "main").exists()
    assert list((disk.repo / "blobs").glob("*.incomplete")) == []


def test_a_model_of_another_format(disk: Volume, copy: Path) -> None:
    (copy / "model.bin").rename(copy / "model.safetensors")
    assert disk.seed(None, copy).fault == (
        31,
        f"{MODEL} cannot be served: {copy} has no model.bin.",
        "The server loads Whisper models in CTranslate2's format, with their model card.",
        "Choose a CTranslate2 conversion (model.bin), such as deepdml/faster-whisper-large-v3-turbo-ct2, or complete "
        "the folder.",
    )


def test_a_card_that_the_server_does_not_know(disk: Volume, copy: Path) -> None:
    (copy / "README.md").write_text("---\nlibrary_name: transformers\n---\n")
    assert disk.seed(None, copy).fault == (
        31,
        f"{MODEL} cannot be served: the card in README.md does not say ctranslate2 and automatic-speech-recognition.",
        "The server lists a model only when its card names the library ctranslate2 and the task "
        "automatic-speech-recognition.",
        "Choose a conversion whose card says so, or add library_name and pipeline_tag to a local copy's card.",
    )
    assert not (disk.repo / "refs" / "main").exists()
