"""References, tags, image configurations and logins, without a registry."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._image.oci import (
    Image,
    Login,
    ReferenceInvalidError,
    credentials,
    findings,
    parse_reference,
    parse_tag,
    proposals,
    read_image,
    variants_of,
)
from ansible_collections.portal.stt.plugins.module_utils._image.registry import (
    RegistryError,
    docker_config,
    secret_config,
)
from hypothesis import given, settings
from hypothesis import strategies as st

DIGEST = "sha256:" + "a" * 64
SPEACHES = [
    *("0.8.2-cuda", "0.8.3-cpu", "0.8.3-cuda", "0.8.3-cuda-12.4.1", "0.8.3-cuda-12.6.3", "0.9.0-rc.2-cuda"),
    *("0.9.0-rc.3-cpu", "0.9.0-rc.3-cuda", "0.9.0-rc.3-cuda-12.4.1", "0.9.0-rc.3-cuda-12.6.3"),
    *("latest-cpu", "latest-cuda", "latest-cuda-12.4.1", "master-cuda", "sha-24f209c"),
]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("debian", ("docker.io", "library/debian", "latest", "")),
        ("debian:12", ("docker.io", "library/debian", "12", "")),
        ("index.docker.io/ubuntu:22.04", ("docker.io", "library/ubuntu", "22.04", "")),
        ("nvidia/cuda:12.6.3-base", ("docker.io", "nvidia/cuda", "12.6.3-base", "")),
        ("ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda", ("ghcr.io", "speaches-ai/speaches", "0.9.0-rc.3-cuda", "")),
        ("localhost/a", ("localhost", "a", "latest", "")),
        ("localhost:5000/a:b", ("localhost:5000", "a", "b", "")),
        ("10.77.0.1:5000/a/b", ("10.77.0.1:5000", "a/b", "latest", "")),
        (f"ghcr.io/a/b@{DIGEST}", ("ghcr.io", "a/b", "", DIGEST)),
        (f"ghcr.io/a/b:c@{DIGEST}", ("ghcr.io", "a/b", "c", DIGEST)),
    ],
)
def test_reference(text: str, parts: tuple[str, str, str, str]) -> None:
    found = parse_reference(text)
    assert (found.registry, found.repository, found.tag, found.digest) == parts


@pytest.mark.parametrize(
    "text", ["", "A", "a/B", "a:", "a@sha256:1", "a b", "https://ghcr.io/a", "ghcr.io/", "a:b:c", "é"]
)
def test_no_reference(text: str) -> None:
    with pytest.raises(ReferenceInvalidError, match="this is no image reference"):
        parse_reference(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_is_not(text: str) -> None:
    try:
        found = parse_reference(text)
    except ReferenceInvalidError:
        return
    assert parse_reference(str(found)) == found


@pytest.mark.parametrize(
    ("text", "version", "variant", "family", "moving"),
    [
        ("0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3", "cuda-12.6.3", "cuda", False),
        ("0.9.0-rc.3-cuda", "0.9.0-rc.3", "cuda", "cuda", False),
        ("v1.2.3", "1.2.3", "", "", False),
        ("1.2-alpine3.20", "1.2", "alpine3.20", "alpine", True),
        ("1", "1", "", "", True),
        ("latest", "latest", "", "", True),
        ("latest-cuda", "latest", "cuda", "cuda", True),
        ("sha-24f209c", "sha-24f209c", "", "", False),
        ("sha-24f209c-cuda-12.6.3", "sha-24f209c", "cuda-12.6.3", "cuda", False),
        ("24.10-py3", "24.10", "py3", "py", True),
        ("1.0.0-rc-cuda", "1.0.0-rc", "cuda", "cuda", False),
        ("1.0.0rc2", "1.0.0rc2", "", "", False),
        ("1.0.0-beta", "1.0.0-beta", "", "", False),
        ("1.0.0-a100", "1.0.0", "a100", "a", False),
    ],
)
def test_tag(text: str, version: str, variant: str, family: str, moving: bool) -> None:
    found = parse_tag(text)
    assert (found.version, found.variant, found.family, found.moving) == (version, variant, family, moving)


@pytest.mark.parametrize(
    ("wanted", "likely"),
    [
        ("0.9.0-rc.4-cuda", ["0.9.0-rc.3-cuda", "0.9.0-rc.2-cuda", "0.8.3-cuda"]),
        ("0.9.0-rc.3-cuda-12.6.4", ["0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3-cuda-12.4.1", "0.9.0-rc.3-cuda"]),
        ("0.9.0-rc.3-gpu", ["0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3-cuda-12.4.1", "0.9.0-rc.3-cuda"]),
        ("nonsense", ["0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3-cuda-12.4.1", "0.9.0-rc.3-cuda"]),
    ],
)
def test_proposals(wanted: str, likely: list[str]) -> None:
    assert proposals(wanted, SPEACHES) == likely


@pytest.mark.parametrize(
    ("wanted", "tags", "likely"),
    [
        pytest.param(
            "1.0.0-cuda",
            ["1.0.0-alpha.9-cuda", "1.0.0-beta.3-cuda", "1.0.0-rc.1-cuda"],
            ["1.0.0-rc.1-cuda", "1.0.0-beta.3-cuda", "1.0.0-alpha.9-cuda"],
            id="alpha-beta-rc",
        ),
        pytest.param(
            "1.0.1-cuda",
            ["1.0.0-rc-cuda", "1.0.0-rc.2-cuda", "1.0.0-rc.10-cuda", "1.0.0-cuda"],
            ["1.0.0-cuda", "1.0.0-rc.10-cuda", "1.0.0-rc.2-cuda"],
            id="numbers-of-candidates",
        ),
        pytest.param(
            "1.0.0-cuda-12.5",
            ["1.0.0-cuda", "0.9.0-cuda", "0.8.0-cuda", "0.7.0-cuda"],
            ["1.0.0-cuda", "0.9.0-cuda", "0.8.0-cuda"],
            id="no-tag-takes-two-places",
        ),
    ],
)
def test_proposals_by_precedence(wanted: str, tags: list[str], likely: list[str]) -> None:
    assert proposals(wanted, tags) == likely


@pytest.mark.parametrize(
    ("wanted", "variants"),
    [
        ("0.9.0-rc.3-cuda", ["0.9.0-rc.3-cuda", "0.9.0-rc.3-cuda-12.6.3", "0.9.0-rc.3-cuda-12.4.1"]),
        ("0.8.3-cuda-12.4.1", ["0.8.3-cuda-12.4.1", "0.8.3-cuda", "0.8.3-cuda-12.6.3"]),
        ("latest-cuda", ["latest-cuda", "latest-cuda-12.4.1"]),
        ("0.9.0-rc.3-cpu", ["0.9.0-rc.3-cpu"]),
        ("sha-24f209c", ["sha-24f209c"]),
        ("7.7.7", []),
    ],
)
def test_variants(wanted: str, variants: list[str]) -> None:
    assert variants_of(wanted, SPEACHES) == variants


@pytest.mark.parametrize(
    ("env", "history", "compat"),
    [
        pytest.param(["NV_CUDA_COMPAT_PACKAGE=cuda-compat-12-4"], [], "12.4", id="environment-up-to-12.4"),
        pytest.param([], ["RUN apt-get install cuda-cudart-12-9=1 cuda-compat-12-9 # buildkit"], "12.9", id="history"),
        pytest.param([], ["RUN apt-get install cuda-cudart-12-9=1 # buildkit"], "", id="history-without"),
        pytest.param([], ["COPY / /"], None, id="squashed"),
        pytest.param([], [], None, id="nothing"),
    ],
)
def test_forward_compatibility_package(env: list[str], history: list[str], compat: str | None) -> None:
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": env},
        "history": [{"created_by": step} for step in history],
    }
    image = read_image(parse_reference("a"), DIGEST, DIGEST, {}, config, [])
    assert (image.cuda_compat, image.platforms) == (compat, ("linux/amd64",))


def bare_image(text: str) -> Image:
    return read_image(parse_reference(text), DIGEST, DIGEST, {"layers": None}, {"config": None}, [])


def test_a_configuration_with_nothing_in_it() -> None:
    image = bare_image("ghcr.io/a/b:1")
    assert (image.env, image.user, image.labels, image.size) == ({}, "", {}, 0)
    assert image.pinned == f"ghcr.io/a/b:1@{DIGEST}"


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("latest-cuda", ["latest-cuda names no release: the next one will overwrite it, and it is no pin."]),
        (
            "24.10-py3",
            ["24.10-py3 may stand for a series of releases: a later one would overwrite it, and then it is no pin."],
        ),
        ("1.0.0-cuda", []),
        ("sha-24f209c", []),
    ],
)
def test_moving_tags(tag: str, said: list[str]) -> None:
    found = findings(bare_image(f"ghcr.io/a/b:{tag}"), parse_reference(f"ghcr.io/a/b:{tag}"))
    assert [one.message for one in found[1:]] == said


def basic(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


LOGIN, ALICE = basic("alice:sec:ret"), Login("alice", "sec:ret")
BOB = {"username": "bob", "password": "p"}


@pytest.mark.parametrize(
    ("auths", "reference", "login"),
    [
        ({"ghcr.io": LOGIN}, "ghcr.io/a/b", ALICE),
        ({"https://ghcr.io/": LOGIN}, "ghcr.io/a/b", ALICE),
        ({"https://ghcr.io/v2/": LOGIN}, "ghcr.io/a/b", ALICE),
        ({"https://ghcr.io/v1/a": LOGIN, "ghcr.io": BOB}, "ghcr.io/a/b", ALICE),
        ({"https://index.docker.io/v1/": LOGIN}, "debian", ALICE),
        ({"https://index.docker.io/v1/": LOGIN}, "index.docker.io/debian", ALICE),
        ({"ghcr.io": BOB}, "ghcr.io/a/b", Login("bob", "p")),
        ({"ghcr.io": BOB, "ghcr.io/a": LOGIN}, "ghcr.io/a/b", ALICE),
        ({"ghcr.io/other": LOGIN}, "ghcr.io/a/b", None),
        ({"ghcr.io": {}}, "ghcr.io/a/b", None),
        ({"ghcr.io": None}, "ghcr.io/a/b", None),
        ({"ghcr.io": {"auth": "%"}}, "ghcr.io/a/b", None),
        ({"ghcr.io": {"auth": 1}}, "ghcr.io/a/b", None),
        ({"localhost:5000": LOGIN}, "localhost:5000/a", ALICE),
        ({"*.azurecr.io": LOGIN}, "team.azurecr.io/a", ALICE),
        ({"*.azurecr.io/a": LOGIN, "team.azurecr.io": BOB}, "team.azurecr.io/a/b", ALICE),
        ({"*.azurecr.io": LOGIN, "team.azurecr.io": BOB}, "team.azurecr.io/a", Login("bob", "p")),
        ({"*.azurecr.io": LOGIN}, "a.team.azurecr.io/a", None),
        ({"*.azurecr.io": LOGIN}, "team.azurecr.io:5000/a", None),
        ({"registry.*:5000": LOGIN}, "registry.lan:5000/a", ALICE),
        ({"a.azurecr.io": basic("00000000-0000:") | {"identitytoken": "t"}}, "a.azurecr.io/a", Login("", "", "t")),
        ({"ghcr.io": basic("<token>:t")}, "ghcr.io/a/b", Login("", "", "t")),
        ({}, "ghcr.io/a/b", None),
    ],
)
def test_credentials(auths: dict[str, Any], reference: str, login: Login | None) -> None:
    assert credentials({"auths": auths}, parse_reference(reference)) == login


def test_a_login_shows_no_password() -> None:
    assert repr(Login("alice", "secret", "secret")) == "Login(user='alice')"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "it cannot be read: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)."),
        ("[]", "it cannot be read: it is no JSON object."),
        ('{"auths": null}', "it cannot be read: auths is no JSON object."),
        ('{"credHelpers": []}', "it cannot be read: credHelpers is no JSON object."),
        (None, "it cannot be read: No such file or directory."),
    ],
)
def test_a_named_docker_configuration_that_is_none(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "login.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RegistryError) as error:
        docker_config(str(file))
    remedy = "Repair it (docker login writes it), or name another file."
    assert str(error.value) == f"docker configuration {file}: {said} {remedy}"


def test_one_docker_configuration_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert docker_config("") == {}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {"ghcr.io": BOB}}))
    (tmp_path / "other.json").write_text(json.dumps({"auths": {"quay.io": LOGIN}}))
    assert docker_config("") == {"auths": {"ghcr.io": BOB}}
    assert docker_config(str(tmp_path / "other.json")) == {"auths": {"quay.io": LOGIN}}


class ClusterStandIn:
    """Has one Secret, of any name."""

    def __init__(self, **data: str) -> None:
        self.data = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}

    def find(self, _path: str) -> dict[str, Any]:
        return {"type": "kubernetes.io/any", "data": self.data}


@pytest.mark.parametrize(
    "data",
    [
        {".dockerconfigjson": json.dumps({"auths": {"ghcr.io": BOB}})},
        {".dockercfg": json.dumps({"ghcr.io": BOB})},
    ],
)
def test_both_kinds_of_pull_secret(data: dict[str, str]) -> None:
    assert secret_config(ClusterStandIn(**data), "a", "b") == {"auths": {"ghcr.io": BOB}}  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [{}, {".dockercfg": "["}, {".dockerconfigjson": '{"auths": null}'}])
def test_a_secret_without_a_login(data: dict[str, str]) -> None:
    with pytest.raises(RegistryError, match=r"Secret a/b: it holds no docker configuration \(type kubernetes.io/any\)"):
        secret_config(ClusterStandIn(**data), "a", "b")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("step", "wheels"),
    [
        ("RUN pip install nvidia-cublas-cu12 nvidia-cudnn-cu12==9.*", ("nvidia-cublas-cu12", "nvidia-cudnn-cu12==9.")),
        (
            "RUN pip install torch==2.5.1+cu121 torchaudio==2.5.1 --index-url https://download.pytorch.org/whl/cu121",
            ("torch==2.5.1+cu121", "download.pytorch.org/whl/cu121"),
        ),
        (
            "RUN |1 CUDA=cu128 /bin/sh -c pip install torch -i https://download.pytorch.org/whl/${CUDA} # buildkit",
            ("download.pytorch.org/whl/${CUDA}",),
        ),
        ("RUN conda install pytorch pytorch-cuda=12.1 -c pytorch", ("pytorch-cuda=12.1",)),
        ("RUN pip install pytorch-lightning==2.0", ()),
    ],
)
def test_packages_that_bring_cuda(step: str, wheels: tuple[str, ...]) -> None:
    """The second is m-bain/whisperX#1087."""
    config = {"os": "linux", "architecture": "amd64", "history": [{"created_by": step}]}
    assert read_image(parse_reference("a"), DIGEST, DIGEST, {}, config, []).cuda_wheels == wheels
