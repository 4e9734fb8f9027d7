"""Which models at which revisions, and what is refused of what is read back: tables, no cluster."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._speaches.models import (
    Copy,
    Found,
    ReadBackError,
    Serving,
    copies,
    digest,
    digests,
    pinned,
    seed_again,
    served,
)
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import Hub, Model, Settings

MODEL, OTHER = "deepdml/faster-whisper-large-v3-turbo-ct2", "Systran/faster-whisper-tiny"
OLD, NEW = "1" * 40, "2" * 40
TWO = Settings(models=(Model(OTHER), Model(MODEL, NEW)))
INJECTED = f"{OLD}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding"


def deployment(annotation: Any, ready: Any = None) -> dict[str, Any]:
    template = {"metadata": {"annotations": {"portal-stt/models": annotation}}}
    return {"spec": {"template": template}, "status": {} if ready is None else {"readyReplicas": ready}}


def result(*models: tuple[Any, Any]) -> str:
    entries = [{"model": model, "revision": revision, "status": "present"} for model, revision in models]
    return json.dumps({"models": entries})


# ---- what is read back


@pytest.mark.parametrize(
    ("deployed", "right"),
    [
        ([], Serving()),
        ([{}], Serving()),
        ([{"spec": {"template": {"metadata": {"annotations": None}}}, "status": None}], Serving()),
        ([deployment("", 0)], Serving()),
        ([deployment(f"{MODEL}@{NEW} {OTHER}@", 2)], Serving({MODEL: NEW}, 2)),
        ([deployment(f"gpt2@{'a' * 64}", 1)], Serving({"gpt2": "a" * 64}, 1)),
        ([deployment(f"{MODEL}@{NEW}", "3")], Serving({MODEL: NEW}, 0)),
    ],
)
def test_what_serves(deployed: list[Any], right: Serving) -> None:
    assert Found.of({"deployed": deployed}, TWO).serving == right


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            {"seeded": result((OTHER, INJECTED), (MODEL, NEW))},
            f"the seed Job of portal-stt/portal-stt: its result cannot be believed: {OTHER} has a revision that is no "
            f'commit: "{OLD}\\n---\\napiVersion: rbac.authorization.k',
        ),
        ({"seeded": result((OTHER, "../../../../escaped"), (MODEL, NEW))}, 'is no commit: "../../../../escaped".'),
        ({"seeded": result((OTHER, "abc\n    evil: injected"), (MODEL, NEW))}, "is no commit: "),
        ({"seeded": result((OTHER, OLD.upper().replace("1", "A")), (MODEL, NEW))}, "is no commit: "),
        ({"seeded": result((OTHER, OLD + "\n"), (MODEL, NEW))}, "is no commit: "),
        ({"seeded": result((OTHER, None), (MODEL, NEW))}, "is no commit: null."),
        ({"seeded": result((OTHER, 1), (MODEL, NEW))}, "is no commit: 1."),
        ({"seeded": result((MODEL, NEW))}, f"cannot be believed: {OTHER} is not in it."),
        ({"seeded": result((OTHER, OLD), (MODEL, OLD))}, f"{MODEL} is at {OLD}, and {NEW} is wanted."),
        ({"seeded": result((OTHER, OLD), (MODEL, ""))}, f"{MODEL} is at no revision, and {NEW} is wanted."),
        ({"seeded": result((OTHER, OLD), (MODEL, NEW), ("e/vil", OLD))}, 'a model that was not wanted: "e/vil".'),
        ({"seeded": result((OTHER, OLD), (MODEL, NEW), ([], OLD))}, "a model that was not wanted: []."),
        ({"seeded": "hello"}, 'it is not what the Job\'s script writes: "hello".'),
        ({"seeded": "[]"}, "it is not what the Job's script writes: "),
        ({"seeded": '{"models": 1}'}, "it is not what the Job's script writes: "),
        ({"seeded": '{"models": ["x"]}'}, "it is not what the Job's script writes: "),
        ({"seeded": "[" * 100_000}, "it is not what the Job's script writes: "),
        (
            {"deployed": [deployment(f"{MODEL}@{INJECTED}")]},
            'Deployment portal-stt/portal-stt: the annotation portal-stt/models of its pods has "---", which is no',
        ),
        ({"deployed": [deployment(f"{MODEL}@main")]}, f'has "{MODEL}@main", which is no MODEL@COMMIT.'),
        ({"deployed": [deployment(MODEL)]}, f'has "{MODEL}", which is no MODEL@COMMIT.'),
        ({"deployed": [deployment(f"../..@{OLD}")]}, "which is no MODEL@COMMIT."),
        ({"deployed": [deployment({"a": 1})]}, "which is no MODEL@COMMIT."),
        ({"image": "ghcr.io/a/b:c"}, 'the image: its registry gives a reference that is none: "ghcr.io/a/b:c".'),
        ({"image": f"ghcr.io/a/b@sha256:{'0' * 64}\nx: y"}, "a reference that is none: "),
        ({"image": f"ghcr.io/a b@sha256:{'0' * 64}"}, "a reference that is none: "),
    ],
)
def test_what_is_read_back_and_refused(raw: dict[str, Any], said: str) -> None:
    """On one line, whatever it was, with what to do."""
    with pytest.raises(ReadBackError) as refused:
        Found.of(raw, TWO)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert re.search(r"(Look (who|at)) ", refused.value.remedy)


def test_what_is_read_back_and_is_right() -> None:
    image = f"10.77.0.1:5000/speaches-ai/speaches:0.9.0-rc.3-cuda@sha256:{'0f' * 32}"
    raw = {"image": image, "deployed": [], "seeded": result((MODEL, NEW), (OTHER, OLD)), "planning": True}
    assert Found.of(raw, TWO) == Found(image, Serving(), (Model(OTHER, OLD), Model(MODEL, NEW)), planning=True)


# ---- what is decided

MODELS = (Model(OTHER), Model(MODEL), Model("a/new"), Model("b/c", OLD))
SERVING = Serving({MODEL: NEW, "b/c": NEW}, 1)
TOLD = tuple(replace(one, revision=NEW) for one in MODELS)


@pytest.mark.parametrize(
    ("found", "right"),
    [
        pytest.param(Found(planning=True, serving=SERVING), ["", NEW, "", OLD], id="a plan keeps what serves"),
        pytest.param(Found(planning=True), ["", "", "", OLD], id="a plan where nothing serves"),
        pytest.param(Found(serving=SERVING), ["", "", "", OLD], id="a run: if the Job does not tell, the volume's"),
        pytest.param(Found(serving=SERVING, seeded=TOLD), [NEW] * 4, id="the seed Job tells"),
        pytest.param(Found(serving=SERVING, seeded=TOLD, planning=True), [NEW] * 4, id="it told before the plan"),
    ],
)
def test_which_revisions_are_served(found: Found, right: list[str]) -> None:
    settings = Settings(models=MODELS)
    assert [(one.model, one.revision) for one in served(settings, found)] == [
        (one.model, revision) for one, revision in zip(MODELS, right, strict=True)
    ]
    assert [one.revision for one in pinned(settings, found)] == [revision for revision in right if revision]
    assert pinned(replace(settings, model_source="hub"), found) == ()


@pytest.mark.parametrize(("ready", "right"), [(0, True), (1, False), (2, False)])
def test_models_are_seeded_again_where_nothing_serves(ready: int, right: bool) -> None:
    assert seed_again(Found(serving=Serving(ready=ready))) is right


# ---- secrets, told from one another


def test_a_digest_is_salted_and_short() -> None:
    right = hashlib.sha256(b"many/portal-stt/sesame").hexdigest()[:8]
    assert digest(Settings(namespace="many"), "sesame") == right != digest(Settings(), "sesame")


def test_one_digest_for_several_secrets() -> None:
    settings = Settings(hub=Hub(environment={"HTTPS_PROXY": "http://u:p@proxy", "NO_PROXY": "x"}))
    both = digests(settings, ["hub.NO_PROXY", "hub.HTTPS_PROXY"])
    assert both == digests(settings, ["hub.HTTPS_PROXY", "hub.NO_PROXY"])
    assert len({both, digests(settings, ["hub.NO_PROXY"]), digests(replace(settings, name="x"), ["hub.NO_PROXY"])}) == 3
    assert digests(settings, ["hub.NONE"]) == ""


# ---- local copies


def local(path: Path) -> Settings:
    return Settings(model_source="local", models=(Model(MODEL, local=str(path)),))


def test_local_copies_are_known_by_their_content(tmp_path: Path) -> None:
    turbo = tmp_path / "turbo"
    turbo.mkdir()
    assert copies(local(turbo)) == (Copy(MODEL, str(turbo), directory=True),)  # no model in it: not looked at
    (turbo / "model.bin").write_bytes(b"weights")
    (turbo / "sub").mkdir()
    (first,) = copies(local(turbo))
    listing = f"{hashlib.sha256(b'weights').hexdigest()}  model.bin\n"
    assert first == Copy(MODEL, str(turbo), True, hashlib.sha256(listing.encode()).hexdigest())
    (turbo / "config.json").write_text("{}")
    (second,) = copies(local(turbo))
    (turbo / "config.json").rename(turbo / "tokenizer.json")
    (third,) = copies(local(turbo))
    assert len({first.digest, second.digest, third.digest}) == 3
    archive = tmp_path / "turbo.tar"
    archive.write_bytes(b"weights")
    (packed,) = copies(local(archive))
    assert (packed.directory, len(packed.digest)) == (False, 64)
    assert copies(local(tmp_path / "nowhere")) == (Copy(MODEL, str(tmp_path / "nowhere"), directory=False),)


def test_nothing_is_read_where_no_local_copy_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read(*_: object) -> None:
        raise AssertionError("a file system was asked")

    for name in ("is_dir", "is_file", "iterdir", "open"):
        monkeypatch.setattr(Path, name, read)
    assert copies(Settings(models=(Model(MODEL, local="/"),))) == ()
    assert copies(Settings(models=(Model(MODEL),), model_source="local")) == ()


def test_where_a_local_copy_lies_on_the_export() -> None:
    assert Copy("org/name", "/x", directory=True).imported == "org--name"
    assert Copy("org/name", "/x.tar", directory=False).imported == "org--name.archive"


def test_a_copy_that_cannot_be_read(tmp_path: Path) -> None:
    long = str(tmp_path / ("x" * 300))
    with pytest.raises(ReadBackError) as refused:
        copies(local(Path(long)))
    assert refused.value.message == "cannot be read: File name too long."
