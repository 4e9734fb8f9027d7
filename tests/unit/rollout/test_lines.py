"""What people read while they wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._rollout.decide import Memory, advance
from ansible_collections.portal.stt.plugins.module_utils._rollout.journal import Journal
from ansible_collections.portal.stt.plugins.module_utils._rollout.remarks import short
from ansible_collections.portal.stt.plugins.module_utils._rollout.reporter import Reporter, cut
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Seen

from tests.unit.speaches.test_seed import seed

DIGEST = "0123456789abcdef" * 4
IMAGE = f"ghcr.io/speaches-ai/speaches@sha256:{DIGEST}"
REPLICA_SET = observed.ReplicaSet("stt-7c9b", "r", 1, "", 0, {}, {}, {})
DEPLOYMENT = observed.Deployment("stt", "d", 1, 1, False, 1, 1, 1, 0, {}, {})
SECONDS = {"failureThreshold": 120, "periodSeconds": 5}


def pod(name: str = "stt-7c9b-x2x7k", **status: Any) -> observed.Pod:
    spec = {"nodeName": "gpu-1", "containers": [{"name": "stt", "image": IMAGE, "startupProbe": SECONDS}]}
    meta = {"name": name, "uid": name, "creationTimestamp": "2026-11-24T05:00:00Z"}
    return observed.pod({"metadata": meta, "spec": spec, "status": {"phase": "Running", **status}})


def running(name: str = "stt-7c9b-x2x7k", since: str = "2026-11-24T05:00:00Z", **more: Any) -> observed.Pod:
    state = {"running": {"startedAt": since}}
    conditions = [{"type": "Ready", "status": "True" if more.get("ready") else "False"}]
    return pod(name, containerStatuses=[{"name": "stt", "state": state, **more}], conditions=conditions)


def event(reason: str, message: str, name: str = "stt-7c9b-x2x7k") -> observed.Event:
    return observed.Event("Pod", name, name, "Normal", reason, message, 1, "2026-11-24T05:00:00Z")


def view(*pods: observed.Pod, events: tuple[observed.Event, ...] = (), old: tuple[observed.Pod, ...] = ()) -> Seen:
    return Seen(
        "Deployment", "n", "stt", DEPLOYMENT, None, (REPLICA_SET,), REPLICA_SET, pods, old_pods=old, events=events
    )


PULLING = event("Pulling", f'Pulling image "{IMAGE}"')
PULLED = event(
    "Pulled", f'Successfully pulled image "{IMAGE}" in 1m20s (1m20s including waiting). Image size: 9 bytes.'
)
CREATING = pod(containerStatuses=[{"name": "stt", "state": {"waiting": {"reason": "ContainerCreating"}}}])
BEGUN = view(running(), events=(PULLING, PULLED))


def probe(said: str) -> Seen:
    return view(running(), events=(PULLING, PULLED, event("Unhealthy", f"Startup probe failed: {said}")))


READY = running(started=True, ready=True)


def shown(*looks: tuple[float, Seen], wall: datetime | None = None) -> list[str]:
    """The lines of a rollout that is looked at at these seconds."""
    clock = [0.0]
    lines: list[str] = []
    reporter = Reporter(clock=lambda: clock[0], show=lines.append)
    memory = Memory()
    for now, seen in looks:
        clock[0] = now
        step = advance(memory, seen, now, 900, wall)
        memory = step.memory
        for line in step.lines:
            reporter.say(line.text, line.pod)
    return lines


def test_a_start_reads_like_a_story() -> None:
    looks = [
        (0.3, view(CREATING)),
        (1.1, view(CREATING, events=(PULLING,))),
        (31.2, view(CREATING, events=(PULLING,))),
        (82.0, BEGUN),
        (83.0, probe("warm: loading model, 1 s")),
        *[(second, probe(f"warm: loading model, {second} s")) for second in range(84, 114)],
        (114.0, view(READY, events=(PULLING, PULLED))),
    ]
    assert shown(*looks) == [
        "  0.3 s  pod stt-7c9b-x2x7k: scheduled on node gpu-1",
        "  1.1 s  pulling ghcr.io/speaches-ai/speaches@sha256:0123456789ab…",
        " 31.2 s  still pulling ghcr.io/speaches-ai/speaches@sha256:0123456789ab…, for 30 s",
        " 82.0 s  image pulled in 1m20s",
        " 82.0 s  container started; its startup probe gives it 600 s",
        " 83.0 s  startup probe says: warm: loading model, 1 s",
        "113.0 s  still waiting for the startup probe: 31 s of 600 s; it says: warm: loading mod…",
        "114.0 s  ready",
    ]


def test_what_a_probe_says_is_said_every_ten_seconds_at_most() -> None:
    words = [f"warm: {'x' * second}" for second in range(30)]
    told = [line for line in shown((0, BEGUN), *[(s, probe(words[s])) for s in range(1, 30)]) if "says" in line]
    assert [line[:5].strip() for line in told] == ["1.0", "11.0", "21.0"]


@pytest.mark.parametrize(
    ("wall", "spent"),
    [
        ("2026-11-24T05:05:00+00:00", "330 s of 600 s"),
        ("2026-11-24T04:59:00+00:00", "30 s of 600 s"),  # the node's clock is ahead
        ("2026-11-25T05:00:00+00:00", "630 s of 600 s"),  # it is a day behind
    ],
)
def test_a_container_that_ran_before_the_watch_has_waited_longer(wall: str, spent: str) -> None:
    lines = shown((0, BEGUN), (30, BEGUN), wall=datetime.fromisoformat(wall).astimezone(UTC))
    assert lines[-1] == f" 30.0 s  still waiting for the startup probe: {spent}"


def test_pods_are_named_once_and_by_their_ends_where_lines_mix() -> None:
    going = pod("stt-5d7c-aaaaa")
    old = replace(going, deleting=True)
    one, two = running(), running("stt-7c9b-zzzzz")
    both = (running(started=True, ready=True), running("stt-7c9b-zzzzz", started=True, ready=True))
    assert shown((0, view(one, two, old=(old,))), (5, view(*both, old=(old,)))) == [
        "  0.0 s  pod stt-5d7c-aaaaa: old revision, is stopping",
        "  0.0 s  pod stt-7c9b-x2x7k: scheduled on node gpu-1",
        "  0.0 s  container started; its startup probe gives it 600 s",
        "  0.0 s  pod stt-7c9b-zzzzz: scheduled on node gpu-1",
        "  0.0 s  container started; its startup probe gives it 600 s",
        "  5.0 s  x2x7k: ready",
        "  5.0 s  zzzzz: ready",
    ]


def test_a_cause_that_may_pass_names_its_pod_no_more() -> None:
    state = {"waiting": {"reason": "ErrImagePull", "message": "dial tcp 10.0.0.1:443: connect: connection refused"}}
    failing = view(pod(containerStatuses=[{"name": "stt", "state": state}]))
    first, *others = shown(*[(second, failing) for second in (0, 1, 2, 9, 18, 27, 33)])
    assert first == "  0.0 s  pod stt-7c9b-x2x7k: scheduled on node gpu-1"
    assert [line[:42] for line in others] == [
        "  2.0 s  not final yet: The node cannot re",
        " 33.0 s  still waiting: The node cannot re",
    ]
    assert all(len(line) <= 88 for line in others)


def test_a_line_keeps_its_width_and_the_result_has_all_of_it() -> None:
    shown: list[str] = []
    reporter = Reporter(clock=lambda: 0.0, show=shown.append, width=20)
    reporter.say("\x1b[31mred\x1b[0m \x1b]0;title\x07alert\r\n\u202emore and more \ud800of it")
    assert shown == ["  0.0 s  red alert…"]
    assert reporter.lines == ["  0.0 s  red alert more and more of it"]


@pytest.mark.parametrize(
    ("line", "expected"), [("a" * 9, "a" * 9), ("a" * 11, "a" * 9 + "…"), ("a\tb\nc", "a b c"), ("", "")]
)
def test_cut(line: str, expected: str) -> None:
    assert cut(line, 10) == expected


@pytest.mark.parametrize("image", ["img:1", "ghcr.io/a/b@sha256:0123"])
def test_only_a_digest_is_made_shorter(image: str) -> None:
    assert short(image) == image


def read(*lines: tuple[float, str]) -> list[tuple[float, str]]:
    """What is passed on of a log."""
    journal, told = Journal(), []
    for now, line in lines:
        journal, said = journal.read(line, now)
        if said:
            told.append((now, said))
    return told


TURBO = "org/whisper-turbo"


def loading(share: int, model: str = TURBO) -> str:
    done = f"{1628 * share / 100:.1f}"
    return f"seed: {model}: 2/6 files, {done} of 1628.0 MB ({share} %) on the volume, 43.1 MB/s"


def test_a_download_is_told_in_steps_of_ten() -> None:
    lines = [(2.0 * index, loading(share)) for index, share in enumerate((0, 0, 4, 9, 12, 19, 20, 55, 99, 100, 100))]
    assert read((0, f"seed: {TURBO}: revision abc, recorded on the volume"), *lines) == [
        (0, f"{TURBO}: revision abc, recorded on the volume"),
        (0, "0 % of 1628 MB on the volume, 43.1 MB/s"),
        (8, "10 % of 1628 MB on the volume, 43.1 MB/s"),
        (12, "20 % of 1628 MB on the volume, 43.1 MB/s"),
        (14, "50 % of 1628 MB on the volume, 43.1 MB/s"),
        (16, "90 % of 1628 MB on the volume, 43.1 MB/s"),
        (18, "100 % of 1628 MB on the volume, 43.1 MB/s"),
    ]


def test_the_seed_jobs_own_line_is_read_as_a_download() -> None:
    clock = iter((10.0, 12.0))
    progress = seed.Progress("org/tiny", 6, 1_628_000_000, _last=(next(clock), 0))
    progress.whole, progress.received = 814_000_000, 86_000_000
    line = progress.line(next(clock))
    assert read((0, f"seed: {line}")) == [(0, "org/tiny: 50 % of 1628 MB on the volume, 43.0 MB/s")]


def test_each_model_is_named_when_the_lines_turn_to_it() -> None:
    assert read((0, loading(0)), (1, loading(10)), (2, loading(0, "org/tiny")), (3, loading(20))) == [
        (0, f"{TURBO}: 0 % of 1628 MB on the volume, 43.1 MB/s"),
        (1, "10 % of 1628 MB on the volume, 43.1 MB/s"),
        (2, "org/tiny: 0 % of 1628 MB on the volume, 43.1 MB/s"),
        (3, f"{TURBO}: 20 % of 1628 MB on the volume, 43.1 MB/s"),
    ]


def test_lines_that_differ_in_figures_only_are_told_every_half_minute() -> None:
    lines = [(float(second), f"another run is at work on it, waiting: {second} s") for second in range(0, 70, 2)]
    assert [now for now, _ in read(*lines)] == [0, 30, 60]


def test_a_log_without_end_is_not_passed_on_for_ever() -> None:
    told = read(*[(0.0, "line " + "x" * index) for index in range(1000)])
    assert len(told) == 201
    assert told[-1][1] == "what else it writes is in its log (kubectl logs)"
