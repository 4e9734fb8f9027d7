# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Will this CUDA image run on this GPU node? The answer of NVIDIA's runtime, and of the driver after it.

Two things decide. First the runtime's gate (requirement.py), in legacy mode only: in CDI modes nobody evaluates
NVIDIA_REQUIRE_*. Then the driver: a CUDA at least as new as the image's runs anything; an older one of the same
major version runs it by minor-version compatibility; another major version needs a forward-compatibility package
in the image and a data-centre card (docs.nvidia.com/deploy/cuda-compatibility).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import product
from typing import Any

from .._findings import CollectionError
from .._gpu.node import ALL_BRANDS, BRANCH_CUDA, OUT_OF_REACH, PROBLEMS, GpuNode
from .._text import plain
from .ctranslate2 import Fit, fit
from .requirement import (
    REQUIREMENTS_MAX,
    Device,
    Host,
    Outcome,
    RequirementError,
    compare_versions,
    evaluate,
    gate,
    requirements,
)
from .toolkit import toolkit

MODES = ("auto", "legacy", "cdi", "csv")
# The GPU Operator's RuntimeClasses that name a mode; its third, nvidia, is the node's own.
_CLASS_MODES = {"nvidia-legacy": "legacy", "nvidia-cdi": "cdi"}

# The lowest compute capability that a CUDA major version has code for (CUDA 12.0 and 13.0 release notes).
_LOWEST = {12: "5.0", 13: "7.5"}
# The first toolkit with code that runs on a card, by the major number of its compute capability: code for a lower minor
# one runs (CUDA toolkit, driver, and architecture matrix).
_FIRST_TOOLKIT = {8: "11.0", 9: "11.8", 10: "12.8", 12: "12.8"}
# The last driver branch for cards below Turing (same matrix).
_LAST_BRANCH = (("5.0", 470), ("7.5", 580))
# End of life of the branches that are, or lately were, in support (supported drivers and CUDA toolkit versions).
# All other branches below the newest one here are at their end; of newer ones nothing is known.
_END_OF_LIFE = {
    535: date(2026, 6, 30),
    570: date(2026, 2, 28),
    580: date(2028, 6, 30),
    595: date(2027, 3, 31),
    610: date(2026, 8, 31),
}
# Forward compatibility is for data-centre cards, and for those RTX workstation cards that are NGC-Ready.
_DATA_CENTRE = frozenset(("Nvidia", "Tesla", "Unknown"))
_PERHAPS = frozenset(("Quadro", "QuadroRTX", "NvidiaRTX"))
# The branches that NVIDIA's forward-compatibility matrix lists as a place to run a newer CUDA on.
_FORWARD_BRANCHES = ("535", "570", "580", "590")
_ENGINE_REMEDY = "Set [compute_type] to float16, or use another card."
_LONGEST = 4000  # characters of a reason: an image's rule is quoted in it
_LITERAL = re.compile(r"(cuda|driver|arch)[<>=!]+([0-9.]+)", re.IGNORECASE)


class Kind(StrEnum):
    """The verdict, from best to worst."""

    NATIVE = "native"
    ALLOWED = "allowed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


ORDER = list(Kind)


@dataclass(frozen=True)
class CudaImage:
    """What decides of an image: its environment, CUDA version (``12.9``, empty without), CPU architectures.

    compat: the version of the forward-compatibility package in it; empty for none, None when it cannot be seen.
    doubt: why it may hold another CUDA than that, empty where it states its own. notes: what `cuda` rests on.
    """

    reference: str
    tag: str
    env: Mapping[str, str]
    cuda: str
    architectures: tuple[str, ...] = ()
    compat: str | None = None
    doubt: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def from_result(cls, given: Mapping[str, Any], pod_env: Mapping[str, str] | None = None) -> CudaImage:
        """The image of portal.stt.oci_image_info, with the pod's environment over the image's.

        Raises CollectionError for what has no environment.
        """
        if not isinstance(given.get("env"), Mapping):
            raise CollectionError(
                "image",
                "it has no env.",
                "Give the image that portal.stt.oci_image_info returns, or a dictionary with reference and env.",
            )
        base = {str(name): str(value) for name, value in given["env"].items()}
        labels = given.get("labels")
        labels = {str(name): str(value) for name, value in labels.items()} if isinstance(labels, Mapping) else {}
        found = toolkit(base, labels, map(str, given.get("cuda_wheels") or ()))
        return cls(
            reference=str(given.get("reference", "the image")),
            tag=str(given.get("tag", "")),
            env={**base, **{str(name): str(value) for name, value in (pod_env or {}).items()}},
            cuda=found.version,
            architectures=tuple(str(one).split("/")[1] for one in given.get("platforms") or () if "/" in str(one)),
            compat=given.get("cuda_compat"),
            doubt=found.doubt,
            notes=found.notes,
        )


@dataclass(frozen=True)
class Terms:
    """What a verdict is given under.

    mode: of MODES; auto is the node's own where it is known, otherwise legacy, which refuses the most.
    today: to tell which driver branches are past their end of life.
    compute_type: CTranslate2's, to check the card for it too; empty to leave CTranslate2 out.
    """

    mode: str
    today: date
    compute_type: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer for one image and one node.

    rule: what decided, in the image's own words where they are its own.
    reason: one sentence. runtime_message: what the runtime will say, to recognise it later.
    mode: the container runtime's that it is for, known or assumed.
    notes: what may still break, and what the answer rests on. remedy: what to do when it is not good enough.
    """

    kind: Kind
    rule: str
    reason: str
    runtime_message: str = ""
    notes: tuple[str, ...] = ()
    remedy: str = ""
    mode: str = ""


@dataclass(frozen=True)
class Group:
    """Nodes that are alike in all that decides, and their verdict."""

    nodes: tuple[GpuNode, ...]
    verdict: Verdict

    @property
    def target(self) -> bool:
        """Whether the pod could be put there: only then the verdict counts."""
        return self.nodes[0].target

    @property
    def left_out(self) -> str:
        """What keeps the pod away, in words; empty for a target."""
        return "" if self.target else next(PROBLEMS[one][1] for one in self.nodes[0].problems if one in OUT_OF_REACH)

    def as_result(self) -> dict[str, Any]:
        """The group as a module returns it."""
        first = self.nodes[0]
        return {
            "verdict": self.verdict.kind.value,
            "rule": self.verdict.rule,
            "reason": self.verdict.reason,
            "runtime_message": self.verdict.runtime_message,
            "notes": list(self.verdict.notes),
            "remedy": self.verdict.remedy,
            "mode": self.verdict.mode,
            "target": self.target,
            "nodes": [node.name for node in self.nodes],
            "pool": first.pool,
            "product": first.product,
            "driver": first.driver,
            "cuda": first.cuda,
            "compute_capability": first.compute_capability,
        }


def mode_of(mode: str, runtime_class: str) -> str:
    """The mode to judge in, of MODES: a pod's RuntimeClass may decide what is left to ``auto``."""
    return _CLASS_MODES.get(runtime_class, mode) if mode == "auto" else mode


def judge_all(image: CudaImage, nodes: Iterable[GpuNode], terms: Terms) -> list[Group]:
    """One verdict for each set of nodes that are alike, in the order of their first node."""
    groups: dict[tuple[object, ...], list[GpuNode]] = {}
    for node in nodes:
        groups.setdefault(_deciding(node), []).append(node)
    return [Group(tuple(group), judge(image, group[0], terms)) for group in groups.values()]


def judge(image: CudaImage, node: GpuNode, terms: Terms) -> Verdict:
    """The verdict for one image on one node; where it rests on an assumed mode, with the other mode's beside it."""
    known = node.runtime_mode if terms.mode == "auto" else terms.mode
    verdict = _judge_in(known or "legacy", image, node, terms)
    if known:
        return verdict
    other = _judge_in("cdi", image, node, terms)
    if other.reason == verdict.reason:
        return verdict
    note = (
        f"assumes the container runtime's legacy mode; in CDI mode, without a gate, it is {other.kind.value}: set "
        "runtime_mode where you know it."
    )
    return replace(verdict, notes=(*verdict.notes, note))


def _judge_in(mode: str, image: CudaImage, node: GpuNode, terms: Terms) -> Verdict:
    """The verdict in one mode: the worst of all cards, since the runtime looks at each that it can see."""
    if not node.cards:
        return _judge_card(mode, image, node, terms)
    alone = [replace(node, **vars(card), cards=()) for card in node.cards]
    return max((_judge_card(mode, image, one, terms) for one in alone), key=lambda verdict: ORDER.index(verdict.kind))


def _judge_card(mode: str, image: CudaImage, node: GpuNode, terms: Terms) -> Verdict:
    early = _before_versions(image, node, mode)
    if early:
        return replace(early, mode=mode)
    answers = [_judge_host(image, node, host, mode) for host in _hosts(image, node)]
    worst = max(answers, key=lambda answer: ORDER.index(answer.kind))
    if any(answer.kind is not worst.kind for answer in answers):
        return _shown(replace(_undecided(node, answers), notes=image.notes, mode=mode))
    decided = answers[0]
    engine = fit(terms.compute_type, node.compute_capability, node.cuda) if terms.compute_type else Fit()
    if engine.refusal and decided.kind is not Kind.REFUSED:
        decided = Verdict(Kind.REFUSED, "CTranslate2", engine.refusal, remedy=_ENGINE_REMEDY)
    elif engine.doubt and decided.kind is Kind.NATIVE:
        decided = Verdict(
            Kind.ALLOWED, "CTranslate2", f"{decided.reason[:-1]}, but {engine.doubt}.", remedy=_ENGINE_REMEDY
        )
    notes = (*decided.notes, *image.notes, *filter(None, (engine.note,)), *_node_notes(image, node, terms.today))
    return _shown(replace(decided, notes=notes, mode=mode))


def _shown(verdict: Verdict) -> Verdict:
    """The verdict fit for a terminal: what an image's environment says may be anything."""
    return replace(
        verdict,
        rule=plain(verdict.rule),
        reason=plain(verdict.reason, _LONGEST),
        runtime_message=plain(verdict.runtime_message, _LONGEST),
    )


def _before_versions(image: CudaImage, node: GpuNode, mode: str) -> Verdict | None:
    """What can be said without the node's versions."""
    if node.architecture and image.architectures and node.architecture not in image.architectures:
        return Verdict(
            Kind.REFUSED,
            f"platform linux/{node.architecture}",
            f"the image has no linux/{node.architecture} variant, only "
            f"{', '.join(f'linux/{architecture}' for architecture in image.architectures)}.",
            remedy="Select nodes of another architecture, or an image that is built for it.",
        )
    if mode == "csv":
        return Verdict(
            Kind.UNKNOWN,
            "csv mode",
            "on Tegra another evaluator decides, by CUDA version and compute capability alone.",
            remedy="Start the image on the device once, then accept it with [accept_unknown].",
        )
    if not image.cuda and not _asks(image):
        return Verdict(
            Kind.UNKNOWN,
            "no CUDA_VERSION",
            "the image states no CUDA version and no requirement: it may hold no CUDA at all.",
            remedy="Take a -cuda variant of it, or accept it with [accept_unknown].",
        )
    if not image.cuda and mode == "cdi":
        return Verdict(
            Kind.UNKNOWN,
            "no CUDA_VERSION",
            "the image states no CUDA version, and nobody evaluates its requirements in CDI mode.",
            remedy="Start the image there once, then accept it with [accept_unknown].",
        )
    if not node.driver and not node.cuda:
        return Verdict(
            Kind.UNKNOWN,
            "no driver label",
            "nothing says which driver the node has.",
            remedy="Install gpu-feature-discovery, let portal.stt.gpu_node_probe read the driver on the node, or "
            "accept it with [accept_unknown].",
        )
    return None


def _judge_host(image: CudaImage, node: GpuNode, host: Host, mode: str) -> Verdict:
    outcomes: tuple[Outcome, ...] = ()
    if mode == "legacy":
        try:
            outcomes = gate(image.env, host)
        except RequirementError as exc:
            return _unreadable(exc)
        if outcomes and not outcomes[-1].satisfied:
            return _refused_by_gate(outcomes[-1], node, host)
    rules = ", ".join(outcome.term for outcome in outcomes if outcome.term)
    return _judge_driver(image, node, host, rules, mode)


def _unreadable(error: RequirementError) -> Verdict:
    if not error.variable:
        why = f"the runtime takes {REQUIREMENTS_MAX} requirements at most, and there are more."
        remedy = "Set NVIDIA_DISABLE_REQUIRE=true in the pod."
    else:
        why = f"the runtime cannot read {error.variable}: {error}."
        # With a rule of its own, CUDA_VERSION is not read.
        variable = "NVIDIA_REQUIRE_CUDA" if error.variable == "CUDA_VERSION" else error.variable
        remedy = f"Set {variable} in the pod to a rule that it can read (cuda>=12.0)."
    return Verdict(Kind.REFUSED, str(error), why, error.line, remedy=remedy)


def _refused_by_gate(outcome: Outcome, node: GpuNode, host: Host) -> Verdict:
    term, factor = outcome.failed[0]
    brand = host.device.brand if host.device else None
    allowances = [term for term, factor in outcome.failed if factor.lower().startswith("brand")]
    on_branch = [
        term
        for term in allowances
        if all(
            _holds_alone(factor, host)
            for factor in term.split(",")
            if factor and not factor.lower().startswith("brand")
        )
    ]
    if on_branch:
        brands = ", ".join(sorted({match[1] for term in on_branch for match in re.finditer(r"brand=([^,]+)", term)}))
        why = f"; its allowance for this driver is for the brands {brands}, and this card's is {brand}"
    elif len(outcome.failed) > 1:
        why = f"; none of its {len(outcome.failed) - 1} allowances is for this driver"
    else:
        why = ""
    actual = {"cuda": host.cuda, "driver": host.driver}.get(re.split("[<>=!]", factor)[0].lower())
    has = f", the node has {actual}" if actual else ""
    return Verdict(
        Kind.REFUSED,
        term,
        f"the image requires {factor}{has}{why}.",
        outcome.line,
        remedy=_newer_driver(factor),
    )


def _judge_driver(image: CudaImage, node: GpuNode, host: Host, rules: str, mode: str) -> Verdict:
    """What the driver itself will say, once the container runs. rules: the terms by which the gate let it pass."""
    cuda, has = image.cuda, host.cuda or ""
    passed = _passed(rules, mode)
    if not cuda:
        return Verdict(Kind.ALLOWED, rules, f"{passed}; the image states no CUDA version to compare the driver's with.")
    lowest = _lowest_capability(cuda)
    if node.compute_capability and lowest and compare_versions(node.compute_capability, lowest) < 0:
        return Verdict(
            Kind.REFUSED,
            f"compute capability >= {lowest}",
            f"CUDA {cuda} has no code for compute capability {node.compute_capability}: it ends at {lowest}.",
            notes=("the container would start: no kernel image is available for execution on the device.",),
        )
    if compare_versions(has, cuda) >= 0:
        runs = f"{f'{passed}; ' if mode == 'cdi' else ''}the driver's CUDA {has} runs the image's CUDA {cuda}"
        if image.doubt:
            return Verdict(Kind.ALLOWED, rules or f"CUDA {has} >= {cuda}", f"{runs}, but {image.doubt}.")
        return Verdict(Kind.NATIVE, rules or f"CUDA {has} >= {cuda}", f"{runs}.")
    if has.split(".")[0] == cuda.split(".")[0]:
        return Verdict(
            Kind.ALLOWED,
            rules or "minor-version compatibility",
            f"{passed}; the driver's CUDA {has} runs the image's CUDA {cuda} by minor-version compatibility.",
            notes=(
                "code that is compiled on the card (PTX) fails on an older driver with "
                "cudaErrorUnsupportedPtxVersion, newer driver features with cudaErrorCallRequiresNewerDriver.",
                *_compat_notes(image, host, "that limit is gone"),
            ),
        )
    return _by_forward_compatibility(image, host, rules, passed)


def _passed(rules: str, mode: str) -> str:
    if rules:
        return f"passes by {rules}"
    if mode == "cdi":
        return "nobody evaluates its requirements in CDI mode"
    return "it has no requirement that is in the way"


def _lowest_capability(cuda: str) -> str:
    """The lowest compute capability that a CUDA version has code for; empty where none is known."""
    return max((low for major, low in _LOWEST.items() if major <= int(cuda.split(".")[0])), default="")


def _by_forward_compatibility(image: CudaImage, host: Host, rules: str, passed: str) -> Verdict:
    """The verdict where the image's CUDA is of another major version than the driver's, and newer."""
    cuda, has = image.cuda, host.cuda or ""
    brand = host.device.brand if host.device else None
    if image.compat != "" and (brand is None or brand in _DATA_CENTRE | _PERHAPS):
        perhaps = brand in _PERHAPS
        return Verdict(
            Kind.UNKNOWN if perhaps else Kind.ALLOWED,
            rules or "forward compatibility",
            f"{passed}; the driver's CUDA {has} runs the image's CUDA {cuda} only by the image's "
            f"forward-compatibility package{f', which is for some {brand} cards only (NGC-Ready)' if perhaps else ''}.",
            notes=(
                *_compat_notes(image, host, "it works"),
                "otherwise: CUDA driver version is insufficient for CUDA runtime version.",
            ),
            remedy="Where NVIDIA lists the card as NGC-Ready, accept it with [accept_unknown]." if perhaps else "",
        )
    why = (
        "it holds no forward-compatibility package"
        if image.compat == ""
        else f"forward compatibility is not for {brand} cards"
    )
    return Verdict(
        Kind.REFUSED,
        f"CUDA {cuda.split('.')[0]}",
        f"{passed}, but the driver's CUDA {has} cannot run the image's CUDA {cuda}: {why}.",
        notes=("the container would start: CUDA driver version is insufficient for CUDA runtime version.",),
        remedy=_newer_driver(f"cuda>={cuda}"),
    )


def _undecided(node: GpuNode, answers: Sequence[Verdict]) -> Verdict:
    missing = []
    if not node.driver or "." not in node.driver:
        missing.append("the driver's full version")
    if not node.cuda:
        missing.append("its CUDA version")
    if len(node.brands) != 1:
        missing.append("the card's brand")
    bad = max(answers, key=lambda answer: ORDER.index(answer.kind))
    return Verdict(
        Kind.UNKNOWN,
        bad.rule,
        f"it depends on {' and '.join(missing)}, which the node's labels do not tell; at worst: {bad.reason}",
        bad.runtime_message,
        remedy="Let portal.stt.gpu_node_probe read the driver on the node, or accept it with [accept_unknown].",
    )


def _node_notes(image: CudaImage, node: GpuNode, today: date) -> Iterator[str]:
    capability = node.compute_capability
    if capability and image.cuda:
        known = _FIRST_TOOLKIT.get(int(capability.split(".")[0]))
        if known and compare_versions(image.cuda, known) < 0:
            yield (
                f"compute capability {capability} is known to CUDA {known} and newer: the image's CUDA {image.cuda} "
                "has only PTX for it, compiled at the first start."
            )
    branch = node.driver.split(".")[0]
    if not branch.isdecimal():
        return
    last = next((last for low, last in _LAST_BRANCH if capability and compare_versions(capability, low) < 0), 0)
    if last:
        yield f"driver branch {last} is the last for compute capability {capability}."
    end = _END_OF_LIFE.get(int(branch))
    if end and end < today:
        yield f"driver branch {branch} reached its end of life in {end:%B %Y}."
    elif not end and int(branch) < max(_END_OF_LIFE):
        yield f"driver branch {branch} is not in NVIDIA's support."


def _compat_notes(image: CudaImage, host: Host, effect: str) -> Iterator[str]:
    """The forward-compatibility package on a driver that is older than the image's CUDA: is it there, and for this one?

    effect: what comes of it where the container toolkit puts it in place.
    """
    if image.compat == "":
        yield "the image holds no cuda-compat."
        return
    holds = (
        f"the image holds cuda-compat {image.compat}"
        if image.compat
        else "the registry does not tell whether the image holds cuda-compat"
    )
    brand = host.device.brand if host.device else None
    if brand is not None and brand not in _DATA_CENTRE | _PERHAPS:
        yield (
            f"{holds}; it is not for {brand} cards: put in place there, it ends with: forward compatibility was "
            "attempted on non supported HW."
        )
        return
    only = f", and the {brand} card is NGC-Ready" if brand in _PERHAPS else ""
    yield f"{holds}: where the container toolkit puts it in place (1.17.4 alone does not by default){only}, {effect}."
    branch = (host.driver or "").split(".")[0]
    if branch not in _FORWARD_BRANCHES:
        yield (
            f"NVIDIA does not list driver branch {branch or 'unknown'} for it: cuda-compat 12.9 on 560.35.05 ended in "
            "a segmentation fault in libnvidia-ptxjitcompiler (speaches#464)."
        )


def _hosts(image: CudaImage, node: GpuNode) -> Iterator[Host]:
    """Every host that the node may be, as far as the image's rules tell them apart."""
    try:
        rules = " ".join(requirements(image.env).values())
    except RequirementError:
        rules = ""
    limits: dict[str, set[str]] = {"cuda": {image.cuda or "0"}, "driver": set(), "arch": set()}
    for name, version in _LITERAL.findall(rules):
        limits[name.lower()].add(version)
    drivers = [node.driver] if "." in node.driver else _versions(node.driver, limits["driver"])
    cudas = [node.cuda] if node.cuda else _versions("", limits["cuda"])
    if node.compute_capability or not limits["arch"]:
        archs = [node.compute_capability or "0"]
    else:
        archs = _versions("", limits["arch"])
    for driver, cuda, arch, brand in product(drivers, cudas, archs, node.brands or ALL_BRANDS):
        yield Host(cuda, driver, Device(arch, brand))


def _versions(branch: str, literals: Iterable[str]) -> list[str]:
    """Versions that stand for all of a branch (of every branch, when empty): each limit, and what lies above it."""
    low, high = branch or "0", f"{branch or '999999'}.999999"
    inside = {
        version
        for version in literals
        if _comparable(version) and compare_versions(low, version) <= 0 <= compare_versions(high, version)
    }
    points = sorted(inside, key=sort_key)
    return [low, f"{low}.0.1", *(point for one in points for point in (one, f"{one}.0.0.1")), high]


def _comparable(version: str) -> bool:
    """Whether the runtime could read all of it: no number is too large for it, none missing in front."""
    try:
        return compare_versions(version, version) == 0
    except RequirementError:
        return False


def _asks(image: CudaImage) -> bool:
    try:
        return any(rule.strip(" ,") for rule in requirements(image.env).values())
    except RequirementError:
        return True


def _holds_alone(factor: str, host: Host) -> bool:
    try:
        return evaluate(factor, host).satisfied
    except RequirementError:
        return False


def _newer_driver(factor: str) -> str:
    match = re.fullmatch(r"cuda>=?(\d+(?:\.\d+)?)", factor, re.IGNORECASE)
    branch = (
        match
        and _comparable(match[1])
        and next(
            (branch for branch, cuda in sorted(BRANCH_CUDA.items()) if compare_versions(cuda, match[1]) >= 0), None
        )
    )
    return f"Update the node's driver to branch {branch} or newer." if branch else ""


def _deciding(node: GpuNode) -> tuple[object, ...]:
    return (
        node.pool,
        node.product,
        node.brands,
        node.driver,
        node.cuda,
        node.compute_capability,
        node.architecture,
        node.runtime_mode,
        node.cards,
        OUT_OF_REACH.intersection(node.problems),
    )


def sort_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d{1,18}", version))
