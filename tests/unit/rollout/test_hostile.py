"""Objects as nobody should make them: whatever a cluster's tenants write, there is an answer and no traceback."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._rollout.back import stuck
from ansible_collections.portal.stt.plugins.module_utils._rollout.compare import way_back
from ansible_collections.portal.stt.plugins.module_utils._rollout.decide import Memory, advance
from ansible_collections.portal.stt.plugins.module_utils._rollout.declared import foreign
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import Diagnosis
from ansible_collections.portal.stt.plugins.module_utils._rollout.last_words import LastWords, last_words
from ansible_collections.portal.stt.plugins.module_utils._rollout.past import leftovers, past, without
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter
from ansible_collections.portal.stt.plugins.module_utils._rollout.rule import ABOUT
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Seen, Target, assemble
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.rollout.test_rollout import NOW

CAPTURED = Path(__file__).parents[2] / "fixtures" / "faults"
EXAMPLES = int(os.environ.get("PORTAL_STT_EXAMPLES", "2000"))
"""More of them are for a night: the first ones are the same each time."""

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
SERVED = {
    name: json.loads((CAPTURED / f"ok-stt-{name}.json").read_text())["items"]
    for name in ("deploy", "rs", "pod", "events")
}
TARGET = Target("Deployment", SERVED["deploy"][0]["metadata"]["namespace"], SERVED["deploy"][0]["metadata"]["name"])
FAULTS = sorted(path.stem for path in CAPTURED.glob("*.json") if not path.stem.startswith(("ok-", "node-")))
HOSTILE: list[Any] = [
    None, True, -1, 1e400, 2**80, "", "x" * 1_000_000, "\x1b]0;title\x07\x1b[2J\r\u202e\ud800", "{why} {0}", [], [None],
    ["a"], {}, {"a": None}, {"x" * 300: "y"}, "2026-11-24T05:00:00", "0/1 nodes are available: 1 ", '{"error": 1}',
]  # fmt: skip


def view() -> dict[str, dict[str, Any]]:
    paths = {
        "deploy": TARGET.collection, "rs": TARGET.replica_sets, "pod": TARGET.core("pods"),
        "events": TARGET.core("events"),
    }  # fmt: skip
    return {paths[name]: {one["metadata"]["uid"]: one for one in SERVED[name]} for name in paths}


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to everything inside of a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*at, key)
        yield from places(one, (*at, key))


def failed(name: str) -> dict[str, dict[str, Any]]:
    """A view with the pod and the events of a captured fault in place of those that serve."""
    content = json.loads((CAPTURED / f"{name}.json").read_text())
    objects = view()
    owner = {"ownerReferences": [{"uid": SERVED["rs"][0]["metadata"]["uid"], "controller": True}]}
    pod = {**content["pod"], "metadata": {**content["pod"]["metadata"], **owner}}
    objects[TARGET.core("pods")] = {pod["metadata"]["uid"]: pod}
    objects[TARGET.core("events")] = {str(number): one for number, one in enumerate(content["events"])}
    objects[TARGET.collection] = {
        uid: {**one, "status": {**one["status"], "availableReplicas": 0}}
        for uid, one in objects[TARGET.collection].items()
    }
    return objects


VIEWS = {name: failed(name) for name in FAULTS} | {"ok": view()}
TEXTS = {name: json.dumps(one) for name, one in VIEWS.items()}
PLACES = {name: [at for at in places(one) if len(at) > 2] for name, one in VIEWS.items()}


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """Captured objects in which up to four values are something else, or are missing."""
    name = draw(st.sampled_from(sorted(VIEWS)))
    objects: dict[str, Any] = json.loads(TEXTS[name])
    for at in draw(st.lists(st.sampled_from(PLACES[name]), min_size=1, max_size=4)):
        inside: Any = objects
        try:
            for key in at[:-1]:
                inside = inside[key]
            if draw(st.booleans()):
                inside[at[-1]] = draw(st.sampled_from(HOSTILE))
            else:
                del inside[at[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change has taken it away
    return objects


def judge(objects: dict[str, Any]) -> list[str]:
    """All that is done with a view; the lines that would be shown, and the answer."""
    seen = assemble(TARGET, objects)
    before = past(seen, leftovers(seen, NOW), NOW)
    lines: list[str] = []
    reporter = Reporter(clock=lambda: 0.0, show=lines.append)
    memory = Memory()
    for now in (0.0, 31.0):
        step = advance(memory, without(seen, before), now, 30, NOW)
        memory = step.memory
        for line in step.lines:
            reporter.say(line.text, line.pod)
    told = step.diagnosis
    assert all(len(line) <= 88 for line in lines)
    return [*lines, *((told.what, told.where, told.remedy, *told.evidence) if told else ())]


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(mutated())
def test_there_is_an_answer_to_everything(objects: dict[str, Any]) -> None:
    for line in judge(objects):
        assert not CONTROL.search(line), line
    for raw in objects[TARGET.collection].values():
        foreign(Target(TARGET.kind, TARGET.namespace, TARGET.name, "d", 1), raw, None)
        stuck(raw, NOW)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.recursive(st.sampled_from(HOSTILE), lambda one: st.dictionaries(st.sampled_from(list(ABOUT)), one)))
def test_any_template_can_be_compared(template: Any) -> None:
    cause = Diagnosis("some", "It fails.", "pod a", "certain", True, False, (), "", tuple(ABOUT))
    for made in (template, {"spec": template}, {"spec": {"containers": [template]}}):
        assert not way_back(cause, made, made).helps


PARSERS = (
    observed.pod, observed.event, observed.replica_set, observed.deployment, observed.job, observed.claim,
    observed.node,
)  # fmt: skip


@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)
@pytest.mark.parametrize("raw", [{}, {"metadata": []}, {"metadata": None, "spec": "x", "status": [1]}])
def test_an_object_without_anything(parse: Any, raw: dict[str, Any]) -> None:
    assert parse(raw).name == ""


def test_labels_of_a_megabyte() -> None:
    raw = {"metadata": {"name": "n" * 1_000_000, "labels": {"a": "b" * 1_000_000, "c": 1}}}
    found = observed.node(raw)
    assert (len(found.name), {name: len(value) for name, value in found.labels.items()}) == (317, {"a": 317})


def test_what_may_be_applied_again_is_kept_as_it_was() -> None:
    annotations = {"a": "\x1b[31m" + "x" * 5000}
    template = {"metadata": {"labels": {"pod-template-hash": "1", "a": "b"}}, "spec": {"x": "\x1b[31m"}}
    raw = {"metadata": {"annotations": annotations}, "spec": {"template": template}}
    found = observed.replica_set(raw)
    assert found.annotations == annotations
    assert found.template == {"metadata": {"labels": {"a": "b"}}, "spec": {"x": "\x1b[31m"}}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            '{"error": "Gated.", "cause": "401", "remedy": "Ask.", "again": false}',
            LastWords("Gated.", "401", "Ask.", False),
        ),
        ('{"error": "Gated.", "again": true}', LastWords("Gated.")),
        ('{"error": "Gated."}', LastWords("Gated.")),
        ('{"error": "Gated.", "again": "false"}', LastWords("Gated.")),
        ('{"error": "Gated.", "again": 0}', LastWords("Gated.")),
        ('{"error": "\\u001b[2JGated.\\nTwo", "cause": ["x"], "remedy": 1}', LastWords("Gated. Two")),
        ('{"error": 1}', None),
        ('{"models": []}', None),
        ("Traceback", None),
        ('{"error": "Gat', None),
        ("[" * 5000, None),
        ('{"a":' * 5000, None),
        ("", None),
    ],
)
def test_the_last_words_of_a_program(message: str, expected: LastWords | None) -> None:
    assert last_words(message) == expected


def test_a_long_explanation_is_cut() -> None:
    found = last_words(json.dumps({"error": "x" * 10_000}))
    assert found is not None
    assert len(found.error) == 600


def test_a_pod_is_told_by_whole_names() -> None:
    """The events of another Job's pod whose name begins alike are not those of this one."""
    job = {"metadata": {"name": "seed", "uid": "j"}, "spec": {}, "status": {}}
    target = Target("Job", "n", "seed")
    names = ("seed-x2x7k", "seed-2-x2x7k", "seed-1f2e3d4c5b-x2x7k")
    events = {
        name: {"metadata": {"uid": name}, "involvedObject": {"kind": "Pod", "name": name, "uid": name}}
        for name in names
    }
    found: Seen = assemble(target, {target.collection: {"j": job}, target.core("events"): events})
    assert [event.name for event in found.events] == ["seed-x2x7k"]
