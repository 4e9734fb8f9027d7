"""What report.json holds of results, whoever wrote what is in them; its schema; and what it never holds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, get_type_hints, is_typeddict

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import Finding, Status
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Reading
from ansible_collections.portal.stt.plugins.module_utils._report import document as documents
from ansible_collections.portal.stt.plugins.module_utils._report import memory, rollout, speech
from ansible_collections.portal.stt.plugins.module_utils._report.document import document
from jsonschema import Draft202012Validator

from tests import reports
from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "</title></svg><svg onload=alert(1)>",
    "javascript:alert(1)",
    "\u202egnp.exe\u2066",
    "a\x00b\x1b[2Jc\x07",
    "\ud800\udfff half",
    "{{ 7 * 7 }}{% raw %}",
    "ж" * 1_000_000,
    "&lt;b&gt; &#x3c;b&#x3e;",
    "מִבְחָן العربية 漢字",
]
"""What pods, labels, servers and clusters may say."""


def test_the_schema_is_sound() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("name", ["whole", "2026-06-02", "2026-08-31"])
def test_a_report_keeps_the_schema(name: str) -> None:
    found = reports.whole() if name == "whole" else reports.incident(name)
    VALIDATOR.validate(json.loads(json.dumps(found)))


def types() -> Iterator[type]:
    for module in (documents, memory, rollout, speech):
        yield from (one for one in vars(module).values() if is_typeddict(one) and one.__module__ == module.__name__)


def test_schema_and_types_have_the_same_keys() -> None:
    said = {name: set(one["properties"]) for name, one in SCHEMA["$defs"].items()}
    said["Document"] = set(SCHEMA["properties"]) - {"$schema"}
    assert said == {one.__name__: set(get_type_hints(one)) for one in types()}
    assert all(set(one["required"]) == set(one["properties"]) for one in SCHEMA["$defs"].values())


def test_what_a_whole_run_tells() -> None:
    found = reports.whole()
    assert (found["play"], found["verdict"], found["summary"]) == ("verify", "warning", "2 fine, 1 to know")
    assert found["image"] == {"reference": reports.IMAGE["image"]["reference"], "digest": f"sha256:{'2c6f5272' * 8}"}
    assert [(one["status"], one["play"], one["check"]) for one in found["findings"]][:3] == [
        ("refused", "preflight", "cuda.requirement"),
        ("warning", "verify", "gpu.budget"),
        ("warning", "preflight", "cuda.requirement"),
    ]
    assert [(one["play"], one["at"], one["source"]) for one in found["memory"]] == [
        ("preflight", "2026-11-27T01:40:00Z", "Service monitoring/prometheus-server:80"),
        ("verify", "2026-11-27T01:40:00Z", "Service monitoring/prometheus-server:80"),
    ]
    assert [(one["tag"], one["own"], one["verdicts"]) for one in found["images"][0]["variants"]] == [
        ("0.9.0-rc.3-cuda", True, ["allowed", "refused"]),
        ("0.9.0-rc.3-cuda-12.6.3", False, ["native", "native"]),
        ("0.9.0-rc.3-cuda-12.4.1", False, ["native", "native"]),
        ("0.9.0-rc.3-cpu", False, ["unknown", "unknown"]),
    ]
    assert found["changes"] == [
        {
            "name": "Deployment portal-stt/portal-stt",
            "how": "changed",
            "paths": ["spec.replicas", "spec.template.spec.containers[0].image"],
        },
        {"name": "Service portal-stt/portal-stt", "how": "created", "paths": []},
    ]


def test_the_operators_card_to_the_mib() -> None:
    before, after = reports.whole()["memory"]
    (card,) = before["cards"]
    assert (card["total"], card["reserved"], card["usable"]) == (15360, 447, 14913)
    assert [(one["name"], one["now"], one["peak"]) for one in card["tenants"]] == [
        ("llama-cpp/llama-swap", 0, 4455),
        ("immich/immich-machine-learning", 2150, 2150),
        ("frigate/frigate", 1950, 1950),
        ("android/emulator", 150, 150),
    ]
    assert card["budget"] is not None
    assert {key: card["budget"][key] for key in ("fit", "left", "left_now", "ours", "name")} == {
        "fit": "fits", "left": 4708, "left_now": 9163, "ours": 1500, "name": reports.OURS,
    }  # fmt: skip
    (card,) = after["cards"]
    assert [(one["name"], one["now"], one["peak"]) for one in card["tenants"] if one["ours"]] == [
        (reports.OURS, 1482, 1516)
    ]
    assert (card["unattributed"], card["budget"] and card["budget"]["ours"]) == (90, 1516)


@pytest.mark.parametrize(
    ("name", "ours", "shrink"),
    [
        ("2026-06-02", 4455, [{"name": "immich/ml", "peak": 10726, "to": 7334}]),
        ("2026-08-31", 1500, [{"name": "immich/ml", "peak": 12044, "to": 9572}]),
    ],
)
def test_an_incident_names_who_would_have_to_shrink(name: str, ours: int, shrink: list[dict[str, Any]]) -> None:
    found = reports.incident(name, ours)
    budget = found["memory"][0]["cards"][0]["budget"]
    assert (found["verdict"], budget and budget["fit"], budget and budget["shrink"]) == (
        "refused",
        "does not fit",
        shrink,
    )


@pytest.mark.parametrize(
    ("expected", "heard", "parts"),
    [
        ("A b c.", "a, B c", [(True, "A b c.", "a, B c")]),
        ("a b c", "a c", [(True, "a", "a"), (False, "b", ""), (True, "c", "c")]),
        ("a c", "a b c", [(True, "a", "a"), (False, "", "b"), (True, "c", "c")]),
        ("a b c", "a x c", [(True, "a", "a"), (False, "b", "x"), (True, "c", "c")]),
        ("a", "", [(False, "a", "")]),
        ("", "", []),
        ("الباب مفتوح", "الباب مغلق", [(True, "الباب", "الباب"), (False, "مفتوح", "مغلق")]),
    ],
)
def test_words_that_differ(expected: str, heard: str, parts: list[tuple[bool, str, str]]) -> None:
    assert [(one["alike"], one["expected"], one["heard"]) for one in speech.compared(expected, heard)] == parts


def test_without_spaces_characters_differ() -> None:
    found = speech.compared("你好，世界。", "你好世间", by_character=True)
    assert [(one["alike"], one["expected"], one["heard"]) for one in found] == [
        (True, "你好，世", "你好世"),
        (False, "界。", "间"),
    ]


def test_a_timeline_is_read_from_the_lines_of_progress() -> None:
    (found,) = rollout.rollouts(reports.rollout())
    assert found["name"] == "Deployment portal-stt/portal-stt"
    assert found["pods"] == [
        {"name": "portal-stt-7c9b8f6d5-x2x7k", "scheduled": 0.4, "pulled": 48.3, "started": 49.9, "ready": 74.1}
    ]
    assert found["lines"][1] == {"at": 0.4, "said": "pod portal-stt-7c9b8f6d5-x2x7k: scheduled on node gpu-node-1"}


def test_what_failed_before_its_first_line_is_a_rollout_too() -> None:
    found = Finding("rollout", Status.REFUSED, "pod portal-stt-1-2", "No card.").as_result()
    given = {"status": "failed", "progress": [], "diagnosis": {"cause": "gpu-insufficient"}, "findings": [found]}
    asked = {"invocation": {"module_args": {"namespace": "a", "name": "b", "job": None, "api_key": "x"}}}
    (one,) = rollout.rollouts({**given, **asked})
    assert (one["name"], one["cause"], one["lines"]) == ("Deployment a/b", "gpu-insufficient", [])
    (one,) = rollout.rollouts(given)
    assert one["name"] == "pod portal-stt-1-2"


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["Deployment portal-stt/portal-stt", "Service portal-stt/portal-stt"]),
        ({"changed": False}, []),  # it was tried out only
        ({"failed": True, "diff": reports.APPLIED["diff"][:1]}, ["Deployment portal-stt/portal-stt"]),
    ],
)
def test_what_changed_is_what_was_done(given: dict[str, Any], names: list[str]) -> None:
    assert [one["name"] for one in rollout.changes({**reports.APPLIED, **given})] == names


def test_a_play_that_ended_early_says_so() -> None:
    found = document(reports.run(reports.IMAGE, {}, play="deploy"))
    assert (found["verdict"], [one["message"] for one in found["findings"]]) == (
        "refused", ["did not come to its end.", "is sha256:2c6f5272…."],
    )  # fmt: skip


def test_what_is_skipped_is_not_there() -> None:
    assert document(reports.run({"skipped": True, **reports.speech()}))["speech"] == []


DONE = {"changed": True}
SECRET = "sk-0123456789abcdef"


def test_no_argument_and_no_value_of_an_object_gets_in() -> None:
    diff = {"after_header": "Deployment portal-stt/portal-stt", "before": "a: 1\n", "after": f"a: {SECRET}\n"}
    applied = {**reports.APPLIED, "diff": [diff]}
    more = {"invocation": {"module_args": {"server_api_key": SECRET}}, "stdout": SECRET, "environment": SECRET}
    found = document(
        reports.run(*({**one, **more} for one in (applied, reports.speech(), reports.rollout(), reports.IMAGE)))
    )
    assert SECRET not in json.dumps(found)
    assert found["changes"][0]["paths"] == ["a"]


def everywhere(text: str) -> documents.Run:
    """A run of which every text is this one."""
    seat = reports.seat(f"{text}/{text}", 100, 3000)
    read = reports.on_card({})
    reading = Reading(read.cards, (seat,), known=True, source=text)
    found = Finding(text, Status.REFUSED, text, text, text, (text, text)).as_result()
    results: list[dict[str, Any]] = [
        {"findings": [found]},
        {"image": {"reference": text, "digest": text}},
        *reports.memory(reading, namespace=text, container=text, ours_mib=15000),
        {"verdicts": [{"nodes": [text], "product": text, "driver": text, "cuda": text, "pool": text}],
         "variants": [{"reference": text, "tag": text, "cuda": text, "verdicts": [text]}]},
        {"item": {"model": text}, "clips": [reports.clip(text, text, text, text[::-1])], "first_seconds": 1.0},
        reports.rollout(progress=[f"  0.1 s  pod a-b: {text}", f"  0.2 s  {text}", "  0.3 s  scheduled on node x"],
                        status=text, findings=[found], diagnosis={"cause": text, "what": text}),
        {**DONE, "objects_changed": [text], "diff": [{"after_header": text, "before": f"{text}: 1", "after": "a: 2"}]},
    ]  # fmt: skip
    return reports.run(*results, cluster=text, play=text, collection=text, ansible=text, earlier={text: results[:1]})


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text)[:30])
def test_whatever_others_write_is_bounded_and_can_be_seen(text: str) -> None:
    began = time.process_time()
    found = document(everywhere(text))
    written = json.dumps(found, ensure_ascii=False)
    VALIDATOR.validate(json.loads(written))
    assert len(written.encode()) < 200_000  # a half surrogate could not be encoded
    assert not [char for char in written if not char.isprintable()]
    assert time.process_time() - began < 20


@pytest.mark.parametrize(
    "result",
    [
        {"reading": {"cards": 1}},
        {"reading": None, "budgets": "x"},
        {"clips": "x", "pods": 3},
        {"clips": [1, None, {"seconds": ["x", None, float("nan"), float("inf"), 1e300], "wer": "1"}]},
        {"status": 1, "progress": "x"},
        {"status": "complete", "progress": [1, None, "x", " 1 s  "]},
        {"verdicts": [{}], "variants": [{}]},
        {"verdicts": {}, "variants": [1]},
        {**DONE, "objects_changed": [1, None], "diff": "x"},
        {**DONE, "objects_changed": ["a"], "diff": [{"after_header": "a", "before": "{[", "after": "b: ]"}]},
        {"image": "x"},
        {"results": [None, 1, {"results": "x"}]},
    ],
)
def test_results_of_any_shape_make_a_report(result: dict[str, Any]) -> None:
    VALIDATOR.validate(json.loads(json.dumps(document(reports.run(result)), allow_nan=False)))


def test_what_is_too_much_is_left_out_and_said() -> None:
    many = [
        Finding("run", Status.OK, f"task {number}", "x", evidence=("y",) * 100).as_result() for number in range(600)
    ]
    found = document(reports.run({"findings": many}))
    assert (len(found["findings"]), len(found["findings"][0]["evidence"])) == (500, 61)
    assert found["cut"] == ["100 of 600 findings are left out: the run's own output has them."]
