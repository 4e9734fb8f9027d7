"""Decisions of seed.py: what is asked for, what an error means, who holds the lock, what an archive holds."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import shutil
import socket
import struct
import sys
import tarfile
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lab.hub import small_model
from lab.weights import weights
from tests.conftest import ROOT


def load(name: str) -> ModuleType:
    """A script of the role as a module."""
    spec = importlib.util.spec_from_file_location(f"speaches_{name}", ROOT / f"roles/speaches/files/{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


seed: Any = load("seed")


# ---- SEED_MODELS


def test_wanted_models() -> None:
    text = '[{"model": "a/b"}, {"model": "c/d.e", "revision": "v1"}, {"model": "f/g", "revision": "", "local": "/x"}]'
    assert seed.wanted_models(text) == [
        seed.Wanted("a/b"),
        seed.Wanted("c/d.e", "v1"),
        seed.Wanted("f/g", None, "/x"),
    ]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)."),
        ("[]", "ValueError: no entry."),
        ('{"model": "a/b"}', "TypeError: string indices must be integers, not 'str'."),
        ('[{"revision": "x"}]', "KeyError: 'model'."),
        ('[{"model": "b"}]', 'ValueError: bad entry {"model": "b"}.'),
        ('[{"model": "../b"}]', 'ValueError: bad entry {"model": "../b"}.'),
        ('[{"model": "a/b--c"}]', 'ValueError: bad entry {"model": "a/b--c"}.'),
        ('[{"model": "a/b", "revison": "x"}]', 'ValueError: bad entry {"model": "a/b", "revison": "x"}.'),
        ('[{"model": "a/b\\n"}]', r'ValueError: bad entry {"model": "a/b\n"}.'),
        ('[{"model": "a/\\u0436"}]', r'ValueError: bad entry {"model": "a/\u0436"}.'),
        ('[{"model": "a/b", "revision": "../x"}]', 'ValueError: bad entry {"model": "a/b", "revision": "../x"}.'),
        ('[{"model": "a/b", "revision": "x/../y"}]', 'ValueError: bad entry {"model": "a/b", "revision": "x/../y"}.'),
        ('[{"model": "a/b", "local": "turbo"}]', 'ValueError: bad entry {"model": "a/b", "local": "turbo"}.'),
        ('[{"model": "a/b", "local": "/x/../y"}]', 'ValueError: bad entry {"model": "a/b", "local": "/x/../y"}.'),
        ('[{"model": "a/b"}, {"model": "A/b"}]', "ValueError: a model twice."),
        (
            json.dumps([{"model": f"a/b{n}"} for n in range(30)]),
            "ValueError: 30 models are more than a result can tell of.",
        ),
        (
            "[" * 100_000,
            "RecursionError: maximum recursion depth exceeded while decoding a JSON array from a unicode string.",
        ),
    ],
)
def test_bad_wanted_models(text: str, cause: str) -> None:
    with pytest.raises(seed.Fault) as refused:
        seed.wanted_models(text)
    assert (refused.value.code, refused.value.error, refused.value.cause, refused.value.remedy) == (
        2,
        "SEED_MODELS is not a list of models.",
        cause,
        'Write it as [{"model": "org/name", "revision": "commit or null"}].',
    )


# ---- whole runs that end before the hub


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **env: str) -> tuple[int, dict[str, Any]]:
    monkeypatch.setattr(seed.signal, "signal", lambda *_: None)
    monkeypatch.setattr(seed.os, "umask", lambda _: 0)
    env = {"HF_HUB_CACHE": str(tmp_path), "SEED_RESULT": str(tmp_path / "result")} | env
    return seed.main(env), json.loads((tmp_path / "result").read_text())


def test_a_bad_endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run(monkeypatch, tmp_path, HF_ENDPOINT="hub.lan", SEED_MODELS="[]") == (
        2,
        {
            "models": [],
            "error": "HF_ENDPOINT is not an address of a hub: hub.lan.",
            "cause": "It has to begin with http:// or https://.",
            "remedy": "Leave it unset for https://huggingface.co.",
            "code": 2,
            "again": False,
        },
    )


def test_a_defect_is_told_in_one_line_without_the_token(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise LookupError("hf_secret is odd")

    monkeypatch.setattr(seed, "seed", broken)
    code, result = run(monkeypatch, tmp_path, SEED_MODELS='[{"model": "a/b"}]', HF_TOKEN="hf_secret\n")
    line = broken.__code__.co_firstlineno + 1
    assert (code, result["error"]) == (
        70,
        f"The seed script met what it does not know: LookupError: *** is odd (line {line}).",
    )
    assert "hf_secret" not in capsys.readouterr().out


# ---- errors of the volume


@pytest.mark.parametrize(
    ("number", "code", "error"),
    [
        (errno.ENOSPC, 20, "The volume is full. {at} could not be written: No space left on device."),
        (errno.EDQUOT, 20, "The volume is full. {at} could not be written: Disk quota exceeded."),
        (errno.EROFS, 21, "The volume is read-only: {at} could not be written."),
        (
            errno.EACCES,
            22,
            "User 5 (group 6) may not use {at}: {parent} belongs to {owner}, mode 0750.",
        ),
        (errno.EIO, 23, "The volume fails at {at}: Input/output error."),
        (errno.ESTALE, 23, "The volume fails at {at}: Stale file handle."),
        (errno.ETIMEDOUT, 23, "The volume fails at {at}: Connection timed out."),
    ],
)
def test_errors_of_the_volume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int, error: str
) -> None:
    monkeypatch.setattr(seed.os, "getuid", lambda: 5)
    monkeypatch.setattr(seed.os, "getgid", lambda: 6)
    tmp_path.chmod(0o750)
    at = tmp_path / "blobs" / "x"
    with pytest.raises(seed.Fault) as fault, seed._volume(tmp_path / "elsewhere"):
        raise OSError(number, os.strerror(number), str(at))
    owner = f"{tmp_path.stat().st_uid}:{tmp_path.stat().st_gid}"
    assert (fault.value.code, fault.value.error) == (code, error.format(at=at, parent=tmp_path, owner=owner))


# ---- errors of the network


class ReadTimeout(Exception):
    """Named as both HTTP libraries name theirs."""


class SSLCertVerificationError(Exception):
    pass


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (socket.gaierror(-2, "Name or service not known"), "is unreachable: its name does not resolve"),
        (ConnectionRefusedError(111, "refused"), "is unreachable: connection refused"),
        (TimeoutError("timed out"), "is unreachable: no answer within 10 s"),
        (ReadTimeout(), "is unreachable: no answer within 10 s"),
        (OSError(errno.ENETUNREACH, "x"), "is unreachable: network is unreachable"),
        (OSError(errno.EHOSTUNREACH, "x"), "is unreachable: no route to host"),
        (SSLCertVerificationError("self-signed\nmore"), "is unreachable: TLS fails (self-signed)"),
        (OSError("Consistency check failed: …"), "sends fewer bytes than the file has"),
        (
            OSError("Tunnel connection failed: 407 Proxy Authentication Required"),  # huggingface_hub#2625
            "is not reached: the proxy answers 407 Proxy Authentication Required",
        ),
        (
            OSError("Tunnel connection failed: 403 Forbidden"),  # zylon-ai/private-gpt#1854
            "is not reached: the proxy answers 403 Forbidden",
        ),
        (ConnectionResetError(104, "reset"), "broke the connection off (ConnectionError)"),
    ],
)
def test_reasons_of_the_network(cause: Exception, reason: str) -> None:
    error = ConnectionError("wrapped")
    error.__cause__ = cause
    assert seed._network_reason(error) == reason


def test_a_proxy_that_gives_no_way() -> None:
    error = urllib.error.URLError(OSError("Tunnel connection failed: 407 Proxy Authentication Required"))
    with pytest.raises(seed.Fault) as refused, seed.Hub("https://hub.invalid", "")._explained("a/b", None):
        raise error
    assert (refused.value.code, refused.value.passing, refused.value.error) == (
        10,
        True,  # what somebody else has put on the volume is taken over
        "The hub at https://hub.invalid is not reached: the proxy answers 407 Proxy Authentication Required.",
    )


def test_a_proxy_that_wants_a_login() -> None:
    fault = seed.Hub("http://hub.invalid", "")._denied("a/b", None, seed.Denied(407, ""))
    assert (fault.code, fault.error) == (10, "The proxy before http://hub.invalid wants a login.")


# ---- the lock


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(seed, "time", clock)
    return clock


def holder(host: str, pid: int) -> str:
    return json.dumps({"host": host, "pid": pid, "run": "1"})


def test_a_lock_without_heartbeat_is_taken_over(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock"
    lock.write_text(holder("pod-that-is-gone", 1))
    with seed._lock(lock, "a/b"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()
    assert clock.now == seed.STALE_S + 1
    assert capsys.readouterr().out == (
        f"seed: a/b: another run is at work on it, waiting: {holder('pod-that-is-gone', 1)}\n"
        "seed: a/b: the other run is gone, taking over\n"
    )


def test_a_lock_with_heartbeat_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    lock.write_text(holder("another-pod", 1))

    class Beating(Clock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            if self.now < 300:
                os.utime(lock, ns=(0, int(self.now)))
            else:
                lock.unlink(missing_ok=True)

    beating = Beating()
    monkeypatch.setattr(seed, "time", beating)
    with seed._lock(lock, "a/b"):
        assert beating.now == 300


def test_a_lock_that_another_run_took_over_is_left_to_it(tmp_path: Path, clock: Clock) -> None:
    lock = tmp_path / "lock"
    with seed._lock(lock, "a/b"):
        lock.write_text(holder("another-pod", 1))
    assert lock.read_text() == holder("another-pod", 1)


@pytest.mark.parametrize(
    ("text", "dead"),
    [
        (holder(socket.gethostname(), os.getpid()), True),  # a restarted container has the same process id
        (holder(socket.gethostname(), os.getppid()), False),
        (holder(socket.gethostname(), 2**22 + 1), True),
        (holder("elsewhere", 2**22 + 1), False),
        ("", False),
        ("[]", False),
    ],
)
def test_is_dead(text: str, dead: bool) -> None:
    assert seed._is_dead(text) is dead


# ---- files


@pytest.mark.parametrize(
    ("digest", "intact"),
    [
        ("2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", True),  # sha256sum
        ("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0", True),  # git hash-object
        ("0" * 64, False),
        ("0" * 40, False),
    ],
)
def test_intact(tmp_path: Path, digest: str, intact: bool) -> None:
    (tmp_path / "file").write_text("hello")
    assert seed._intact(tmp_path / "file", seed.File("file", 5, digest)) is intact
    assert not seed._intact(tmp_path / "file", seed.File("file", 6, digest))
    assert not seed._intact(tmp_path / "none", seed.File("file", 5, digest))


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["model.bin", "config.json", "notes.txt"], ["model.bin", "config.json"]),
        (["./model.bin", "./vocabulary.txt"], ["./model.bin", "./vocabulary.txt"]),
        (["a/b/model.bin", "a/b/README.md", "a/README.md", "README.md"], ["a/b/model.bin", "a/b/README.md"]),
        (["config.json"], ["config.json"]),
        (["a/config.json", "a/b/config.json", "a/README.md"], ["a/config.json", "a/README.md"]),
        (["notes.txt"], []),
    ],
)
def test_files_beside_the_model(names: list[str], found: list[str]) -> None:
    assert seed._beside_model(Path("a.tar"), names) == found


def test_two_models_in_an_archive() -> None:
    with pytest.raises(seed.Fault) as refused:
        seed._beside_model(Path("a.tar"), ["one/model.bin", "one/config.json", "two/model.bin"])
    assert (refused.value.code, refused.value.error) == (32, "a.tar holds 2 models, not one: 'one/', 'two/'.")


@pytest.mark.parametrize(
    ("card", "lacking"),
    [
        ("---\nlibrary_name: ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n", None),
        ("---\r\ntags:\r\n- ctranslate2\r\n- automatic-speech-recognition\r\n---\r\n", None),
        ("---\nlibrary: ctranslate2\ntags: [automatic-speech-recognition]\n---", None),
        ("---\n# ctranslate2\npipeline_tag: automatic-speech-recognition\n---\n", "ctranslate2"),
        ("---\nlibrary_name: [ctranslate2\n---\n", "ctranslate2 and automatic-speech-recognition"),
        ("---\n- ctranslate2\n---\n", "ctranslate2 and automatic-speech-recognition"),
        ("---\na: &a [x]\nb: &b [*a, *a]\n---\n", "ctranslate2 and automatic-speech-recognition"),
        (f"---\n{'[' * 5000}\n---\n", "ctranslate2 and automatic-speech-recognition"),
        ("---\npipeline_tag: automatic-speech-recognition\n---\nctranslate2", "ctranslate2"),
        ("ctranslate2 automatic-speech-recognition", "ctranslate2 and automatic-speech-recognition"),
        ("", "ctranslate2 and automatic-speech-recognition"),
    ],
)
def test_cards(tmp_path: Path, card: str, lacking: str | None) -> None:
    readme = tmp_path / "README.md"
    readme.write_bytes(card.encode())
    if lacking is None:
        seed._check_card("a/b", readme)
        return
    with pytest.raises(seed.Fault) as fault:
        seed._check_card("a/b", readme)
    assert fault.value.error == f"a/b cannot be served: the card in README.md does not say {lacking}."


# ---- whether the server can load a model


def check(folder: Path, files: dict[str, Path]) -> None:
    blobs = folder / "repo" / "blobs"
    blobs.mkdir(parents=True)
    snapshot = []
    for name, path in files.items():
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        snapshot.append(seed.File(name, len(data), digest))
    seed._check_model("a/b", folder / "repo", snapshot)


def cut(data: bytes) -> bytes:
    return data[:-1]


@pytest.mark.parametrize("mels", [80, 128])
def test_a_model_that_can_be_loaded(tmp_path: Path, mels: int) -> None:
    check(tmp_path, small_model(tmp_path, mels=mels))


def test_a_model_of_before_needs_no_preprocessor(tmp_path: Path) -> None:
    files = small_model(tmp_path, mels=80)
    del files["preprocessor_config.json"]
    files["vocabulary.txt"] = files.pop("vocabulary.json")
    check(tmp_path, files)


def test_the_real_model(tmp_path: Path) -> None:
    assert seed._mel_bins(weights() / "model.bin") == 80


@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("model.bin", cut, "model.bin is cut off: it ends within what it says of itself"),
        ("model.bin", lambda data: data[:50_000], "model.bin is cut off: 50000 bytes are less than it says of itself"),
        ("model.bin", lambda data: data + b"x", "model.bin has 100001 bytes, and says of itself that it has 100000"),
        ("model.bin", lambda _: b"", "model.bin is empty"),
        # SYSTRAN/faster-whisper#302, collabora/WhisperLive#259: cloned without Git LFS, or saved by torch
        ("model.bin", lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
         "model.bin is a pointer of Git LFS in place of the file (git lfs pull brings it)"),
        ("model.bin", lambda _: b"PK\x03\x04rest",
         "model.bin is a zip archive, as PyTorch saves its models, not in CTranslate2's format"),
        ("model.bin", lambda _: b"lmggrest", "model.bin is in whisper.cpp's format, not in CTranslate2's"),
        ("model.bin", lambda _: b"\n<!doctype html>", "model.bin is a web page or XML"),  # cociweb/custom_whisper#12
        ("model.bin", lambda _: b"safetensors", "model.bin is not in CTranslate2's format"),
        ("model.bin", lambda data: data.replace(b"WhisperSpec", b"MarianSpec\0"),
         "model.bin is no Whisper model, but 'MarianSpec'"),
        ("model.bin", lambda data: data.replace(struct.pack("<III", 1, 80, 3), struct.pack("<III", 2, 80, 3)),
         "model.bin is damaged: 'encoder/conv1/weight' is not as long as its shape"),
        ("config.json", lambda _: b"", "config.json is empty"),
        ("config.json", lambda _: b"[]", "config.json is no JSON object"),
        ("tokenizer.json", lambda _: b"version https://git-lfs.github.com/spec/v1\n",
         "tokenizer.json is a pointer of Git LFS in place of the file (git lfs pull brings it)"),
        ("tokenizer.json", lambda data: b"\xef\xbb\xbf" + data,
         "tokenizer.json begins with a byte order mark, which its reader does not take"),
        ("config.json", lambda _: b"[" * 100_000, "config.json is no JSON object"),
        ("tokenizer.json", lambda _: b"<html>", "tokenizer.json is a web page or XML"),
        ("tokenizer.json", lambda _: b"{}", "tokenizer.json has no model in it"),
        ("vocabulary.json", lambda _: b"{}", "its vocabulary is no list of words"),
        ("vocabulary.json", lambda _: b"[]", "its vocabulary is no list of words"),
        ("vocabulary.json", lambda _: b"[1]", "its vocabulary is no list of words"),
        ("preprocessor_config.json", lambda _: b"x", "preprocessor_config.json is no JSON object"),
        ("preprocessor_config.json", lambda _: b"{}",
         "its model.bin takes 128 mel bins, and preprocessor_config.json has another"),
        ("README.md", lambda _: b"# Whisper",
         "the card in README.md does not say ctranslate2 and automatic-speech-recognition"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_loaded(tmp_path: Path, name: str, change: Callable[[bytes], bytes], error: str) -> None:
    files = small_model(tmp_path, mels=80 if "conv1" in error else 128)
    files[name].write_bytes(change(files[name].read_bytes()))
    with pytest.raises(seed.Fault) as refused:
        check(tmp_path, files)
    assert (refused.value.code, refused.value.error) == (31, f"a/b cannot be served: {error}.")


def cache_of_the_hub(folder: Path, *revisions: str) -> Path:
    """A model as the hub's library lays it out: links in snapshots/ to blobs."""
    repo = folder / "models--a--b"
    for revision in revisions:
        snapshot = repo / "snapshots" / revision
        snapshot.mkdir(parents=True)
        (repo / "blobs").mkdir(exist_ok=True)
        for name, path in small_model(folder).items():
            path.rename(repo / "blobs" / f"digest-of-{name}")
            (snapshot / name).symlink_to(f"../../blobs/digest-of-{name}")
    return repo


def test_a_copied_cache_of_the_hub(tmp_path: Path) -> None:
    with seed._parts(cache_of_the_hub(tmp_path, "a" * 40)) as parts:
        assert len(parts) == 6


def test_a_copied_cache_without_its_blobs(tmp_path: Path) -> None:
    repo = cache_of_the_hub(tmp_path, "a" * 40)
    shutil.rmtree(repo / "blobs")
    with pytest.raises(seed.Fault) as refused, seed._parts(repo):
        pass
    assert refused.value.code == 32
    assert refused.value.error.endswith("which is not there.")
    assert "(cp -rL)" in refused.value.remedy


def test_a_copied_cache_of_several_revisions(tmp_path: Path) -> None:
    repo = cache_of_the_hub(tmp_path, "a" * 40, "b" * 40)
    with pytest.raises(seed.Fault) as refused, seed._parts(repo):
        pass
    assert (refused.value.code, refused.value.error.partition(":")[0]) == (32, f"{repo} holds 2 models, not one")


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_without_weights_lacks_nothing_else(tmp_path: Path, packed: bool) -> None:
    """KoljaB/RealtimeSTT#229: model.safetensors."""
    folder = tmp_path / "turbo"
    folder.mkdir()
    files = small_model(folder)
    files["model.bin"].rename(folder / "model.safetensors")
    source = folder
    if packed:
        source = tmp_path / "turbo.tar"
        with tarfile.open(source, "w") as tar:
            tar.add(folder, "turbo")
    with seed._parts(source) as parts, pytest.raises(seed.Fault, match=r"has no model\.bin\.$"):
        seed._check_names("a/b", [part.name for part in parts], str(source))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    files = small_model(tmp_path)
    files["vocabulary.json"].unlink()
    os.mkfifo(files["vocabulary.json"])
    with seed._parts(tmp_path) as parts:
        assert sorted(part.name for part in parts) == sorted(name for name in files if name != "vocabulary.json")


def test_turbo_without_its_preprocessor(tmp_path: Path) -> None:
    files = small_model(tmp_path, mels=128)
    del files["preprocessor_config.json"]
    with pytest.raises(seed.Fault) as refused:
        check(tmp_path, files)
    assert (refused.value.error, refused.value.cause, refused.value.remedy) == (
        "a/b cannot be served: its model.bin takes 128 mel bins, and there is no preprocessor_config.json.",
        "The server would make 80 of them and answer every request with an error.",
        "Choose a revision with a preprocessor_config.json whose feature_size is 128, or add that of the model it was "
        "converted from to a local copy.",
    )


def test_neither_form_of_a_vocabulary(tmp_path: Path) -> None:
    files = small_model(tmp_path)
    files["vocabulary.model"] = files.pop("vocabulary.json")
    with pytest.raises(seed.Fault) as refused:
        check(tmp_path, files)
    assert refused.value.error == "a/b cannot be served: it has neither vocabulary.json nor vocabulary.txt."


# ---- the result


@pytest.mark.parametrize(
    ("code", "passing", "again"),
    [
        (2, False, False),
        (10, True, True),
        (11, False, False),
        (12, False, False),
        (13, False, False),
        (14, False, False),  # no hub at all
        (14, True, True),  # a hub that is busy
        (20, False, False),
        (21, False, False),
        (22, False, False),
        (23, False, True),
        (30, False, True),
        (31, False, False),
        (32, False, False),
        (70, False, True),
        (143, False, True),
    ],
)
def test_whether_another_try_can_help(code: int, passing: bool, again: bool) -> None:
    fault = seed.Fault(code, "e", "c", "r", passing=passing)
    assert json.loads(seed._result([], fault, "")) == {
        "models": [],
        "error": "e",
        "cause": "c",
        "remedy": "r",
        "code": code,
        "again": again,
    }


def test_a_result_is_never_longer_than_the_kubelet_keeps() -> None:
    """Of the texts, which may hold anything, only as much as there is room for; JSON all the same."""
    models = seed.wanted_models(json.dumps([{"model": f"{'o' * 96}/{n:096}"} for n in range(9)]))
    results = [seed.Result(one.model, "c" * 40, "downloaded", 10**12) for one in models]
    fault = seed.Fault(14, "\x1b[31m\U0001f600" * 1000, "ж" * 5000, "r" * 5000)
    text = seed._result(results, fault, "")
    assert len(text) <= 4096
    told = json.loads(text)
    assert [one["model"] for one in told["models"]] == [one.model for one in models]
    assert told["error"].startswith("?[31m\U0001f600?[31m")


# ---- progress


def test_progress(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    progress = seed.Progress("a/b", files=6, bytes=1_628_000_000)
    for _ in range(5):
        progress.finish(seed.File("x", 1_000_000, ""))
    progress.part, progress.received = 807_300_000, 86_200_000
    clock.now = 2
    progress.print()
    for clock.now in range(4, 26, 2):
        progress.print()  # a stalled download is told now and then
    progress.verifying = "verifying model.bin: 3 of 1623 MB"
    progress.print()
    assert capsys.readouterr().out.splitlines() == [
        "seed: a/b: 5/6 files, 812.3 of 1628.0 MB (49 %) on the volume, 43.1 MB/s",
        "seed: a/b: 5/6 files, 812.3 of 1628.0 MB (49 %) on the volume, 0.0 MB/s",
        "seed: a/b: 5/6 files, 812.3 of 1628.0 MB (49 %) on the volume, 0.0 MB/s",
        "seed: a/b: 5/6 files, 812.3 of 1628.0 MB (49 %) on the volume, verifying model.bin: 3 of 1623 MB",
    ]


# ---- what lies on the volume


@pytest.mark.parametrize(
    ("record", "known"),
    [
        (b"\xff", False),
        (b"[]", False),
        (b'{"resolved": {"main": []}, "snapshots": {}}', False),
        (b'{"resolved": {"main": {}}, "snapshots": {}}', False),
        (b'{"resolved": {"main": "SHA"}, "snapshots": {"SHA": "README.md"}}', False),
        (b'{"resolved": {"main": "SHA"}, "snapshots": {"SHA": [FILE config.json]}}', False),
        (b'{"resolved": {"main": "SHA"}, "snapshots": {"SHA": [FILES]}}', True),
        (b'{"resolved": {"main": "SHA", "x": []}, "snapshots": {"SHA": [FILES], "x": 1}}', True),
    ],
)
def test_a_record_that_is_damaged_is_none(tmp_path: Path, record: bytes, known: bool) -> None:
    names = ("README.md", "config.json", "model.bin", "tokenizer.json", "vocabulary.json")
    files = {name: json.dumps({"name": name, "size": 1, "digest": "a" * 40}) for name in names}
    text = record.replace(b"SHA", b"b" * 40).replace(b"FILES", ", ".join(files.values()).encode())
    text = text.replace(b"FILE config.json", files["config.json"].encode())
    (tmp_path / "portal-stt.json").write_bytes(text)
    assert (seed._known(tmp_path, seed.Wanted("a/b")) is not None) is known


def test_a_ref_that_is_damaged_serves_nothing(tmp_path: Path) -> None:
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs/main").write_bytes(b"\xff")
    assert not seed._served(tmp_path, seed.Snapshot("b" * 40, ()), "a/b")


@pytest.mark.parametrize("pid", ["x", None, 10**30, [], {}])
def test_a_lock_that_is_damaged_is_not_dead(pid: Any) -> None:
    assert not seed._is_dead(json.dumps({"host": socket.gethostname(), "pid": pid}))


def test_a_lock_that_is_no_text_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seed, "STALE_S", 0)
    (tmp_path / "lock").write_bytes(b"\xff")
    with seed._lock(tmp_path / "lock", "a/b"):
        assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["x/model.bin", "x/config.json"], ["x/model.bin", "x/config.json"]),
        (["model.bin", "vocabulary.json", "vocabulary.json~", "vocabulary.a b"], ["model.bin", "vocabulary.json"]),
        (["model.bin", "config.json", "model.bin"], ["model.bin", "config.json"]),
        (["model.bin", "vocabulary.\n"], ["model.bin"]),
    ],
)
def test_what_of_an_archive_is_the_model(names: list[str], parts: list[str]) -> None:
    """Each has a name that the record takes, or every run would import the copy anew."""
    assert seed._beside_model(Path("copy.tar"), names) == parts
