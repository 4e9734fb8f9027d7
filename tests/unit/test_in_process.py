"""A module's core gives the same result in the controller's process and as a module."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
import sys
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible.plugins.loader import connection_loader
from ansible.template import Templar, trust_as_template
from ansible_collections.portal.stt.plugins.module_utils._findings import (
    SETTINGS,
    CollectionError,
    Finding,
    Result,
    Say,
    Status,
    succeed,
)
from ansible_collections.portal.stt.plugins.plugin_utils.in_process import Core, InProcess, core_of
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import ROOT, play

NODE = {
    "metadata": {
        "name": "gpu-1",
        "labels": {
            "nvidia.com/gpu.product": "Tesla-T4",
            "nvidia.com/gpu.memory": "15360",
            "nvidia.com/gpu.compute.major": "7",
            "nvidia.com/gpu.compute.minor": "5",
            "nvidia.com/cuda.driver-version.full": "550.127.08",
            "nvidia.com/cuda.runtime-version.full": "12.4",
            "kubernetes.io/arch": "amd64",
        },
    },
    "spec": {},
    "status": {
        "capacity": {"nvidia.com/gpu": "1"},
        "allocatable": {"nvidia.com/gpu": "1"},
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
DEPLOYMENT = {"kind": "Deployment", "metadata": {"name": "stt", "namespace": "n"}, "spec": {}, "status": {}}
OURS = [{"manager": "portal-stt", "operation": "Apply", "fieldsV1": {"f:data": {"f:a": {}}}}]


def stored(kind: str, name: str, managed: list[dict[str, Any]] = OURS, **parts: Any) -> dict[str, Any]:
    """An object as the API server has it."""
    version = "batch/v1" if kind == "Job" else "v1"
    metadata = {"name": name, "namespace": "n", "uid": f"uid-{name}", "resourceVersion": "1", "managedFields": managed}
    return {"apiVersion": version, "kind": kind, "metadata": {**metadata, **parts.pop("metadata", {})}, **parts}


def declared(kind: str, name: str, **parts: Any) -> dict[str, Any]:
    """The same as a manifest."""
    version = "batch/v1" if kind == "Job" else "v1"
    metadata = {"name": name, "namespace": "n", **parts.pop("metadata", {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


DONE = {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-24T06:00:00Z"}]}
SEED = {"labels": {"component": "seed"}}
OBJECTS = {
    "configmaps/kept": stored("ConfigMap", "kept", data={"a": "1"}),
    "configmaps/theirs": stored("ConfigMap", "theirs", managed=[{"manager": "helm", "operation": "Update"}]),
    "secrets/key": stored("Secret", "key", data={"a": "Z2VoZWlt"}),
    "jobs/done": stored(
        "Job", "done", metadata={**SEED, "annotations": {"portal-stt/result": "two models"}}, spec={}, status=DONE
    ),
}
"""What is in the namespace, by plural and name. What is deleted is gone at the next look, and there again after it."""

IMAGE = {"architecture": "amd64", "os": "linux", "config": {"Env": ["CUDA_VERSION=12.4.1"], "User": "1000"}}
READING = {
    "source": "exporter", "known": True, "at": 0, "step": 0, "nobody": [], "peak_of_all": None, "doubts": [],
    "seats": [{"namespace": "a", "container": "b", "pods": ["b-0"], "now": 100, "peak": 200, "uuid": ""}],
    "cards": [{"uuid": "1", "node": "gpu-1", "product": "Tesla-T4", "slice": "", "total": None, "used": 100,
               "free": 14813, "reserved": 447, "shared": True, "usable": 14913, "usable_by": "",
               "usable_is_measured": True}],
}  # fmt: skip
TEXT = "Turn on the light."
KEY = "geheim-0815"


def status(code: int, message: str) -> Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return Response(json.dumps(body), code, content_type="application/json")


def document(value: object, kind: str = "application/json") -> Response:
    return Response(json.dumps(value), content_type=kind)


class Servers:
    """Small real HTTP servers behind one port: paths of an API server, of a registry and of a speech server."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        config = json.dumps(IMAGE).encode()
        self._config, digest = config, f"sha256:{hashlib.sha256(config).hexdigest()}"
        kind = "application/vnd.oci.image.manifest.v1+json"
        described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
        self._manifest = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": []}
        self._kind = kind
        self._deleted: set[str] = set()

    def __call__(self, request: Request) -> Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append((request.path, token))
        if request.path.startswith(("/api/", "/apis/")) and token == KEY:
            return status(403, f"nodes is forbidden for who has {KEY}")
        return self._object(request) or self._answer(request.path)

    def _object(self, request: Request) -> Response | None:
        """An object of OBJECTS, a change of it that is tried, or what became of it."""
        name = "/".join(request.path.split("/")[-2:])
        if request.path.endswith("selfsubjectaccessreviews"):
            return document({"status": {"allowed": True}})
        if request.method == "PATCH":
            live, given = OBJECTS.get(name, {}), yaml.safe_load(request.data)
            kept = {**live.get("metadata", {}), **given["metadata"], "managedFields": OURS}
            return document({**live, **given, "metadata": kept})
        if name not in OBJECTS or name in self._deleted:
            self._deleted.discard(name)
            return None
        if request.method == "DELETE":
            self._deleted.add(name)
        return document(OBJECTS[name])

    def _answer(self, path: str) -> Response:
        if path == "/api/v1/nodes":
            return document({"kind": "NodeList", "metadata": {"resourceVersion": "1"}, "items": [NODE]})
        if path.endswith("/configmaps"):
            return document(
                {
                    "kind": "ConfigMapList",
                    "metadata": {"resourceVersion": "1"},
                    "items": [one for name, one in OBJECTS.items() if name.startswith("configmaps/")],
                }
            )
        if path.endswith("/deployments/stt"):
            return document(DEPLOYMENT)
        if path.startswith("/v2/") and "/manifests/" in path:
            return document(self._manifest, self._kind)
        if path.startswith("/v2/") and "/blobs/" in path:
            return Response(self._config, content_type="application/octet-stream")
        if path == "/v2/":
            return document({})
        if path == "/v1/audio/transcriptions":
            return document({"text": TEXT})
        if path == "/gpu":
            labels = 'namespace="a",container="b",pod="b-0",process_name="p",pid="1"'
            return Response(f"gpu_pod_memory_used_bytes{{{labels}}} 1048576\n", content_type="text/plain")
        if path == "/v1/models":
            return document({"data": [{"id": "m"}]})
        return status(404, f"{path} is not there")


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Servers, str]]:
    answering = Servers()
    with HTTPServer("127.0.0.1") as server:
        server.expect_request(re.compile(".*")).respond_with_handler(answering)
        yield answering, f"127.0.0.1:{server.port}"


def clip(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / 9))) for i in range(4000)))
    return path


def tasks(address: str, sound: Path) -> dict[str, dict[str, Any]]:
    """Each case with its task."""
    to = {"host": f"http://{address}", "api_key": "token"}
    exporter = {"url": f"http://{address}", "path": "/gpu"}
    environment = {"K8S_AUTH_HOST": f"http://{address}", "K8S_AUTH_API_KEY": "from-the-environment"}
    card = {"name": "gpu-1", "product": "Tesla-T4", "driver": "470.82.01", "cuda": "11.4"}
    cuda = {"reference": "cuda:12", "tag": "12", "env": {"CUDA_VERSION": "12.4.1", "NVIDIA_REQUIRE_CUDA": "cuda>=12.4"}}
    heard = {"url": f"http://{address}", "model": "m", "requests": 2, "require_warm": False}
    speech = {"path": str(sound), "text": TEXT}
    image = f"{address}/one/image:1"
    return {
        "nodes": {"portal.stt.gpu_node_info": to},
        "nodes of the environment": {"portal.stt.gpu_node_info": {}, "environment": environment},
        "nodes of the defaults": {
            "portal.stt.gpu_node_info": {},
            "module_defaults": {"group/portal.stt.k8s": {**to, "api_key": "from-the-defaults"}},
        },
        "nodes in a loop": {
            "portal.stt.gpu_node_info": {**to, "api_key": "{{ item }}"},
            "loop": ["first", "second"],
        },
        "a proxy of the environment": {
            "portal.stt.gpu_node_info": to,
            "environment": {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""},
        },
        "no proxy of the environment": {
            "portal.stt.gpu_node_info": to,
            "environment": {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9",
                            "NO_PROXY": "127.0.0.1"},
        },
        "a secret in an answer": {"portal.stt.gpu_node_info": {**to, "api_key": KEY}},
        "an alias": {"portal.stt.gpu_node_info": {**to, "verify_ssl": False, "validate_certs": False}},
        "an option too many": {"portal.stt.gpu_node_info": {**to, "selector": "a"}},
        "an option of another type": {"portal.stt.gpu_node_info": {**to, "count": "many"}},
        "an option too few": {"portal.stt.gpu_node_probe": {**to, "nodes": []}},
        "options that exclude each other": {
            "portal.stt.k8s_rollout": {**to, "namespace": "n", "name": "a", "job": "b"}
        },
        "a pod that is not made in check mode": {
            "portal.stt.gpu_node_probe": {**to, "namespace": "n", "image": "i",
                                          "nodes": [{"name": "gpu-1", "problems": ["no_labels"]}]},
            "check_mode": True,
        },
        "a rollout in check mode": {
            "portal.stt.k8s_rollout": {**to, "namespace": "n", "name": "stt"},
            "check_mode": True, "diff": True,
        },
        "a rollout of nothing": {"portal.stt.k8s_rollout": {**to, "namespace": "n", "name": "none"}},
        "an image": {"portal.stt.oci_image_info": {"image": image, "plain_http": True}},
        "an image that is none": {"portal.stt.oci_image_info": {"image": "A B"}},
        "who sits in memory": {"portal.stt.gpu_memory_info": {"exporter": exporter}},
        "who sits in memory, asked of a cluster": {"portal.stt.gpu_memory_info": {**to, "timeout": 5}},
        "who sits in memory, behind a proxy of the environment": {
            "portal.stt.gpu_memory_info": {"exporter": exporter},
            "environment": {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""},
        },
        "an address that is none": {"portal.stt.gpu_memory_info": {"exporter": {"url": f"http://u:{KEY}@{address}"}}},
        "a budget that fits": {"portal.stt.gpu_memory_check": {"reading": READING, "ours_mib": 1500}},
        "a budget that is too small": {"portal.stt.gpu_memory_check": {"reading": READING, "ours_mib": 15000}},
        "a budget of nothing": {"portal.stt.gpu_memory_check": {"reading": {}, "ours_mib": 1500}},
        "a verdict": {
            "portal.stt.cuda_preflight": {"image": cuda, "nodes": [{**card, "driver": "550.127.08", "cuda": "12.4"}]}
        },
        "a verdict that refuses": {"portal.stt.cuda_preflight": {"image": cuda, "nodes": [card]}},
        "objects": {"portal.stt.k8s_read": {
            **to, "namespace": "n",
            "objects": [{"kind": "ConfigMap", "name": "kept"}, {"kind": "ConfigMap", "name": "nowhere"},
                        {"kind": "ConfigMap", "labels": {"a": "b"}}],
        }},
        "objects of the environment": {
            "portal.stt.k8s_read": {"namespace": "n", "objects": [{"kind": "Secret", "name": "key"}]},
            "environment": environment, "no_log": True,
        },
        "objects that may not be read": {"portal.stt.k8s_read": {
            **to, "api_key": KEY, "namespace": "n", "objects": [{"kind": "ConfigMap", "name": "kept"}],
        }},
        "an apply of what is as declared": {
            "portal.stt.k8s_apply": {"definition": [declared("ConfigMap", "kept", data={"a": "1"})]},
            "module_defaults": {"group/portal.stt.k8s": to},
        },
        "an apply in check mode": {
            "portal.stt.k8s_apply": {**to, "definition": [
                declared("ConfigMap", "kept", data={"a": "2"}), declared("ConfigMap", "new", data={"a": "1"}),
                yaml.safe_dump(declared("Secret", "key", data={"a": "b3RoZXI="})),
            ]},
            "check_mode": True, "diff": True,
        },
        "an apply": {
            "portal.stt.k8s_apply": {**to, "definition": [declared("ConfigMap", "new", data={"a": "1"})]}, "diff": True,
        },
        "an apply of what is somebody else's": {"portal.stt.k8s_apply": {
            **to, "definition": [declared("ConfigMap", "theirs", data={})], "settings": {"take_over": "my_take_over"},
        }},
        "an apply of what is no object": {"portal.stt.k8s_apply": {**to, "definition": ["a: [", {"kind": "Pod"}]}},
        "a removal": {
            "portal.stt.k8s_remove": {**to, "definition": [declared("ConfigMap", "kept"), declared("Pod", "gone")]},
            "diff": True,
        },
        "a removal in check mode": {
            "portal.stt.k8s_remove": {**to, "definition": [declared("Secret", "key")]},
            "check_mode": True, "diff": True,
        },
        "a removal of what is somebody else's": {
            "portal.stt.k8s_remove": {**to, "definition": [declared("ConfigMap", "theirs")]},
        },
        "a job that has run": {"portal.stt.k8s_job": {**to, "definition": declared("Job", "done", metadata=SEED)}},
        "a job in check mode": {
            "portal.stt.k8s_job": {**to, "definition": declared("Job", "new", metadata=SEED, spec={})},
            "check_mode": True, "diff": True,
        },
        "a job of somebody else": {"portal.stt.k8s_job": {
            **to, "definition": declared("Job", "done", metadata={"labels": {"component": "backup"}}),
        }},
        "a job that is none": {"portal.stt.k8s_job": {**to, "definition": declared("Pod", "done")}},
        "memory that nobody tells": {"portal.stt.gpu_memory_info": {**to, "source": "prometheus"}},
        "a budget": {"portal.stt.gpu_memory_check": {"reading": {}, "models": ["a/whisper-base"]}},
        "a budget of no reading": {"portal.stt.gpu_memory_check": {}},
        "speech": {"portal.stt.transcription_check": {**heard, "clips": [speech]}},
        "speech heard wrong": {
            "portal.stt.transcription_check": {**heard, "server_api_key": KEY,
                                               "clips": [{**speech, "text": "Good night."}]}
        },
    }  # fmt: skip


def playbook(cases: dict[str, dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """All cases on both hosts, and what came of them in a file for each: the inventory has more hosts, the lab's."""
    steps: list[dict[str, Any]] = []
    for number, task in enumerate(cases.values()):
        steps.append({**task, "register": f"case_{number}", "ignore_errors": True})
    results = ", ".join(f"{json.dumps(name)}: case_{number}" for number, name in enumerate(cases))
    content = f"{{{{ {{ {results} }} | to_json }}}}"
    steps.append(
        {
            "ansible.builtin.copy": {
                "content": content,
                "dest": f"{folder}/{{{{ inventory_hostname }}}}",
                "mode": "0600",
            },
            "vars": {"ansible_remote_tmp": str(folder / "tmp")},
        }
    )
    return [{"hosts": "own:other", "gather_facts": False, "strategy": "linear", "tasks": steps}]


@pytest.fixture(scope="module")
def both(servers: tuple[Servers, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, dict[str, Any]]:
    """The results in the controller's process, those of the modules, and the cases.

    Where no module may run, Ansible has no folder to put one into: the first host's cannot be made. The other
    host's interpreter is a script elsewhere, which calls this one and counts.
    """
    folder = tmp_path_factory.mktemp("both")
    other = folder / "python"
    other.write_text(f'#!/bin/sh\necho >> {folder}/calls\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    hosts = {
        "own": {"ansible_remote_tmp": "/proc/nowhere", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "other": {"ansible_python_interpreter": str(other), "ansible_remote_tmp": str(folder / "tmp")},
    }
    inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(inventory))
    cases = tasks(servers[1], clip(folder / "clip.wav"))
    (folder / "play.yml").write_text(yaml.safe_dump(playbook(cases, folder), sort_keys=False))
    # The hosts one after the other: what they ask the server is compared, too.
    played = play(str(folder / "play.yml"), "-i", str(folder / "hosts.yml"), "--forks", "1")
    assert played.rc == 0, played.output
    assert "errantly" not in played.output
    assert "Traceback" not in played.output
    assert len((folder / "calls").read_text()) > len(cases)  # one for each item of the loop, one for the file
    own, module = (json.loads((folder / name).read_text()) for name in ("own", "other"))
    return own, module, cases


def same(value: Any) -> Any:
    """Without what no two runs have in common: durations."""
    if isinstance(value, dict):
        timed = ("at", "seconds", "first_seconds", "median_seconds", "rtf", "concurrent", "warm")
        return {key: same(one) for key, one in value.items() if key not in timed}
    if isinstance(value, list):
        checks = ("speech.warm", "speech.speed")
        return [same(one) for one in value if not (isinstance(one, dict) and one.get("check") in checks)]
    return value


NAMES = list(tasks("", Path()))


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_give_the_same(both: tuple[Any, Any, dict[str, Any]], name: str) -> None:
    own, module, _ = both
    assert same(own[name]) == same(module[name])


SUCCEED = {
    "an apply",
    "who sits in memory",
    "who sits in memory, asked of a cluster",
    "who sits in memory, behind a proxy of the environment",
    "a budget that fits",
    "nodes",
    "nodes of the environment",
    "nodes of the defaults",
    "nodes in a loop",
    "no proxy of the environment",
    "an alias",
    "a pod that is not made in check mode",
    "a rollout in check mode",
    "an image",
    "a verdict",
    "objects",
    "objects of the environment",
    "an apply of what is as declared",
    "an apply in check mode",
    "a removal",
    "a removal in check mode",
    "a removal of what is somebody else's",
    "a job that has run",
    "a job in check mode",
    "memory that nobody tells",
    "speech",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_comes_of_it(both: tuple[Any, Any, dict[str, Any]], name: str) -> None:
    own, _, _ = both
    assert own[name].get("failed", False) is (name not in SUCCEED), own[name]
    assert KEY not in json.dumps(own[name])


@pytest.mark.parametrize(
    ("name", "changed", "shown"),
    [
        ("an apply of what is as declared", False, []),
        ("an apply in check mode", True, ["ConfigMap n/kept", "ConfigMap n/new", "Secret n/key"]),
        ("a removal", True, ["ConfigMap n/kept"]),
        ("a removal in check mode", True, ["Secret n/key"]),
        ("a job that has run", False, []),
        ("a job in check mode", True, ["Job n/new"]),
    ],
)
def test_what_is_changed_and_shown(both: tuple[Any, Any, dict[str, Any]], name: str, changed: bool, shown: Any) -> None:
    """Values of Secrets are not."""
    own, _, _ = both
    assert own[name]["changed"] is changed
    assert [one["after_header"] for one in own[name]["diff"]] == shown
    assert "Z2VoZWlt" not in json.dumps(own[name]["diff"])
    assert "b3RoZXI=" not in json.dumps(own[name]["diff"])


def test_every_plugin_that_runs_in_the_process_is_here() -> None:
    actions = (ROOT / "plugins" / "action").glob("*.py")
    both_ways = {f"portal.stt.{path.stem}" for path in actions if "core_of(" in path.read_text()}
    assert both_ways == {name for task in tasks("", Path()).values() for name in task if name.startswith("portal.")}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("an option of another type", "argument 'count' is of type str and we were unable to convert to int"),
        ("an option too few", "missing required arguments: image, namespace"),
        ("options that exclude each other", "parameters are mutually exclusive: name|job"),
        ("an option too many", "Unsupported parameters for (portal.stt.gpu_node_info) module: selector. Supported"),
        ("a rollout of nothing", "Deployment n/none: it is not there."),
        ("objects that may not be read", "nodes is forbidden for who has ********."),
        ("an apply of what is somebody else's", "To make it ours, name helm in my_take_over."),
        ("an apply of what is no object", "a manifest: is not YAML: "),
        ("a job of somebody else", "Job n/done: is somebody else's: it has not the labels of the Job that is to run."),
        ("a job that is none", "definition: is not a Job with a name and a namespace. Give it kind: Job, and both."),
        ("a budget of no reading", "missing required arguments: reading"),
        ("a proxy of the environment", "the proxy gives no way to it: it refuses the connection"),
        ("a secret in an answer", "nodes is forbidden for who has ********."),
    ],
)
def test_messages(both: tuple[Any, Any, dict[str, Any]], name: str, message: str) -> None:
    assert message in both[0][name]["msg"]


def test_tokens_come_from_where_they_were_given(
    both: tuple[Any, Any, dict[str, Any]], servers: tuple[Servers, str]
) -> None:
    tokens = {token for path, token in servers[0].asked if path == "/api/v1/nodes"}
    assert {"token", "from-the-environment", "from-the-defaults", "first", "second"} <= tokens


# The base by itself: what a playbook cannot show cheaply.


ARGUMENTS = {
    "argument_spec": {
        **SETTINGS,
        "secret": {"type": "str", "no_log": True},
        "path": {"type": "path"},
        "answer": {"type": "str"},
    }
}


def plugin(run: Any, args: dict[str, Any], variables: dict[str, Any] | None = None, **fields: Any) -> InProcess:
    """The base with a core of the test's, ready to run on a local host."""

    class Plugin(InProcess):
        core = Core("example", ARGUMENTS, run)

        def as_module(self, task_vars: Any, **further: Any) -> Result:
            return {"as": "module", **further}

    loader, context = DataLoader(), PlayContext()
    task = Task()
    task.action, task.args = "portal.stt.example", args
    context.become = fields.pop("become", False)
    connection = connection_loader.get(fields.pop("connection", "local"), context)
    for name, value in fields.items():
        setattr(task, name, value)
    templar = Templar(loader, variables=variables or {})
    return Plugin(task, connection, context, loader, templar)


def ran(run: Any, args: dict[str, Any] | None = None, **more: Any) -> Result:
    variables = more.pop("variables", {"inventory_hostname": "h"})
    return plugin(run, args or {}, variables, **more).run(task_vars=variables)


def answers(params: Any, *, check_mode: bool, say: Say | None) -> Result:
    return succeed(params, [], check_mode=check_mode)


@pytest.mark.parametrize(
    ("variables", "fields", "here"),
    [
        pytest.param({}, {}, True, id="nobody has named an interpreter"),
        pytest.param({"ansible_python_interpreter": sys.executable}, {}, True, id="the controller's"),
        pytest.param({"ansible_python_interpreter": "auto_silent"}, {}, True, id="found by itself"),
        pytest.param({"ansible_python_interpreter": "/usr/bin/python3"}, {}, False, id="another"),
        pytest.param({}, {"become": True}, False, id="another user"),
        pytest.param({}, {"async_val": 10}, False, id="in the background"),
        pytest.param({}, {"connection": "ssh"}, False, id="another machine"),
        pytest.param(
            {"ansible_delegated_vars": {"d": {"ansible_python_interpreter": "/usr/bin/python3"}}},
            {"delegate_to": "d"},
            False,
            id="delegated to a host with another",
        ),
        pytest.param(
            {"ansible_python_interpreter": "/usr/bin/python3", "ansible_delegated_vars": {"d": {}}},
            {"delegate_to": "d"},
            True,
            id="delegated to a host without one",
        ),
    ],
)
def test_where_it_runs(variables: dict[str, Any], fields: dict[str, Any], here: bool) -> None:
    result = ran(answers, variables=variables, **fields)
    assert (result.get("as") != "module") is here


def raises(error: BaseException) -> Any:
    def run(params: Any, **_: Any) -> Result:
        raise error

    return run


DEFECT = "Run again with ANSIBLE_DISPLAY_TRACEBACK=error, and report what that prints."


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (CollectionError("a node", f"has {KEY}.", "Look."), "a node: has ********. Look."),
        (KeyError(KEY), f"portal.stt: a defect of this collection (KeyError: '********'). {DEFECT}"),
        (RuntimeError(), f"portal.stt: a defect of this collection (RuntimeError). {DEFECT}"),
    ],
)
def test_a_core_that_raises(error: BaseException, message: str) -> None:
    result = ran(raises(error), {"secret": KEY})
    assert (result["failed"], result["msg"]) == (True, message)
    assert result["findings"][0]["status"] == "refused"
    assert KEY not in json.dumps(result)


def test_a_task_timeout_is_ansibles() -> None:
    """It is no exception of ours to catch, and the environment is as before."""

    class Timeout(BaseException):
        pass

    with pytest.raises(Timeout):
        ran(raises(Timeout()), environment=[{"SEEN": "yes"}])
    assert "SEEN" not in os.environ


def test_environment_and_output_are_the_tasks(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEPT", "before")

    def run(params: Any, **_: Any) -> Result:
        print("noise")
        print("noise", file=sys.stderr)
        return succeed(params, [], seen=[os.environ.get("SEEN"), os.environ.get("KEPT"), params["path"]])

    environment = [{"SEEN": "1", "KEPT": "2"}, {"SEEN": trust_as_template("{{ number }}")}]
    result = ran(run, {"path": "$SEEN/a"}, environment=environment, variables={"number": 3, "inventory_hostname": "h"})
    assert result["seen"] == ["3", "2", "3/a"]
    assert (os.environ.get("SEEN"), os.environ["KEPT"]) == (None, "before")
    assert capfd.readouterr() == ("", "")


def test_settings_name_what_a_remedy_asks_for() -> None:
    def run(params: Any, **_: Any) -> Result:
        return succeed(params, [Finding("a", Status.WARNING, "b", "c.", "Set [when_covered].")])

    result = ran(run, {"settings": {"when_covered": "nfs_export_when_covered", "other": None}})
    assert [one["remedy"] for one in result["findings"]] == ["Set nfs_export_when_covered."]


def test_the_result_is_plain_data() -> None:
    def run(params: Any, **_: Any) -> Result:
        return succeed(params, [], status=Status.OK, pair=(1, 2), numbers={1: Path("/a")})

    result = ran(run)
    assert (result["status"], result["pair"], result["numbers"]) == ("ok", [1, 2], {"1": "/a"})
    assert type(result["status"]) is str


def test_progress_is_shown_at_once_and_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(
        "ansible.utils.display.Display.display", lambda self, text, **_: shown.append(f"{text} {len(shown)}")
    )

    def run(params: Any, *, say: Say, **_: Any) -> Result:
        say(f"one {KEY}")
        assert shown == ["[h] one ******** 0"]
        return succeed(params, [])

    ran(run, {"secret": KEY})
    assert len(shown) == 1


def test_a_missing_collection_is_said_when_the_task_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ansible_collections.portal.stt.plugins.modules.gpu_node_info", None)
    missing = core_of("gpu_node_info", "no_such_library")
    assert missing.run is None
    action = plugin(answers, {})
    action.core = missing
    result = action.run(task_vars={})
    assert result["failed"] is True
    assert result["msg"].startswith("controller: the kubernetes.core collection is missing: import of ")


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py")))
def test_an_action_has_the_module_of_its_name(name: str) -> None:
    assert (ROOT / "plugins" / "modules" / f"{name}.py").exists()


def test_no_thread_is_left(both: tuple[Any, Any, dict[str, Any]]) -> None:
    before = threading.active_count()
    ran(answers)
    assert threading.active_count() == before
