"""Causes: texts of real rollouts with their right answers, cases of public reports, and how words are taken apart."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import NEVER, RULES, diagnose
from ansible_collections.portal.stt.plugins.module_utils._rollout.remarks import awaits
from ansible_collections.portal.stt.plugins.module_utils._rollout.rule import ABOUT
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Seen
from ansible_collections.portal.stt.plugins.module_utils._rollout.words import Actor, Error, take_apart
from ansible_collections.portal.stt.plugins.module_utils._things import THINGS

from tests.causes import CORPUS, OWN, judge, load, view

IMAGE = "registry.example/stt:1"


def test_floors_of_the_corpus() -> None:
    judged = [judge(case) for case in load(CORPUS)]
    kinds = Counter(one.kind for one in judged)
    assert len(judged) == 106
    assert kinds["right"] >= 0.97 * len(judged), [str(one) for one in judged if one.kind != "right"]
    assert [str(one) for one in judged if one.kind == "wrong"] == []
    assert [str(one) for one in judged if one.harm] == []


@pytest.mark.parametrize("case", load(OWN), ids=lambda case: case["id"])
def test_own_text(case: dict[str, Any]) -> None:
    one = judge(case)
    assert (one.kind, one.harm) == ("right", ()), str(one)


@pytest.mark.parametrize("form", [0, 1, 2])
def test_an_image_is_explained_alike_in_all_forms_of_the_kubelet(form: int) -> None:
    for case in load(CORPUS):
        if case["area"] == "image":
            one = judge({**case, "given": {**case["given"], "form": form}})
            assert one.kind == "right", (form, str(one))


def waits(text: str, reason: str = "ErrImagePull") -> dict[str, Any]:
    return {"id": "x", "where": "waiting", "reason": reason, "text": text, "cause": "", "final": True, "outside": True}


def told(text: str, reason: str) -> dict[str, Any]:
    return {"id": "x", "where": "event", "reason": reason, "text": text, "cause": "", "final": True, "outside": True}


STATD = (
    'MountVolume.SetUp failed for volume "models" : mount failed: exit status 32\nMounting command: mount\n'
    "Mounting arguments: -t nfs nas.example.com:/shares/models "
    "/var/lib/kubelet/pods/6f/volumes/kubernetes.io~nfs/models\n"
    "Output: mount.nfs: rpc.statd is not running but is required for remote locking.\n"
    "mount.nfs: Either use '-o nolock' to keep locks local, or start statd.\n"
    "mount.nfs: an incorrect mount option was specified\n"
)


@pytest.mark.parametrize(
    ("case", "cause", "outside", "patience", "remedy"),
    [
        (
            waits(
                f'rpc error: code = NotFound desc = failed to pull and unpack image "{IMAGE}": '
                f"failed to unpack image on "
                "snapshotter overlayfs: unexpected media type text/html for sha256:6066: not found"
            ),
            "image-not-pulled",
            True,
            90,
            "proxy, mirror or portal",
        ),
        (
            waits("rpc error: code = Unknown desc = context deadline exceeded"),
            "image-not-pulled",
            True,
            180,
            "runtimeRequestTimeout",
        ),
        (
            waits(
                f'failed to resolve reference "{IMAGE}": failed to do request: Head '
                f'"https://registry.example/v2/": tls: '
                "failed to verify certificate: x509: certificate has expired or is not yet valid: current time "
                "2025-06-12T03:05:25Z is after 2025-06-07T05:48:45Z"
            ),
            "registry-tls",
            True,
            60,
            "node's clock",
        ),
        (
            told(
                "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: no "
                'runtime for "nvidia" is configured',
                "FailedCreatePodSandBox",
            ),
            "sandbox-failed",
            True,
            90,
            "[spec.runtimeClassName]",
        ),
        (told(STATD, "FailedMount"), "statd-not-running", False, 20, "nolock"),
        (
            waits(
                'failed to generate container "007d" spec: failed to generate spec: lstat /run/nvidia/driver/dev/'
                "nvidiactl: no such file or directory",
                "CreateContainerError",
            ),
            "gpu-runtime",
            True,
            90,
            "GPU Operator",
        ),
        (
            {
                **told("Pod ephemeral local storage usage exceeds the total limit of containers 2Gi. ", "Evicted"),
                "where": "eviction",
                "given": {"ran": True},
            },
            "storage-limit-exceeded",
            False,
            0,
            "Raise the limit",
        ),
        (
            {
                **told(
                    '0/3 nodes are available: persistentvolumeclaim "portal-stt-models" is being '
                    "deleted. preemption: 0/3 "
                    "nodes are available: 3 Preemption is not helpful for scheduling.",
                    "Unschedulable",
                ),
                "where": "scheduler",
            },
            "claim-missing",
            True,
            60,
            "Wait until it is gone",
        ),
    ],
)
def test_case_of_a_public_report(case: dict[str, Any], cause: str, outside: bool, patience: float, remedy: str) -> None:
    found = diagnose(view(case))
    assert found is not None
    assert (found[0].cause, found[0].outside, found[1].patience) == (cause, outside, patience)
    assert remedy in found[0].remedy


@pytest.mark.parametrize(
    ("name", "what", "remedy", "patience", "outside"),
    [
        ("t01", "The node's container runtime cannot unpack docker.io/library/test-image:0.1: ", "anew", 90, False),
        (
            "t02",
            "What the node got of registry.example/stt:1 is not what its digest says: ",
            "proxy or mirror in between and at the node's disk",
            60,
            True,
        ),
        (
            "t03",
            "The node cannot write ghcr.io/example/java-hw-estgz to its disk: ",
            "and at what it lies on",
            90,
            True,
        ),
        (
            "t04",
            "What answers as the registry of docker.io/library/nginx:latest refuses the request: ",
            "the tag may well be there",
            90,
            True,
        ),
        (
            "t05",
            "The registry knows docker.io/library/openjdk:11.0.11-jre-slim-buster, and lacks a part of it: ",
            "let that fetch it anew",
            60,
            False,
        ),
        (
            "t06",
            "What answers as the registry of docker.io/neosmemo/memos:stable has an error of its own: ",
            "Wait and run again",
            90,
            True,
        ),
        (
            "t08",
            "The node's container runtime cannot read what it has of registry.example/stt:1: ",
            "crictl rmi",
            60,
            True,
        ),
        ("t11", "The kubelet rejects the pod: TopologyAffinityError. ", "policies of topology", 90, True),
        (
            "t13",
            "NVIDIA's container runtime cannot give the container its GPU: "
            "unresolvable CDI devices nvidia.com/pgpu=vfio1.",
            "GPU Operator",
            90,
            True,
        ),
        (
            "t16",
            "Container stt was killed for want of memory before it began; its limit is 8Mi.",
            "Raise [spec.containers.resources].",
            0,
            False,
        ),
        ("t17", "The node cannot prepare the devices that the pod claims: ", "ResourceClaims", 90, True),
        (
            "t25",
            "The pod has to keep away from, or near to, other pods, and no GPU node is left: pod affinity rules.",
            "Change the affinity",
            30,
            False,
        ),
        (
            "t30",
            "The liveness probe fails and the kubelet restarts container stt: rpc error: code = DeadlineExceeded",
            "needs a longer timeout",
            0,
            False,
        ),
        ("t32", "The container runs and its readiness probe fails: failed to run in container", "", 180, False),
    ],
)
def test_what_is_said_of_a_text(name: str, what: str, remedy: str, patience: float, outside: bool) -> None:
    (case,) = (one for one in load(OWN) if one["id"] == name)
    found = diagnose(view(case))
    assert found is not None
    assert found[0].what.startswith(what)
    assert remedy in found[0].remedy
    assert (found[1].patience, found[0].outside) == (patience, outside)


def test_a_sentence_ends_once() -> None:
    (case,) = (one for one in load(OWN) if one["id"] == "t39")
    found = diagnose(view(case))
    assert found is not None
    assert found[0].what == (
        "NVIDIA's container runtime cannot give the container its GPU: "
        'could not select device driver "" with capabilities: [[gpu]].'
    )


def test_a_probe_that_errs_is_quoted_in_the_newer_words_too() -> None:
    said = "Readiness probe errored and resulted in unknown state: rpc error: code = NotFound desc = no such task"
    seen = view({**told(said, "Unhealthy"), "where": "probe", "given": {"probe": "Readiness"}})
    found = diagnose(seen)
    assert found is not None
    assert found[0].evidence[0] == "readiness probe: rpc error: code = NotFound desc = no such task"
    waits_for = awaits(seen, {}, 0)
    assert waits_for is not None
    words = "still waiting for the readiness probe; it says: rpc error: code = NotFound desc = no such task"
    assert waits_for.text == words


def test_a_pull_secret_that_is_not_there_is_named() -> None:
    """The event: kubernetes/website#48718."""
    seen = view(waits('Head "https://registry.example/v2/stt/manifests/1": denied: denied'))
    said = "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed."
    warned = replace(seen.events[0], reason="FailedToRetrieveImagePullSecret", message=said)
    for events, what, patience in (
        (seen.events, f"The registry does not let the node pull {IMAGE}.", 0),
        (
            (*seen.events, warned),
            f"The registry does not let the node pull {IMAGE}, and the Secret for it is not there: regcred.",
            10,
        ),
    ):
        found = diagnose(replace(seen, events=events))
        assert found is not None
        assert (found[0].cause, found[0].what, found[1].patience) == ("registry-unauthorised", what, patience)


@pytest.mark.parametrize(
    ("told_of", "barred", "cause"),
    [
        (3, 0, "kept-apart"),  # the three that have no card
        (4, 0, "gpu-taken"),  # the one that has it, too
        (1, 3, "gpu-taken"),  # those without a card have a taint: the one is the one that has it
    ],
)
def test_whose_gpus_the_scheduler_counts(told_of: int, barred: int, cause: str) -> None:
    (case,) = (one for one in load(OWN) if one["id"] == "t25")
    taints = ["dedicated=batch:NoSchedule"]
    bare = [
        {**one, "taints": taints if number < barred else []} for number, one in enumerate(case["given"]["nodes"][1:])
    ]
    given = {**case["given"], "nodes": [case["given"]["nodes"][0], *bare]}
    text = case["text"].replace("3 Insufficient", f"{told_of} Insufficient")
    seen = view({**case, "text": text, "given": given})
    not_looked_at_yet = replace(seen.pods[0], uid="new", conditions={})
    for pods in (seen.pods, (not_looked_at_yet, *seen.pods)):
        found = diagnose(replace(seen, pods=pods))
        assert found is not None
        assert found[0].cause == cause


def test_a_cordoned_node_is_told_where_only_nodes_without_a_gpu_are_counted() -> None:
    (case,) = (one for one in load(OWN) if one["id"] == "t25")
    nodes = [{**one, "unschedulable": bool(one["gpu"])} for one in case["given"]["nodes"]]
    text = "0/4 nodes are available: 1 node(s) were unschedulable, 3 Insufficient nvidia.com/gpu."
    found = diagnose(view({**case, "text": text, "given": {**case["given"], "nodes": nodes}}))
    assert found is not None
    assert found[0].cause == "node-cordoned"


def failing_probe(*lines: str, count: int = 20) -> Seen:
    said = "Startup probe failed: warm: large-v3-turbo: HTTP 500: Internal Server Error"
    case = {**told(said, "Unhealthy"), "where": "probe", "given": {"probe": "Startup"}}
    seen = view(case)
    (event,) = seen.events
    return replace(seen, events=(replace(event, count=count),), logs={(seen.pods[0].uid, "stt"): lines})


@pytest.mark.parametrize(
    ("where", "reason", "text", "nodes", "patience", "outside"),
    [
        # a node that is kept back was not asked for the volume: it may come back
        ("scheduler", "Unschedulable", "1 node(s) were unschedulable, 1 node(s) had volume node affinity conflict", [
            {"name": "a", "gpu": 1, "ready": "True", "taints": [], "unschedulable": True},
        ], 60, True),
        ("scheduler", "Unschedulable", "1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }, 1 "
         "node(s) had volume node affinity conflict", [
            {"name": "a", "gpu": 1, "ready": "False", "taints": [], "unschedulable": False},
        ], 60, True),
        ("scheduler", "Unschedulable", "1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, 1 "
         "node(s) had volume node affinity conflict", [], 1.5, False),
        ("waiting", "CreateContainerConfigError", "container's runAsUser breaks non-root policy (pod: \"stt\")", [],
         1.5, False),
        ("waiting", "ErrImagePull", "failed to extract layer sha256:aa: archive/tar: invalid tar header: unknown", [],
         60, False),
    ],
)  # fmt: skip
def test_the_same_cause_is_given_more_time_where_it_may_pass(
    where: str, reason: str, text: str, nodes: list[dict[str, Any]], patience: float, outside: bool
) -> None:
    text = f"0/2 nodes are available: {text}." if where == "scheduler" else text
    found = diagnose(view({"id": "1", "where": where, "reason": reason, "text": text, "given": {"nodes": nodes}}))
    assert found is not None
    assert (found[1].patience, found[0].outside) == (patience, outside)


def test_a_card_that_has_no_int8_is_found_behind_a_failing_probe() -> None:
    found = diagnose(failing_probe("RuntimeError: cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", "INFO: 500"))
    assert found is not None
    assert (found[0].cause, found[1].patience, found[2]) == ("compute-type-unsupported", 0, True)
    assert "float16" in found[0].remedy
    assert found[0].evidence == ("log: RuntimeError: cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED",)


def test_a_log_is_pointed_at_only_where_it_is_shown() -> None:
    with_log, without = diagnose(failing_probe("loading the model")), diagnose(failing_probe())
    assert with_log is not None
    assert without is not None
    assert with_log[0].evidence[-1] == "log: loading the model"
    assert with_log[0].remedy.startswith("Look at the log above; ")
    assert without[0].remedy.startswith("Look at its log (kubectl logs); ")


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (
            {"nvidia.com/gpu": "1"},
            "The node's driver is too old for the image's CUDA, or the container was given no driver at all.",
        ),
        ({"memory": "4Gi"}, "The container has no driver: it asks for no GPU."),
    ],
)
def test_an_insufficient_driver_may_be_none_at_all(limits: dict[str, str], what: str) -> None:
    seen = failing_probe(
        "RuntimeError: CUDA failed with error CUDA driver version is insufficient for CUDA runtime version"
    )
    pod = seen.pods[0]
    asked = replace(pod, containers=(replace(pod.containers[0], limits=limits),))
    found = diagnose(replace(seen, pods=(asked,)))
    assert found is not None
    assert (found[0].cause, found[0].what) == ("cuda-driver-insufficient", what)


@pytest.mark.parametrize(
    ("text", "error", "actor"),
    [
        ("rpc error: code = NotFound desc = h/x:1: not found", Error.MISSING, Actor.RUNTIME),
        ("failed to frobnicate, all 3 of them: not found", Error.NONE, Actor.NOBODY),
        ("unexpected media type text/html for sha256:60: not found", Error.WRONG_CONTENT, Actor.NOBODY),
        ('Get "https://h/v2/": x509: certificate has expired: current time a is after b', Error.EXPIRED, Actor.NOBODY),
        ("open /opt/connection-refused/unauthorized.txt: permission denied", Error.NOT_PERMITTED, Actor.NOBODY),
        ('open "/opt/unauthorized/toomanyrequests": permission denied', Error.NOT_PERMITTED, Actor.NOBODY),
        ("mkdir /data/x: no space left on device: unknown", Error.NO_SPACE, Actor.NOBODY),
        (STATD, Error.UNSUPPORTED, Actor.STATD),
        ('{"message":"Get https://h/v1/_ping: dial tcp 10.0.0.1:443: i/o timeout"}', Error.UNREACHABLE, Actor.NOBODY),
        ("", Error.NONE, Actor.NOBODY),
    ],
)
def test_words_are_taken_apart(text: str, error: Error, actor: Actor) -> None:
    said = take_apart(text)
    assert (said.error, said.actor) == (error, actor)


def test_names_are_no_errors() -> None:
    said = take_apart('failed to pull "h/unauthorized-429/connection-refused:404": https://h/denied: EOF', (IMAGE,))
    assert said.names == ("https://h/denied", "h/unauthorized-429/connection-refused:404")
    assert said.error is Error.UNREACHABLE
    assert said.layers[-1] == "EOF"


HOSTILE: tuple[str, ...] = ("a" * 1_000_000, "aA0-." * 200_000, "/" * 1_000_000, '"' * 1_000_000)
HOSTILE += (": not found" * 90_000, "https://" * 125_000, "mount.nfs: " * 90_000, "No image " + "x " * 500_000)
HOSTILE += ("{[(<" * 250_000,)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8])
@pytest.mark.parametrize("where", ["waiting", "terminated", "log", "event", "scheduler", "eviction", "replicaset"])
def test_hostile_words_do_not_hold_it_up(text: str, where: str) -> None:
    reasons = {"waiting": "ErrImagePull", "terminated": "StartError", "event": "FailedMount", "eviction": "Evicted"}
    seen = view({**told(text, reasons.get(where, "x")), "where": where})
    take_apart.cache_clear()
    start = time.process_time()
    diagnose(seen)
    assert time.process_time() - start < 1  # some milliseconds; what is not linear takes hours for a megabyte


def test_rules_say_what_they_are_about() -> None:
    for rule in RULES:
        assert set(re.findall(r"\[(\w[\w.]*)\]", rule.remedy)) <= set(THINGS), rule.cause
        assert not re.search(r"speaches_|nfs_export_", rule.what + rule.remedy), rule.cause
        assert set(rule.about) <= set(ABOUT), rule.cause


def test_what_is_not_recognised_is_likely_given_time_and_quoted() -> None:
    words = "the frobnicator of the gate hums"
    for case in (
        waits(words),
        waits(words, "CreateContainerError"),
        {**told(words, "StartError"), "where": "terminated"},
        told(words, "FailedMount"),
        {**told(words, "FailedCreate"), "where": "replicaset"},
        {**told(words, "Error"), "where": "log"},
    ):
        found = diagnose(view(case))
        assert found is not None
        diagnosis, rule, ripe = found
        assert diagnosis.confidence == "likely", diagnosis
        assert rule.patience is NEVER or rule.patience >= 60 or (not ripe and rule.times >= 6), rule.cause
        assert words in " ".join((diagnosis.what, *diagnosis.evidence))
        assert diagnosis.outside or rule.cause == "crash-loop"


def test_the_program_prints_what_is_not_right_and_the_count(tmp_path: Path) -> None:
    right, wrong = load(CORPUS)[0], {**load(CORPUS)[1], "cause": "oom-killed"}
    file = tmp_path / "texts.json"
    file.write_text(json.dumps([right, wrong]))
    run = subprocess.run([sys.executable, "-m", "tests.causes", str(file)], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout == (
        "a03: expected oom-killed, got quota-needs-limits (wrong)\n1 right, 0 vague, 0 unknown, 1 wrong, 0 harmful\n"
    )
    file.write_text("[{}]")
    run = subprocess.run([sys.executable, "-m", "tests.causes", str(file)], capture_output=True, text=True, check=False)
    assert (run.returncode, "has no" in run.stderr) == (2, True)
