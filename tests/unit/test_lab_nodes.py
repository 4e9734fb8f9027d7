"""Node files: what they declare, what becomes of it, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.console import LabError
from lab.simulated import FILES, Declared, expand, read

KNOWN = (
    "allocatable, compute, cordoned, count, cuda, driver, extra_labels, family, gpus, labels, memory_mib, name, "
    "product, ready, replicas"
)
DRIVER = "nvidia.com/cuda.driver"


def node(**fields: Any) -> dict[str, Any]:
    (made,) = expand(Declared("n", **fields))
    return made


def test_the_default_is_the_first_operators_node() -> None:
    made = node()
    labels = made["metadata"]["labels"]
    assert made["spec"] == {"taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]}
    assert made["status"]["allocatable"]["nvidia.com/gpu"] == "100"
    assert labels["nvidia.com/gpu.present"] == "true"
    assert labels["nvidia.com/gpu.product"] == "Tesla-T4-SHARED"
    assert labels["nvidia.com/gpu.memory"] == "15360"
    assert labels[f"{DRIVER}-version.full"] == "570.195.03"
    assert [labels[f"{DRIVER}.{part}"] for part in ("major", "minor", "rev")] == ["570", "195", "03"]
    assert labels["nvidia.com/cuda.runtime-version.full"] == "12.8"


@pytest.mark.parametrize(
    ("style", "old", "new"),
    [("both", True, True), ("old", True, False), ("new", False, True), ("none", False, False)],
)
def test_label_styles(style: str, old: bool, new: bool) -> None:
    labels = node(labels=style)["metadata"]["labels"]
    assert (f"{DRIVER}.major" in labels, f"{DRIVER}-version.full" in labels) == (old, new)
    assert ("nvidia.com/gpu.product" in labels) == (style != "none")
    assert labels["nvidia.com/gpu.present"] == "true"


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        ({}, "100"),
        ({"replicas": 1}, "1"),
        ({"gpus": 8, "replicas": 1}, "8"),
        ({"allocatable": 0}, "0"),
        ({"product": ""}, None),
    ],
)
def test_seats(fields: dict[str, Any], offered: str | None) -> None:
    assert node(**fields)["status"]["allocatable"].get("nvidia.com/gpu") == offered


def test_a_node_without_a_card_has_neither_labels_nor_taint_of_one() -> None:
    made = node(product="")
    assert not [label for label in made["metadata"]["labels"] if label.startswith("nvidia.com/")]
    assert made["spec"] == {}


def test_conditions_and_cordon() -> None:
    def ready(made: dict[str, Any]) -> str:
        return next(str(c["status"]) for c in made["status"]["conditions"] if c["type"] == "Ready")

    assert (ready(node()), ready(node(ready=False))) == ("True", "False")
    assert node(cordoned=True)["spec"]["unschedulable"] is True


def test_count_numbers_the_names() -> None:
    assert [made["metadata"]["name"] for made in expand(Declared("a", count=3))] == ["a-0", "a-1", "a-2"]


@pytest.mark.parametrize("file", sorted(FILES.glob("*.yml")), ids=lambda file: file.stem)
def test_shipped_files_are_good(file: Path) -> None:
    names = [made["metadata"]["name"] for declared in read(file) for made in expand(declared)]
    assert names
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name: t4", "a list of nodes is expected."),
        ("- driver: 570.1", "entry 1 has no name."),
        ("- {name: a}\n- {name: b, drvier: 570.1}", f"entry 2: unknown drvier. Known: {KNOWN}."),
    ],
)
def test_what_a_file_gets_wrong_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "nodes.yml"
    file.write_text(content)
    with pytest.raises(LabError) as refused:
        read(file)
    assert str(refused.value) == f"{file}: {said}"


def test_a_missing_file_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(LabError) as refused:
        read(tmp_path / "t5.yml")
    shipped = ", ".join(sorted(file.stem for file in FILES.glob("*.yml")))
    assert str(refused.value).endswith(f"Files that come with the lab: {shipped}.")
