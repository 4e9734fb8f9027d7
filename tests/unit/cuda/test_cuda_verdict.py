"""Image and node: the verdict, what it rests on, and the words for it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._cuda.advice import advise, findings, table
from ansible_collections.portal.stt.plugins.module_utils._cuda.ctranslate2 import Fit, fit
from ansible_collections.portal.stt.plugins.module_utils._cuda.verdict import (
    CudaImage,
    Kind,
    Terms,
    judge,
    judge_all,
    mode_of,
)
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Status
from ansible_collections.portal.stt.plugins.module_utils._gpu.node import Card, GpuNode
from ansible_collections.portal.stt.plugins.modules import cuda_preflight
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.modules import run_module
from tests.vectors.matrix import CARDS, DAY, DOCUMENT, IMAGES, document

LEGACY, CDI, AUTO = (Terms(mode, DAY) for mode in ("legacy", "cdi", "auto"))
T4 = replace(CARDS["T4, driver 570.195.03"], name="gpu-node-1")
RTX = replace(CARDS["RTX 3060, driver 570.195.03"], name="desktop")
A4000 = replace(RTX, product="NVIDIA-RTX-A4000", brands=("QuadroRTX",))
OLD = replace(T4, name="old", driver="470.256.02", cuda="11.4")
BARE = GpuNode("bare")
VARIANTS = list(IMAGES.values())
TAG = "ghcr.io/speaches-ai/speaches:0.9.0-rc.3"


def image(cuda: str, require: str = "", compat: str | None = None, **env: str) -> CudaImage:
    given = {"CUDA_VERSION": cuda, "NVIDIA_REQUIRE_CUDA": require, **env}
    return CudaImage.from_result({"reference": "image", "tag": "tag", "env": given, "cuda_compat": compat})


def test_the_table_of_the_documentation_is_todays() -> None:
    assert DOCUMENT.read_text() == document(), "write it anew: python -m tests.vectors.matrix"


def test_the_first_operators_card() -> None:
    found = judge(IMAGES["cuda"], T4, LEGACY)
    assert (found.kind, found.rule) == (Kind.ALLOWED, "brand=nvidia,driver>=570,driver<571")
    assert [judge(IMAGES[name], T4, LEGACY).kind for name in ("cuda-12.6.3", "cuda-12.4.1")] == [Kind.NATIVE] * 2


@pytest.mark.parametrize(
    ("cuda", "node", "terms", "compat", "kind", "rule"),
    [
        pytest.param("12.8.1", T4, CDI, None, Kind.NATIVE, "CUDA 12.8 >= 12.8", id="native"),
        pytest.param("12.9.0", RTX, CDI, None, Kind.ALLOWED, "minor-version compatibility", id="minor"),
        pytest.param("13.0.0", T4, CDI, "13.0", Kind.ALLOWED, "forward compatibility", id="forward"),
        pytest.param("13.0.0", T4, CDI, None, Kind.ALLOWED, "forward compatibility", id="forward-perhaps"),
        pytest.param("13.0.0", T4, CDI, "", Kind.REFUSED, "CUDA 13", id="no-package"),
        pytest.param("13.0.0", RTX, CDI, "13.0", Kind.REFUSED, "CUDA 13", id="forward-not-for-geforce"),
        pytest.param("13.0.0", A4000, CDI, "13.0", Kind.UNKNOWN, "forward compatibility", id="forward-for-some-rtx"),
        pytest.param("13.0.0", A4000, CDI, "", Kind.REFUSED, "CUDA 13", id="no-package-for-rtx"),
        pytest.param("13.0.0", RTX, LEGACY, None, Kind.REFUSED, "cuda>=13.0", id="the-gate-first"),
        pytest.param("12.9.0", RTX, AUTO, None, Kind.REFUSED, "cuda>=12.9", id="auto-is-legacy"),
        pytest.param(
            "12.9.0",
            replace(RTX, runtime_mode="cdi"),
            AUTO,
            None,
            Kind.ALLOWED,
            "minor-version compatibility",
            id="auto-is-the-nodes",
        ),
        pytest.param("12.6.3", T4, Terms("csv", DAY), None, Kind.UNKNOWN, "csv mode", id="tegra"),
    ],
)
def test_what_a_verdict_rests_on(
    cuda: str, node: GpuNode, terms: Terms, compat: str | None, kind: Kind, rule: str
) -> None:
    found = judge(image(cuda, f"cuda>={'.'.join(cuda.split('.')[:2])}", compat), node, terms)
    assert (found.kind, found.rule) == (kind, rule)


@pytest.mark.parametrize(
    ("capability", "driver", "cuda", "kind", "rule"),
    [
        pytest.param("6.1", "580.95.05", "13.0", Kind.REFUSED, "compute capability >= 7.5", id="pascal-cuda-13"),
        pytest.param("7.0", "580.95.05", "13.0", Kind.REFUSED, "compute capability >= 7.5", id="volta-cuda-13"),
        pytest.param("7.5", "580.95.05", "13.0", Kind.NATIVE, "cuda>=13.0", id="turing-cuda-13"),
        pytest.param("3.5", "470.256.02", "11.4", Kind.REFUSED, "cuda>=13.0", id="kepler"),
    ],
)
def test_cards_that_the_gate_does_not_look_at(capability: str, driver: str, cuda: str, kind: Kind, rule: str) -> None:
    node = replace(T4, compute_capability=capability, driver=driver, cuda=cuda)
    found = judge(image("13.0.0", "cuda>=13.0"), node, LEGACY)
    assert (found.kind, found.rule) == (kind, rule)


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        pytest.param(replace(T4, driver="570"), Kind.ALLOWED, id="branch-is-enough"),
        pytest.param(replace(T4, driver="570", cuda=""), Kind.ALLOWED, id="branch-without-cuda"),
        pytest.param(replace(T4, driver="", cuda="13.0"), Kind.NATIVE, id="cuda-is-enough"),
        pytest.param(replace(T4, driver="", cuda="12.8"), Kind.UNKNOWN, id="cuda-alone"),
        pytest.param(replace(T4, product="", brands=()), Kind.UNKNOWN, id="brand-unknown"),
        pytest.param(replace(T4, product="", brands=(), cuda="13.0"), Kind.NATIVE, id="brand-does-not-matter"),
        pytest.param(BARE, Kind.UNKNOWN, id="nothing-known"),
    ],
)
def test_what_is_not_known_matters_only_where_it_decides(node: GpuNode, kind: Kind) -> None:
    assert judge(IMAGES["cuda"], GpuNode.from_result(node.as_result()), LEGACY).kind is kind


def test_what_is_missing_is_said() -> None:
    found = judge(IMAGES["cuda"], replace(T4, product="", brands=()), LEGACY)
    assert found.reason == (
        "it depends on the card's brand, which the node's labels do not tell; at worst: the image requires cuda>=12.9, "
        "the node has 12.8; its allowance for this driver is for the brands cloudgaming, grid, nvidia, nvidiartx, "
        "quadro, quadrortx, tesla, unknown, vapps, vcs, vpc, vws, and this card's is NVS."
    )


@pytest.mark.parametrize(
    ("env", "kind", "rule"),
    [
        ({"NVIDIA_DISABLE_REQUIRE": "true"}, Kind.ALLOWED, "minor-version compatibility"),
        ({"NVIDIA_DISABLE_REQUIRE": "yes"}, Kind.REFUSED, "cuda>=12.9"),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>=12.0"}, Kind.ALLOWED, "cuda>=12.0"),
        ({"NVIDIA_REQUIRE_CUDA": ""}, Kind.REFUSED, "cuda>=12.9"),
        ({"NVIDIA_REQUIRE_OTHER": "driver>=575"}, Kind.REFUSED, "cuda>=12.9"),
        ({"NVIDIA_REQUIRE_CUDA": "cuda>>12"}, Kind.REFUSED, "invalid expression"),
        ({f"NVIDIA_REQUIRE_{n}": "cuda>=1" for n in range(32)}, Kind.REFUSED, "too many requirements"),
    ],
)
def test_the_pods_environment_comes_first(env: dict[str, str], kind: Kind, rule: str) -> None:
    given = {"reference": "image", "tag": "cuda", "env": IMAGES["cuda"].env}
    found = judge(CudaImage.from_result(given, env), RTX, LEGACY)
    assert (found.kind, found.rule) == (kind, rule)


def test_a_platform_that_is_not_built() -> None:
    found = judge(IMAGES["cuda"], replace(T4, architecture="arm64"), LEGACY)
    assert (found.kind, found.reason) == (Kind.REFUSED, "the image has no linux/arm64 variant, only linux/amd64.")


@pytest.mark.parametrize(
    ("driver", "today", "note"),
    [
        ("570.195.03", date(2026, 1, 1), ""),
        ("570.195.03", date(2026, 3, 1), "driver branch 570 reached its end of life in February 2026."),
        ("560.35.03", date(2026, 1, 1), "driver branch 560 is not in NVIDIA's support."),
        ("580.95.05", date(2028, 6, 30), ""),
        ("615.43.02", date(2026, 1, 1), ""),
        ("625.1.1", date(2026, 1, 1), ""),
    ],
)
def test_end_of_life(driver: str, today: date, note: str) -> None:
    notes = judge(IMAGES["cuda-12.4.1"], replace(T4, driver=driver), Terms("legacy", today)).notes
    assert [one for one in notes if "branch" in one] == ([note] if note else [])


@pytest.mark.parametrize(
    ("node", "terms", "mode", "note"),
    [
        pytest.param(T4, AUTO, "legacy", "native", id="assumed"),
        pytest.param(replace(T4, cuda="12.6", driver="560.35.05"), AUTO, "legacy", "allowed", id="assumed-and-refused"),
        pytest.param(replace(T4, runtime_mode="cdi"), AUTO, "cdi", "", id="the-operator-says-it"),
        pytest.param(T4, LEGACY, "legacy", "", id="given"),
        pytest.param(BARE, AUTO, "legacy", "", id="the-mode-does-not-matter"),
    ],
)
def test_an_assumed_mode_is_said(node: GpuNode, terms: Terms, mode: str, note: str) -> None:
    found = judge(image("12.8.1", "cuda>=12.8"), node, terms)
    said = (
        f"assumes the container runtime's legacy mode; in CDI mode, without a gate, it is {note}: set runtime_mode "
        "where you know it."
    )
    assert (found.mode, [one for one in found.notes if "mode" in one]) == (mode, [said] if note else [])


def test_unlike_cards_are_judged_each_and_the_worst_counts() -> None:
    """As the runtime does: the first card alone would have passed."""
    cards = (Card("Tesla-T4", ("Nvidia",), "7.5"), Card("NVIDIA-GeForce-RTX-3060", ("GeForce",), "8.6"))
    for order in (cards, cards[::-1]):
        found = judge(IMAGES["cuda"], replace(T4, cards=order), LEGACY)
        assert (found.kind, found.rule) == (Kind.REFUSED, "cuda>=12.9")


def test_native_without_a_gate() -> None:
    assert judge(image("12.8.1", "cuda>=12.8"), T4, CDI).reason == (
        "nobody evaluates its requirements in CDI mode; the driver's CUDA 12.8 runs the image's CUDA 12.8."
    )


@pytest.mark.parametrize(
    ("mode", "runtime_class", "expected"),
    [
        ("auto", "", "auto"),
        ("auto", "nvidia", "auto"),
        ("auto", "nvidia-legacy", "legacy"),
        ("auto", "nvidia-cdi", "cdi"),
        ("csv", "nvidia-cdi", "csv"),
    ],
)
def test_the_mode_of_a_runtime_class(mode: str, runtime_class: str, expected: str) -> None:
    assert mode_of(mode, runtime_class) == expected


PTX = (
    "code that is compiled on the card (PTX) fails on an older driver with cudaErrorUnsupportedPtxVersion, newer "
    "driver features with cudaErrorCallRequiresNewerDriver."
)
PLACED = "where the container toolkit puts it in place (1.17.4 alone does not by default)"
CRASH = (
    "for it: cuda-compat 12.9 on 560.35.05 ended in a segmentation fault in libnvidia-ptxjitcompiler (speaches#464)."
)


@pytest.mark.parametrize(
    ("compat", "node", "notes"),
    [
        pytest.param("12.9", T4, [f"the image holds cuda-compat 12.9: {PLACED}, that limit is gone."], id="there"),
        pytest.param("", T4, ["the image holds no cuda-compat."], id="not-there"),
        pytest.param(
            None,
            T4,
            [f"the registry does not tell whether the image holds cuda-compat: {PLACED}, that limit is gone."],
            id="not-seen",
        ),
        pytest.param(
            "12.9",
            replace(T4, driver="560.35.05", cuda="12.6"),
            [
                f"the image holds cuda-compat 12.9: {PLACED}, that limit is gone.",
                f"NVIDIA does not list driver branch 560 {CRASH}",
            ],
            id="speaches-464",
        ),
        pytest.param(
            "12.9",
            RTX,
            [
                "the image holds cuda-compat 12.9; it is not for GeForce cards: put in place there, it ends with: "
                "forward compatibility was attempted on non supported HW."
            ],
            id="not-for-geforce",
        ),
        pytest.param(
            "12.9",
            A4000,
            [f"the image holds cuda-compat 12.9: {PLACED}, and the QuadroRTX card is NGC-Ready, that limit is gone."],
            id="for-some-rtx",
        ),
    ],
)
def test_the_forward_compatibility_package_is_always_told(compat: str | None, node: GpuNode, notes: list[str]) -> None:
    found = judge(image("12.9.0", compat=compat), node, Terms("cdi", date(2026, 1, 1)))
    assert [note for note in found.notes if "branch 560 is not in" not in note] == [PTX, *notes]


@pytest.mark.parametrize(
    ("capability", "cuda", "first"),
    [
        pytest.param("8.9", "11.4.3", "", id="ada-runs-the-code-of-ampere"),
        pytest.param("8.6", "11.0.3", "", id="ampere"),
        pytest.param("9.0", "11.4.3", "11.8", id="hopper"),
        pytest.param("12.0", "12.6.3", "12.8", id="blackwell"),
        pytest.param("12.1", "12.8.1", "", id="blackwell-of-today"),
    ],
)
def test_an_image_older_than_the_card(capability: str, cuda: str, first: str) -> None:
    node = replace(T4, compute_capability=capability, driver="580.95.05", cuda="13.0")
    notes = judge(image(cuda), node, LEGACY).notes
    minor = ".".join(cuda.split(".")[:2])
    said = (
        f"compute capability {capability} is known to CUDA {first} and newer: the image's CUDA {minor} has only PTX "
        "for it, compiled at the first start."
    )
    assert [note for note in notes if "PTX" in note] == ([said] if first else [])


def test_advice_is_native_before_allowed_and_newest_first() -> None:
    assert [(one.image.tag, one.kind.value) for one in advise(VARIANTS, [T4], LEGACY)] == [
        ("0.9.0-rc.3-cuda-12.6.3", "native"),
        ("0.9.0-rc.3-cuda-12.4.1", "native"),
        ("0.9.0-rc.3-cuda", "allowed"),
    ]
    assert [one.image.tag for one in advise(VARIANTS, [T4, RTX], LEGACY)] == [
        "0.9.0-rc.3-cuda-12.6.3",
        "0.9.0-rc.3-cuda-12.4.1",
    ]
    assert advise(VARIANTS, [T4, BARE], LEGACY) == []


def test_a_refusal_names_image_node_rule_driver_and_variant() -> None:
    groups = judge_all(IMAGES["cuda"], [RTX, replace(RTX, name="desktop-2")], LEGACY)
    all_of_them, found = findings(IMAGES["cuda"], groups, VARIANTS, LEGACY)
    assert (all_of_them.check, all_of_them.status) == ("cuda.nodes", Status.OK)
    assert all_of_them.message == "compared with 2 GPU nodes:"
    assert all_of_them.evidence == tuple(table(groups))
    assert (found.check, found.status) == ("cuda.requirement", Status.REFUSED)
    assert found.subject == (
        f"image {TAG}-cuda on nodes desktop, desktop-2 (NVIDIA-GeForce-RTX-3060, driver 570.195.03, CUDA 12.8)"
    )
    assert found.message == (
        "refused: the image requires cuda>=12.9, the node has 12.8; its allowance for this driver is for the brands "
        "cloudgaming, grid, nvidia, nvidiartx, quadro, quadrortx, tesla, unknown, vapps, vcs, vpc, vws, and this "
        "card's is GeForce."
    )
    assert found.remedy == (
        "Take 0.9.0-rc.3-cuda-12.6.3 (CUDA 12.6), native on every target node; or update the node's driver to branch "
        "575 or newer."
    )
    assert found.evidence[0] == (
        "the runtime would end with: nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9, "
        "please update your driver to a newer version, or use an earlier cuda container"
    )


def test_a_driver_that_no_variant_is_native_on() -> None:
    groups = judge_all(IMAGES["cuda"], [OLD], LEGACY)
    _, found = findings(IMAGES["cuda"], groups, VARIANTS, LEGACY)
    assert found.message == (
        "refused: the image requires cuda>=12.9, the node has 11.4; none of its 60 allowances is for this driver."
    )
    assert found.remedy == (
        "Take 0.9.0-rc.3-cuda-12.6.3 (CUDA 12.6), allowed on every target node; or update the node's driver to branch "
        "575 or newer."
    )


def test_nodes_that_cannot_while_others_can() -> None:
    *_, found = findings(IMAGES["cuda"], judge_all(IMAGES["cuda"], [T4, RTX], LEGACY), [], LEGACY)
    assert found.remedy == (
        "Update the node's driver to branch 575 or newer; or leave these nodes out by the node selector."
    )


@pytest.mark.parametrize(
    ("env", "terms", "kind", "reason"),
    [
        (
            {"NVIDIA_REQUIRE_X": "driver>=535"},
            LEGACY,
            Kind.ALLOWED,
            "passes by driver>=535; the image states no CUDA version to compare the driver's with.",
        ),
        (
            {"NVIDIA_REQUIRE_X": "driver>=535"},
            CDI,
            Kind.UNKNOWN,
            "the image states no CUDA version, and nobody evaluates its requirements in CDI mode.",
        ),
        (
            {"CUDA_VERSION": "12.9.0", "NVIDIA_DISABLE_REQUIRE": "1"},
            LEGACY,
            Kind.ALLOWED,
            "it has no requirement that is in the way; the driver's CUDA 12.8 runs the image's CUDA 12.9 by "
            "minor-version compatibility.",
        ),
    ],
)
def test_images_that_say_little(env: dict[str, str], terms: Terms, kind: Kind, reason: str) -> None:
    found = judge(CudaImage.from_result({"reference": "image", "env": env}), T4, terms)
    assert (found.kind, found.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("env", "reason", "remedy"),
    [
        (
            {"NVIDIA_REQUIRE_X": "cuda"},
            "the runtime cannot read NVIDIA_REQUIRE_X: invalid expression.",
            "Set NVIDIA_REQUIRE_X in the pod to a rule that it can read (cuda>=12.0).",
        ),
        (
            {"CUDA_VERSION": "x"},
            "the runtime cannot read CUDA_VERSION: failed to get version: invalid CUDA version x.",
            "Set NVIDIA_REQUIRE_CUDA in the pod to a rule that it can read (cuda>=12.0).",
        ),
        (
            {f"NVIDIA_REQUIRE_{n}": "cuda>=1" for n in range(33)},
            "the runtime takes 32 requirements at most, and there are more.",
            "Set NVIDIA_DISABLE_REQUIRE=true in the pod.",
        ),
    ],
)
def test_what_to_do_about_rules_that_the_runtime_does_not_take(env: dict[str, str], reason: str, remedy: str) -> None:
    found = judge(CudaImage.from_result({"reference": "image", "env": env}), T4, LEGACY)
    assert (found.kind, found.reason, found.remedy) == (Kind.REFUSED, reason, remedy)
    variable, _, value = remedy.split()[1].partition("=")
    mended = {variable: value or "cuda>=12.0"}
    assert judge(CudaImage.from_result({"reference": "image", "env": env}, mended), T4, LEGACY).kind is not Kind.REFUSED


def test_the_runtimes_own_line_is_told() -> None:
    found = judge(image("", "cuda"), T4, LEGACY)
    assert found.runtime_message == "nvidia-container-cli: requirement error: invalid expression"


def test_without_nodes_nothing_is_fine() -> None:
    (found,) = findings(IMAGES["cuda"], [], VARIANTS, LEGACY)
    assert (found.status, found.message) == (Status.REFUSED, "there is no GPU node that its pod could be put on.")


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        ("untolerated", "a taint there keeps the pod away"),
        ("too_few", "it has fewer GPUs than the pod asks for"),
        ("other_resource", "it offers its GPUs as another resource than the pod asks for"),
    ],
)
def test_a_node_that_the_pod_cannot_be_put_on_is_told_and_stops_nothing(problem: str, why: str) -> None:
    nodes = [T4, replace(OLD, problems=(problem,))]
    groups = judge_all(IMAGES["cuda"], nodes, LEGACY)
    all_of_them, here, there = findings(IMAGES["cuda"], groups, VARIANTS, LEGACY)
    assert all_of_them.evidence[2].endswith("refused  cuda>=12.9 (left out)")
    assert here.remedy == "Take 0.9.0-rc.3-cuda-12.6.3 (CUDA 12.6), native on every target node."
    assert (there.status, there.message) == (
        Status.OK,
        f"left out, since {why}; it would be refused: the image requires cuda>=12.9, the node has 11.4; none of its 60 "
        "allowances is for this driver.",
    )
    assert [group.as_result()["target"] for group in groups] == [True, False]


def test_nodes_that_the_pod_cannot_be_put_on_are_none() -> None:
    groups = judge_all(IMAGES["cuda"], [replace(T4, problems=("untolerated",))], LEGACY)
    found = findings(IMAGES["cuda"], groups, VARIANTS, LEGACY)
    assert [one.status for one in found] == [Status.OK, Status.REFUSED, Status.OK]


@pytest.mark.parametrize("problem", ["cordoned", "not_ready", "no_allocatable"])
def test_a_node_that_may_be_back_is_judged(problem: str) -> None:
    groups = judge_all(IMAGES["cuda"], [replace(OLD, problems=(problem,))], LEGACY)
    *_, found = findings(IMAGES["cuda"], groups, VARIANTS, LEGACY)
    assert found.status is Status.REFUSED


def test_one_line_for_nodes_that_are_alike() -> None:
    fleet = [replace(T4, name=f"t4-{number}", allocatable=number) for number in range(5000)]
    lines = table(judge_all(IMAGES["cuda"], [*fleet, RTX, BARE], LEGACY))
    assert lines == [
        "nodes               card                     driver      CUDA  verdict  by",
        "t4-0 and 4999 more  Tesla-T4                 570.195.03  12.8  allowed  brand=nvidia,driver>=570,driver<571",
        "desktop             NVIDIA-GeForce-RTX-3060  570.195.03  12.8  refused  cuda>=12.9",
        "bare                ?                        ?           ?     unknown  no driver label",
    ]


@pytest.mark.parametrize(
    ("compute_type", "capability", "cuda", "words"),
    [
        ("int8", "7.5", "12.8", ""),
        ("int8", "6.1", "12.8", ""),
        ("float32", "5.3", "12.8", ""),
        ("int8", "", "", ""),
        ("int8", "6.0", "12.8", "CTranslate2 ends with ValueError: Requested int8 compute type"),
        ("float16", "6.1", "12.8", "Requested float16 compute type"),
        ("bfloat16", "7.5", "12.8", "Requested bfloat16 compute type"),
        ("int8_bfloat16", "7.5", "12.8", "Requested int8_bfloat16 compute type"),
        ("int16", "8.0", "12.8", "Requested int16 compute type"),
        ("default", "5.2", "12.8", "CTranslate2's wheels have no code for compute capability 5.2: it begins at 5.3."),
        ("default", "9.0", "12.0", "only PTX of CUDA 12.2, which a driver of CUDA 12.0 does not compile"),
    ],
)
def test_ctranslate2(compute_type: str, capability: str, cuda: str, words: str) -> None:
    found = fit(compute_type, capability, cuda)
    assert words in found.refusal
    assert bool(found.refusal) is bool(words)


def test_ctranslate2_compiles_for_newer_cards() -> None:
    assert fit("int8", "9.0", "12.8") == Fit(
        note="CTranslate2 compiles its code for compute capability 9.0 at the first start (PTX)."
    )
    assert fit("int8", "8.9", "12.0") == Fit()


@pytest.mark.parametrize(
    ("compute_type", "capability", "kind"),
    [
        ("int8", "12.0", Kind.REFUSED),
        ("int8_float16", "12.1", Kind.REFUSED),
        ("auto", "12.0", Kind.ALLOWED),
        ("default", "12.0", Kind.ALLOWED),
        ("float16", "12.0", Kind.NATIVE),
        ("int8", "10.0", Kind.NATIVE),
    ],
)
def test_ctranslate2_has_no_8_bit_integers_on_newer_blackwell(compute_type: str, capability: str, kind: Kind) -> None:
    """OpenNMT/CTranslate2#1865: RTX 5080, driver 572.42; float16 works."""
    card = GpuNode.from_result(
        {
            "name": "gpu-1",
            "product": "NVIDIA-GeForce-RTX-5080",
            "driver": "572.42",
            "cuda": "12.8",
            "compute_capability": capability,
        }
    )
    found = judge(image("12.6.3", "cuda>=12.6"), card, replace(LEGACY, compute_type=compute_type))
    assert found.kind is kind
    if kind is not Kind.NATIVE:
        assert (found.rule, found.remedy) == ("CTranslate2", "Set [compute_type] to float16, or use another card.")
        words = f"without 8-bit integers at compute capability {capability}: up to 4.6.1 the first request"
        assert words in found.reason


def test_ctranslate2_refuses_what_the_runtime_would_start() -> None:
    found = judge(IMAGES["cuda-12.4.1"], replace(T4, compute_capability="6.0"), replace(LEGACY, compute_type="int8"))
    assert (found.kind, found.rule) == (Kind.REFUSED, "CTranslate2")


def ask(node: GpuNode, **params: Any) -> dict[str, Any]:
    described = {"reference": f"{TAG}-cuda", "tag": "0.9.0-rc.3-cuda", "env": dict(IMAGES["cuda"].env)}
    return run_module(cuda_preflight, image=described, nodes=[node.as_result()], **params)


def test_the_module_passes_what_is_allowed() -> None:
    result = ask(T4)
    assert (result.get("failed"), result["changed"]) == (None, False)
    assert [one["verdict"] for one in result["verdicts"]] == ["allowed"]
    assert result["verdicts"][0]["nodes"] == ["gpu-node-1"]


def test_the_module_takes_the_mode_of_the_runtime_class() -> None:
    (verdict,) = ask(RTX, runtime_class="nvidia-cdi")["verdicts"]
    assert (verdict["mode"], verdict["verdict"]) == ("cdi", "allowed")


def test_the_module_fails_with_everything() -> None:
    result = ask(RTX)
    assert result["failed"] is True
    assert result["msg"].startswith(f"image {TAG}-cuda on node desktop (NVIDIA-GeForce-RTX-3060, driver 570.195.03")
    assert set(result) >= {"verdicts", "advice", "table", "findings", "msg"}


def test_the_module_stops_at_what_it_does_not_know_unless_told() -> None:
    assert ask(BARE)["failed"] is True
    accepted = ask(BARE, accept_unknown=True)
    assert "failed" not in accepted
    assert [one["status"] for one in accepted["findings"]] == ["ok", "warning"]


def test_an_image_without_an_environment() -> None:
    with pytest.raises(CollectionError, match="it has no env"):
        CudaImage.from_result({"reference": "image"})


NODES = st.builds(
    GpuNode,
    st.just("gpu-1"),
    product=st.sampled_from(["", "Tesla-T4", "NVIDIA-GeForce-RTX-3060", "GRID-T4-16Q"]),
    brands=st.sampled_from([(), ("Nvidia",), ("Nvidia", "Tesla", "Unknown"), ("GeForce",)]),
    driver=st.sampled_from(["", "570", "570.195.03", "470.256.02", "999.1", "rubbish"]),
    cuda=st.sampled_from(["", "12.8", "13.0", "11.4"]),
    compute_capability=st.sampled_from(["", "6.1", "7.5", "12.0"]),
)
HUGE = "9" * 23  # no number of the runtime's
RULES = st.lists(
    st.sampled_from(
        [
            *("cuda>=12.9", "driver>=570,driver<571", "brand=geforce", "arch>=8.0", "x", "cuda>=.1", ",", "=1"),
            *(f"{name}>={version}" for name in ("cuda", "driver", "arch") for version in (HUGE, f"99.{HUGE}")),
            f"driver>=570.{HUGE}",
        ]
    ),
    max_size=4,
).map(" ".join)


@pytest.mark.parametrize("rule", [f"driver>={HUGE}", f"cuda>=99.{HUGE}"])
def test_a_variant_with_a_number_that_nobody_can_read_costs_no_other_its_advice(rule: str) -> None:
    given = {"reference": f"{TAG}-odd", "tag": "odd", "env": {"NVIDIA_REQUIRE_X": rule}}
    good = {"reference": f"{TAG}-cuda-12.6.3", "tag": "good", "env": dict(IMAGES["cuda-12.6.3"].env)}
    for node in (replace(RTX, driver="570"), RTX):
        assert [one["tag"] for one in ask(node, variants=[given, good])["advice"]] == ["good"]


@settings(deadline=None)
@given(NODES, RULES, st.sampled_from(["", "12.9.0", "13.0.0", "rubbish", HUGE]), st.sampled_from([LEGACY, CDI, AUTO]))
def test_any_node_and_any_rules_get_a_verdict(node: GpuNode, rules: str, cuda: str, terms: Terms) -> None:
    groups = judge_all(image(cuda, rules), [GpuNode.from_result(node.as_result())], terms)
    assert groups[0].verdict.reason.endswith(".")
    assert findings(image(cuda, rules), groups, [image(cuda, rules)], terms)
