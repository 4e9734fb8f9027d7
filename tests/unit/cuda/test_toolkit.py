"""Which CUDA an image holds, and what becomes of it where the configuration does not tell."""

from __future__ import annotations

import pytest
from ansible_collections.portal.stt.plugins.module_utils._cuda.toolkit import toolkit
from ansible_collections.portal.stt.plugins.module_utils._cuda.verdict import CudaImage, Kind, Terms, judge
from ansible_collections.portal.stt.plugins.module_utils._gpu.node import GpuNode
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors.matrix import DAY

LABEL = "com.nvidia.cuda.version"


@pytest.mark.parametrize(
    ("env", "labels", "version", "source"),
    [
        pytest.param({"CUDA_VERSION": "12.9.0"}, {}, "12.9", "", id="as-the-runtime-reads-it"),
        pytest.param({"CUDA_VERSION": "12.3.2.001"}, {}, "12.3", "CUDA_VERSION", id="ngc"),
        pytest.param({"CUDA_VERSION": "11.1.0.024", "NVIDIA_REQUIRE_CUDA": "cuda>=9.0"}, {}, "11.1", "CUDA_VERSION"),
        pytest.param({"CUDA_VERSION": "12.04.1"}, {}, "12.4", "CUDA_VERSION", id="leading-zero"),
        pytest.param({"CUDA_VERSION": "12.6.3-devel"}, {}, "12.6", "", id="prerelease"),
        pytest.param({"CUDA_VERSION": "?", "NV_CUDA_LIB_VERSION": "12.9.0-1"}, {}, "12.9", "NV_CUDA_LIB_VERSION"),
        pytest.param({"NV_CUDA_CUDART_VERSION": "13.1.80-1", "NV_LIBCUBLAS_VERSION": "1"}, {}, "13.1",
                     "NV_CUDA_CUDART_VERSION", id="no-cuda-version"),
        pytest.param({}, {LABEL: "9.0.176"}, "9.0", f"the label {LABEL}", id="label"),
        pytest.param({"NVIDIA_REQUIRE_CUDA": "cuda>=9.0"}, {LABEL: "11.0"}, "11.0", f"the label {LABEL}"),
        pytest.param({"CUDA_VERSION": "latest"}, {}, "", "", id="nothing"),
    ],
)  # fmt: skip
def test_each_source_in_turn(env: dict[str, str], labels: dict[str, str], version: str, source: str) -> None:
    found = toolkit(env, labels)
    assert (found.version, found.doubt) == (version, "")
    assert [note for note in found.notes if "is read from" in note] == (
        [f"The image's CUDA {version} is read from {source}."] if source else []
    )
    unread = env.get("CUDA_VERSION", "") if source or not version else ""
    assert bool(unread) is any("is no version that the runtime can read" in note for note in found.notes)


def test_a_rule_alone_is_a_lower_bound_and_says_so() -> None:
    found = toolkit({"CUDA_VERSION": "foo\x1b[31m", "NVIDIA_REQUIRE_CUDA": "brand=tesla cuda>=9.0"}, {})
    assert found.version == "9.0"
    assert found.doubt == "9.0 is only the lowest CUDA that its rule asks for: which one it holds is not told"
    assert found.notes == (r"CUDA_VERSION 'foo\\x1b[31m' is no version that the runtime can read.",)


@given(st.dictionaries(st.sampled_from(["CUDA_VERSION", "NVIDIA_REQUIRE_CUDA", "NV_CUDA_LIB_VERSION"]), st.text()))
def test_any_environment(env: dict[str, str]) -> None:
    found = toolkit(env, {})
    assert not found.version or all(part.isascii() and part.isdecimal() for part in found.version.split("."))


@pytest.mark.parametrize(
    ("wheels", "version", "doubted"),
    [
        (["nvidia-cublas-cu12==12.8.4.1", "nvidia-cudnn-cu12==9.10.2.21"], "12.8", False),
        (["nvidia-cublas-cu12==12.4.5.8"], "12.6", False),
        (["nvidia-cublas==13.0.0.19"], "13.0", False),
        (["nvidia-cublas-cu13"], "13.0", False),
        (["nvidia-cudnn-cu12==9.1.0.70"], "12.6", True),
    ],
)
def test_cuda_in_python_packages(wheels: list[str], version: str, doubted: bool) -> None:
    found = toolkit({"CUDA_VERSION": "12.6.3"}, {}, wheels)
    assert (found.version, bool(found.doubt)) == (version, doubted)


def image(**given: object) -> CudaImage:
    return CudaImage.from_result({"reference": "image", "tag": "", **given})


RTX = GpuNode.from_result(
    {"name": "a", "product": "GeForce-RTX-2080-Ti", "driver": "440.44", "cuda": "10.2", "compute_capability": "7.5"}
)
T4 = GpuNode.from_result(
    {"name": "b", "product": "Tesla-T4", "driver": "570.195.03", "cuda": "12.8", "compute_capability": "7.5"}
)
LEGACY = Terms("legacy", DAY)


def test_an_ngc_image_on_a_driver_that_is_too_old() -> None:
    """triton-inference-server/server#2245: the gate passes by cuda>=9.0, and CUDA 11 is refused by the driver."""
    ngc = image(env={"CUDA_VERSION": "11.1.0.024", "NVIDIA_REQUIRE_CUDA": "cuda>=9.0"})
    found = judge(ngc, RTX, LEGACY)
    assert (ngc.cuda, found.kind) == ("11.1", Kind.REFUSED)
    assert found.reason == (
        "passes by cuda>=9.0, but the driver's CUDA 10.2 cannot run the image's CUDA 11.1: forward compatibility is "
        "not for GeForce cards."
    )
    assert found.notes[1:3] == (
        "CUDA_VERSION '11.1.0.024' is no version that the runtime can read.",
        "The image's CUDA 11.1 is read from CUDA_VERSION.",
    )


def test_without_a_rule_the_gate_stops_at_such_a_version() -> None:
    """The runtime's own reading stays strict."""
    found = judge(image(env={"CUDA_VERSION": "12.3.2.001"}), T4, LEGACY)
    assert (found.kind, found.rule) == (Kind.REFUSED, "failed to get version: invalid CUDA version 12.3.2.001")


def test_a_lower_bound_is_not_native() -> None:
    found = judge(image(env={"NVIDIA_REQUIRE_CUDA": "cuda>=12.0"}), T4, LEGACY)
    assert (found.kind, found.reason) == (
        Kind.ALLOWED,
        "the driver's CUDA 12.8 runs the image's CUDA 12.0, but 12.0 is only the lowest CUDA that its rule asks for: "
        "which one it holds is not told.",
    )


def test_a_lean_base_image_does_not_tell_what_the_server_loads() -> None:
    """Newer Speaches: on nvidia/cuda's base image, with CUDA's libraries as Python packages."""
    env = {"CUDA_VERSION": "12.6.3", "NVIDIA_REQUIRE_CUDA": "cuda>=12.6", "NV_CUDA_CUDART_VERSION": "12.6.77-1"}
    labels = {"org.opencontainers.image.version": "main", "org.opencontainers.image.revision": "870e1e1"}
    found = judge(image(env=env, labels=labels), T4, LEGACY)
    assert (found.kind, found.reason) == (
        Kind.ALLOWED,
        "the driver's CUDA 12.8 runs the image's CUDA 12.6, but what it loads besides the base image's CUDA is not "
        "told.",
    )
    assert found.notes[0] == (
        "CUDA_VERSION is the base image's, which holds no cuBLAS: that comes from Python packages as a rule, of a "
        "version that the image's configuration does not tell; the image calls itself version main, revision 870e1e1."
    )
    whole = judge(image(env={**env, "NV_LIBCUBLAS_VERSION": "12.6.4.1-1"}, labels=labels), T4, LEGACY)
    assert whole.kind is Kind.NATIVE


def test_python_packages_newer_than_the_base_image_decide() -> None:
    env = {"CUDA_VERSION": "12.6.3", "NVIDIA_REQUIRE_CUDA": "cuda>=12.6"}
    found = judge(image(env=env, cuda_wheels=["nvidia-cublas-cu12==12.9.1.4"]), T4, LEGACY)
    assert (found.kind, found.rule) == (Kind.ALLOWED, "cuda>=12.6")
    assert "by minor-version compatibility" in found.reason
    assert (
        "CUDA 12.9 comes with Python packages (nvidia-cublas-cu12==12.9.1.4), newer than the base image's CUDA 12.6."
        in found.notes
    )


def test_what_an_image_says_moves_no_cursor() -> None:
    found = judge(image(env={"CUDA_VERSION": "12.6", "NVIDIA_REQUIRE_CUDA": "cuda>=99\x1b[2J"}), T4, LEGACY)
    assert (found.reason + found.runtime_message + found.rule).isprintable()
