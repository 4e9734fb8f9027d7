"""Whether going back can help: the failed and the earlier template side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.objects import Condition, Node
from ansible_collections.portal.stt.plugins.module_utils._rollout.compare import ASPECTS, Way, registry, way_back
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import Diagnosis
from ansible_collections.portal.stt.plugins.module_utils._rollout.rule import ABOUT

STT: dict[str, Any] = {
    "name": "stt",
    "image": "ghcr.io/speaches-ai/speaches:1",
    "imagePullPolicy": "IfNotPresent",
    "command": ["uvicorn"],
    "env": [
        {"name": "LOG", "value": "info"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "stt", "key": "api"}}},
    ],
    "resources": {"limits": {"memory": "4Gi", "nvidia.com/gpu": "1"}},
    "volumeMounts": [{"name": "models", "mountPath": "/data"}, {"name": "script", "mountPath": "/warm"}],
    "startupProbe": {"exec": {"command": ["warm"]}, "failureThreshold": 60},
}
SPEC: dict[str, Any] = {
    "containers": [STT],
    "imagePullSecrets": [{"name": "pull"}],
    "nodeSelector": {"nvidia.com/gpu.present": "true"},
    "runtimeClassName": "nvidia",
    "serviceAccountName": "stt",
    "priorityClassName": "high",
    "securityContext": {"runAsUser": 1000},
    "volumes": [
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "script", "configMap": {"name": "warm"}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
    ],
}
CAUSE = Diagnosis("some", "It fails.", "pod a", "certain", True, False, (), "")


def template(spec: Mapping[str, Any] | None = None, **container: Any) -> dict[str, Any]:
    return {"spec": {**SPEC, "containers": [{**STT, **container}], **(spec or {})}}


def volumes(index: int, **changed: Any) -> dict[str, Any]:
    made = json.loads(json.dumps(SPEC["volumes"]))
    made[index] |= changed
    return template({"volumes": made})


OTHER: dict[str, dict[str, Any]] = {
    "image": template(image="ghcr.io/speaches-ai/speaches:0"),
    "registry": template(image="quay.io/speaches-ai/speaches:1"),
    "secret": template({"imagePullSecrets": [{"name": "other"}]}),
    "volume": volumes(0, persistentVolumeClaim={"claimName": "old"}),
    "limits": template(resources={"limits": {"memory": "8Gi", "nvidia.com/gpu": "1"}}),
    "gpu": template(resources={"limits": {"memory": "4Gi", "nvidia.com/gpu": "2"}}),
    "selector": template({"tolerations": [{"operator": "Exists"}]}),
    "runtimeClass": template({"runtimeClassName": None}),
    "priorityClass": template({"priorityClassName": None}),
    "serviceAccount": template({"serviceAccountName": "default"}),
    "securityContext": template(securityContext={"privileged": True}),
    "command": template(args=["--reload"]),
    "settings": template(env=[{"name": "LOG", "value": "debug"}, STT["env"][1]]),
    "probe": template(startupProbe={"exec": {"command": ["warm"]}, "failureThreshold": 90}),
}
"""An earlier template that differs in this one aspect."""

TOO = {"registry": {"image"}}
"""Aspects that differ with it of necessity."""


def test_every_aspect_of_a_cause_can_be_compared() -> None:
    assert set(ABOUT) == set(ASPECTS) | {"node", "cluster"}
    assert set(OTHER) == set(ASPECTS) - {"policy"}


@pytest.mark.parametrize("about", [one for one in ASPECTS if one != "policy"])
@pytest.mark.parametrize("differs", OTHER)
def test_going_back_helps_where_what_the_cause_is_about_differs(about: str, differs: str) -> None:
    found = way_back(replace(CAUSE, about=(about,)), template(), OTHER[differs])
    expected = about == differs or about in TOO.get(differs, ())
    assert found == (Way(True) if expected else Way(False, f"it has the same {ASPECTS[about][0]}"))


SAME = "it has the same"


@pytest.mark.parametrize(
    ("about", "outside", "earlier", "expected"),
    [
        pytest.param((), False, template(), Way(True), id="nothing is known of the cause"),
        pytest.param((), True, OTHER["image"], Way(False, "it would fail in the same way"), id="outside"),
        pytest.param(("registry",), True, OTHER["registry"], Way(True), id="another registry, whatever the rule says"),
        pytest.param(("image", "limits"), False, OTHER["limits"], Way(True), id="one of two differs"),
        pytest.param(
            ("image", "limits", "settings"),
            False,
            OTHER["probe"],
            Way(False, f"{SAME} image, requests and limits and environment"),
            id="three are the same",
        ),
        pytest.param(("node",), True, OTHER["image"], Way(False, "the cause is nothing that a revision declares")),
        pytest.param(
            ("node", "limits"), False, OTHER["limits"], Way(True), id="the machine, but what is asked of it too"
        ),
        pytest.param(("policy",), False, OTHER["probe"], Way(True), id="whatever differs may be what is refused"),
        pytest.param(("policy",), False, template(), Way(False, f"{SAME} template"), id="nothing differs"),
        pytest.param(
            ("limits",), False, volumes(2, emptyDir={"sizeLimit": "2Gi"}), Way(True), id="size of an emptyDir"
        ),
        pytest.param(("volume",), False, volumes(1, configMap={"name": "x"}), Way(False, f"{SAME} volumes")),
        pytest.param(("secret",), False, volumes(1, configMap={"name": "x"}), Way(True), id="another ConfigMap"),
        pytest.param(("secret",), False, template(env=[STT["env"][0]]), Way(True), id="it reads no Secret"),
    ],
)
def test_way_back(about: tuple[str, ...], outside: bool, earlier: dict[str, Any], expected: Way) -> None:
    assert way_back(replace(CAUSE, about=about, outside=outside), template(), earlier) == expected


BEFORE = "ghcr.io/speaches-ai/speaches:0"
NODE = Node("gpu-1", Condition("True"), False, (), {}, {}, (), frozenset([BEFORE]))


@pytest.mark.parametrize(
    ("earlier", "nodes", "expected"),
    [
        pytest.param(OTHER["image"], [NODE], True, id="the node has it"),
        pytest.param(OTHER["image"], [replace(NODE, images=frozenset([f"x/{BEFORE}1"]))], False, id="it has another"),
        pytest.param(OTHER["image"], [], False, id="not known"),
        pytest.param(template(image=BEFORE, imagePullPolicy="Always"), [NODE], False, id="it would ask all the same"),
        pytest.param(template(), [replace(NODE, images=frozenset([STT["image"]]))], False, id="the same image"),
    ],
)
def test_an_image_that_the_node_has_needs_no_registry(
    earlier: dict[str, Any], nodes: list[Node], expected: bool
) -> None:
    assert way_back(replace(CAUSE, about=("registry",)), template(), earlier, nodes).helps is expected


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("stt", "docker.io"),
        ("someone/stt:1", "docker.io"),
        ("localhost/stt", "localhost"),
        ("registry:5000/stt@sha256:0", "registry:5000"),
        ("ghcr.io/a/b", "ghcr.io"),
    ],
)
def test_registry(image: str, host: str) -> None:
    assert registry(image) == host


def test_a_node_tells_which_images_it_has() -> None:
    raw = {"metadata": {"name": "gpu-1"}, "status": {"images": [{"names": [BEFORE, "x@sha256:0"]}, {"names": None}]}}
    assert observed.node(raw).images == {BEFORE, "x@sha256:0"}
