"""NVIDIA_REQUIRE_*: NVIDIA's own answers, what the toolkit's tests say, and that nothing else ever comes out."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.portal.stt.plugins.module_utils._cuda.requirement import (
    Device,
    Host,
    Outcome,
    RequirementError,
    compare_versions,
    evaluate,
    gate,
    major_minor,
    requirements,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import SAMPLE, Vector, load
from tests.vectors.__main__ import main

T4 = Host("12.8", "570.195.03", Device("7.5", "Nvidia"))
HINT = ", please update your driver to a newer version, or use an earlier cuda container"


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector.name) for vector in load(SAMPLE)])
def test_vector(vector: Vector) -> None:
    assert vector.answer() == vector.result


CASE = {"image": "12.9.0", "driver": "570.195.03", "cuda": "12.8", "brand": "Nvidia", "result": "PASS"}


def run_vectors(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["vectors", str(path)])
    return main()


def test_vectors_without_their_own_requirements_are_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "more vectors.json"
    path.write_text(json.dumps({"image_matrix": [CASE]}))
    assert run_vectors(path, monkeypatch) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file or directory", id="missing"),
        pytest.param("{", "Expecting property name", id="no-json"),
        pytest.param("[]", "not a file of vectors: 'list' object has no attribute 'get'", id="another-file"),
        pytest.param("{}", "it has neither dsl_vectors nor image_matrix", id="empty"),
        pytest.param(
            json.dumps({"image_matrix": [{**CASE, "image": "99"}]}),
            "a vector lacks '99', or names an image that `require` has not",
            id="unknown-image",
        ),
        pytest.param(json.dumps({"dsl_vectors": [{"expr": ""}]}), "a vector lacks 'cuda'", id="half-a-vector"),
    ],
)
def test_a_file_without_vectors_ends_in_words(
    content: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "vectors.json"
    if content is not None:
        path.write_text(content)
    assert run_vectors(path, monkeypatch) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{path}: ")
    assert said in error


@pytest.mark.parametrize(
    ("expression", "term", "failed"),
    [
        ("", "", ()),
        ("cuda>=12", "cuda>=12", ()),
        ("CUDA>=12,brand=nvidia foo", "CUDA>=12,brand=nvidia", ()),
        (
            "cuda>=13,driver>=500 brand=tesla brand=nvidia,driver>=570,driver<571",
            "brand=nvidia,driver>=570,driver<571",
            (("cuda>=13,driver>=500", "cuda>=13"), ("brand=tesla", "brand=tesla")),
        ),
        (", cuda>=99", "", ()),
    ],
)
def test_the_term_that_decided(expression: str, term: str, failed: tuple[tuple[str, str], ...]) -> None:
    assert evaluate(expression, T4) == Outcome(True, term, failed)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("cuda>=99 brand=tesla", f"unsatisfied condition: cuda>=99{HINT}"),
        ("brand=tesla cuda>=99", "unsatisfied condition: brand=tesla"),
        (" cuda>=99", "unsatisfied condition: "),
        ("Cuda>=99", "unsatisfied condition: Cuda>=99"),
        ("cuda>=99 ,", f"unsatisfied condition: cuda>=99{HINT}"),
        ("cuda>=12.8.0.1", f"unsatisfied condition: cuda>=12.8.0.1{HINT}"),
        ("arch>=75", "unsatisfied condition: arch>=75"),
        ("brand!nvidia", "unsatisfied condition: brand!nvidia"),
    ],
)
def test_the_runtimes_own_words(expression: str, message: str) -> None:
    assert evaluate(expression, T4).message == message


@pytest.mark.parametrize(
    "expression",
    [
        "cuda",
        "cuda>=",
        "brand==",
        "brand>tesla",
        "foo>=1,cuda>=12",
        "cuda>=18446744073709551615",  # UINTMAX_MAX is strtoumax's overflow
        "cuda>=..12",
        "driver>=570.195.03-1",
        f"cuda>={'0' * 112}99.123456",  # false, and 128 bytes as the runtime would write it
    ],
)
def test_invalid(expression: str) -> None:
    with pytest.raises(RequirementError, match=r"^invalid expression$"):
        evaluate(expression, T4)


@pytest.mark.parametrize(
    "expression",
    [
        f"cuda>={'0' * 111}99.12345",  # one byte less: false, but not invalid
        f"cuda>={'0' * 200}1",  # longer, but true
    ],
)
def test_the_128_bytes(expression: str) -> None:
    evaluate(expression, T4)


@pytest.mark.parametrize("expression", ["brand=geforce", "arch>=99", "brand=geforce,arch=none"])
def test_without_a_visible_gpu_brand_and_arch_are_true(expression: str) -> None:
    assert evaluate(expression, Host("12.8", "570.195.03", None)).satisfied


@pytest.mark.parametrize(
    ("version", "expected"),
    # nvidia-container-toolkit, internal/config/image/cuda_image_test.go
    [
        ("0", "0.0"),
        ("8", "8.0"),
        ("7.5", "7.5"),
        ("9.0.116", "9.0"),
        ("v11.6", "11.6"),
        ("4294967295.4294967295.4294967295", "4294967295.4294967295"),
        ("12.4.1-rc.1+build", "12.4"),
    ],
)
def test_cuda_version(version: str, expected: str) -> None:
    assert major_minor(version) == expected


@pytest.mark.parametrize(
    "version",
    # from the same test; the last three are x/mod/semver's own rules
    [
        *("foo", "foo.5.10", "9.0.116.50", "9.0.116foo", "7.foo", "9.0.bar", "9.4294967296", "9.0.116.", "9..0"),
        *("9.", ".5.10", "-9", "+9", "-9.1.116", "-9.-1.-116"),
        *("012.4", "12.4-rc1", "vv12.4"),
    ],
)
def test_cuda_version_invalid(version: str) -> None:
    with pytest.raises(RequirementError, match=r"^failed to get version: invalid CUDA version "):
        major_minor(version)


@pytest.mark.parametrize(
    ("env", "expected"),
    # the first six from cuda_image_test.go
    [
        ({"NVIDIA_REQUIRE_JETPACK": "csv-mounts=all"}, ()),
        ({"NVIDIA_REQUIRE_JETPACK_HOST_MOUNTS": "base-only"}, ()),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=11.6"}, ("cuda>=11.6",)),
        (
            {"NVIDIA_REQUIRE_CUDA": "cuda>=11.6", "NVIDIA_REQUIRE_BRAND": "brand=tesla"},
            ("brand=tesla", "cuda>=11.6"),
        ),
        ({"CUDA_VERSION": "11.6"}, ("cuda>=11.6",)),
        ({"CUDA_VERSION": "11.6", "NVIDIA_REQUIRE_BRAND": "brand=tesla"}, ("brand=tesla", "cuda>=11.6")),
        ({"CUDA_VERSION": "11.6", "NVIDIA_REQUIRE_CUDA": ""}, ("", "cuda>=11.6")),
        ({"CUDA_VERSION": "", "NVIDIA_REQUIRE_CUDA": "cuda>=11.6"}, ("cuda>=11.6",)),
    ],
)
def test_requirements(env: dict[str, str], expected: tuple[str, ...]) -> None:
    assert tuple(requirements(env).values()) == expected


@pytest.mark.parametrize(
    ("value", "disabled"),
    [
        *((value, True) for value in ("1", "t", "T", "TRUE", "true", "True")),
        *((value, False) for value in ("", "0", "f", "F", "FALSE", "false", "False", "yes", "on", "tRUE", " true")),
    ],
)
def test_disable(value: str, disabled: bool) -> None:
    env = {"NVIDIA_DISABLE_REQUIRE": value, "NVIDIA_REQUIRE_CUDA": "cuda>=99"}
    assert requirements(env) == ({} if disabled else {"NVIDIA_REQUIRE_CUDA": "cuda>=99"})


def test_all_variables_must_be_satisfied() -> None:
    env = {"NVIDIA_REQUIRE_CUDA": "cuda>=12", "NVIDIA_REQUIRE_DRIVER": "driver>=575"}
    assert [outcome.satisfied for outcome in gate(env, T4)] == [True, False]


def test_the_limit_of_32() -> None:
    env = {f"NVIDIA_REQUIRE_{number}": "cuda>=12" for number in range(32)}
    assert len(gate(env, T4)) == 32
    for one_more in ({"NVIDIA_REQUIRE_32": ""}, {"CUDA_VERSION": "12.4"}):
        with pytest.raises(RequirementError, match=r"^too many requirements$"):
            gate({**env, **one_more}, T4)
    assert gate({**env, "NVIDIA_REQUIRE_32": "", "NVIDIA_DISABLE_REQUIRE": "1"}, T4) == ()
    assert len(gate({**env, "NVIDIA_REQUIRE_JETPACK": "", "nvidia_require_x": "", "NVIDIA_REQUIRE": ""}, T4)) == 32


@pytest.mark.parametrize(
    ("env", "line", "variable"),
    # libnvidia-container's configure.c, nvidia-container-runtime-hook's container_config.go
    [
        (
            {"NVIDIA_REQUIRE_X": "cuda", "CUDA_VERSION": "12.4"},
            "nvidia-container-cli: requirement error: invalid expression",
            "NVIDIA_REQUIRE_X",
        ),
        (
            {f"NVIDIA_REQUIRE_{n}": "" for n in range(33)},
            "nvidia-container-cli: input error: too many requirements",
            "",
        ),
        (
            {"CUDA_VERSION": "x"},
            "failed to get requirements failed to get version: invalid CUDA version x",
            "CUDA_VERSION",
        ),
    ],
)
def test_the_line_in_the_pods_event(env: dict[str, str], line: str, variable: str) -> None:
    with pytest.raises(RequirementError) as caught:
        gate(env, T4)
    assert (caught.value.line, caught.value.variable) == (line, variable)


def test_the_line_of_what_is_not_satisfied() -> None:
    assert gate({"NVIDIA_REQUIRE_X": "brand=tesla"}, T4)[-1].line == (
        "nvidia-container-cli: requirement error: unsatisfied condition: brand=tesla"
    )


@pytest.mark.parametrize(
    ("expression", "satisfied"),
    [
        ("brand=NVIDIA", True),
        ("brand=nvidia ", True),
        ("brand=nvidia,", True),
        ("brand!=NVIDIA", False),
        ("brand=nvidiartx", False),
        ("brand=nvid", False),
        ("brand=nvidia\t", False),
        ("arch=7.5.0", True),
        ("arch>=7.10", False),
        ("driver<570.195.04", True),
        ("driver=570.195.03.0.0", True),
        ("cuda>=12.8.00", True),
        ("cuda<=12.8.0.1", True),
        ("cuda!=12.8.0", False),
        ("   ", True),
        (",,,", True),
        ("cuda>=99 , brand=nvidia", False),  # the lone comma ends the scan
    ],
)
def test_values(expression: str, satisfied: bool) -> None:
    assert evaluate(expression, T4).satisfied is satisfied


@pytest.mark.parametrize("expression", ["cuda>=99", "driver<1", "cuda=rubbish"])
def test_a_version_that_the_driver_does_not_tell_is_true(expression: str) -> None:
    assert evaluate(expression, Host(None, None, None)).satisfied


@pytest.mark.parametrize(
    ("left", "right", "order"),
    [
        ("12.8", "12.8.0", 0),
        ("12.8", "12.10", -1),
        ("570.195.03", "570.195.3", 0),
        ("570.195.03", "570.195", 1),
        ("570..195", "570.195.", 0),
        ("7.5", "75", -1),
    ],
)
def test_compare_versions(left: str, right: str, order: int) -> None:
    assert compare_versions(left, right) == order
    assert compare_versions(right, left) == -order


ANY = st.text(st.characters(), max_size=60)
PARTS = (
    *("cuda", "driver", "arch", "brand", ">=", "=", "!", "<", "==", "12.9", "570.195.03", "0" * 130, "nvidia"),
    *(" ", ",", ".", "\t", "\0", "é", "\udcff"),
)
LIKELY = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)
HOSTS = st.builds(
    Host,
    st.none() | ANY | st.just("12.8"),
    st.none() | ANY | st.just("570.195.03"),
    st.none() | st.builds(Device, ANY, st.none() | ANY),
)


@settings(deadline=None)
@given(ANY | LIKELY, HOSTS)
def test_nothing_but_its_own_error_comes_out(expression: str, host: Host) -> None:
    try:
        outcome = evaluate(expression, host)
    except RequirementError:
        return
    assert outcome.satisfied != bool(outcome.message)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(["CUDA_VERSION", "NVIDIA_REQUIRE_CUDA", "NVIDIA_REQUIRE_X"]) | ANY, ANY | LIKELY)
)
def test_nor_out_of_an_environment(env: dict[str, str]) -> None:
    with suppress(RequirementError):
        gate(env, T4)


@settings(deadline=None)
@given(LIKELY, LIKELY)
def test_more_alternatives_never_refuse(first: str, second: str) -> None:
    """What a first term satisfies, no later term takes away."""
    try:
        satisfied = evaluate(first, T4).satisfied
    except RequirementError:
        return
    if satisfied and first.strip(" ,"):
        assert evaluate(f"{first} {second}", T4).satisfied
