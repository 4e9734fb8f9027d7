"""What a run costs: our plays beside naive playbooks of the same objects, paired in one run.

Inside a lab: python -m lab run -- python -m benchmarks.run; the table goes into docs/performance.md.

Naive is what one would write first: `kubernetes.core.k8s`, a task an object, each with wait. `one task` is the same
objects in one such task. Every side is a whole ansible-playbook, processor seconds are those of it and of all that it
starts; pods are simulated and ready at once, so that nobody waits for them.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.page import put, ratio
from lab import api, controlplane, simulated
from tests.conftest import play

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROUNDS = 5
OURS, THEIRS, ONE = "bench", "bench-naive", "bench-one"
KINDS = (
    "/api/v1/namespaces/{}/secrets/portal-stt",
    "/api/v1/namespaces/{}/configmaps/portal-stt-scripts",
    "/api/v1/namespaces/{}/persistentvolumeclaims/{}-models",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/portal-stt",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/portal-stt-seed",
    "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies/portal-stt-clip",
    "/apis/batch/v1/namespaces/{}/cronjobs/portal-stt-clip",
    "/apis/policy/v1/namespaces/{}/poddisruptionbudgets/portal-stt",
    "/api/v1/namespaces/{}/services/portal-stt",
    "/apis/apps/v1/namespaces/{}/deployments/portal-stt",
)
SITE = ("playbooks/preflight.yml", "playbooks/parts/storage.yml", "playbooks/parts/deploy.yml")
"""site.yml without speech."""
ALL: dict[str, Any] = {
    "speaches_api_key": "sesame",
    "speaches_replicas": 2,
    "speaches_strategy": "RollingUpdate",
    "speaches_synthetic": {"enabled": True},
}
"""The settings of an installation with all that there is in a cluster without the Prometheus operator."""
AUTH = {"kubeconfig": "{{ lookup('ansible.builtin.env', 'K8S_AUTH_KUBECONFIG') }}"}


@dataclass(frozen=True)
class Cost:
    """Of one ansible-playbook: wall and processor seconds."""

    seconds: float
    cpu: float


def cost(*playbooks: str, variables: Mapping[str, Any] | None = None, ends: int = 0) -> Cost:
    """ends: the exit status that is expected; 2 is a refusal."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    played = play(*playbooks, "-l", "lab", *(("-e", json.dumps(variables)) if variables else ()))
    seconds, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if played.rc != ends:
        raise SystemExit(played.output)
    return Cost(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def settings(namespace: str) -> dict[str, Any]:
    return {
        "speaches_namespace": namespace,
        "speaches_volume": {"name": f"{namespace}-models", "server": "10.77.0.2", "driver": ""},
        "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
    }


def objects() -> Iterator[dict[str, Any]]:
    """What our play has declared, as somebody would write it down."""
    yield api.call("GET", f"/api/v1/namespaces/{OURS}")
    yield api.call("GET", f"/api/v1/persistentvolumes/{OURS}-models")
    for path in KINDS:
        yield api.call("GET", path.format(OURS, OURS), accept=(404,))
    for job in api.call("GET", f"/apis/batch/v1/namespaces/{OURS}/jobs")["items"]:
        yield {"apiVersion": "batch/v1", "kind": "Job", **job}


def written(namespace: str) -> list[dict[str, Any]]:
    """The objects as manifests for another namespace: without what the server added."""
    manifests = []
    for one in (each for each in objects() if each.get("kind") != "Status"):
        text = json.dumps({key: value for key, value in one.items() if key != "status"})
        manifest = json.loads(
            text.replace(f'"{OURS}-models"', f'"{namespace}-models"').replace(f'"{OURS}"', f'"{namespace}"')
        )
        kept = ("name", "namespace", "labels", "annotations")
        manifest["metadata"] = {key: value for key, value in manifest["metadata"].items() if key in kept}
        notes = manifest["metadata"].pop("annotations", {})  # a claim that says it is bound to no volume is lost
        manifest["metadata"]["annotations"] = {key: one for key, one in notes.items() if "kubernetes.io/" not in key}
        spec = manifest.get("spec", {})
        for added in ("clusterIP", "clusterIPs", "finalizers", "selector" if manifest["kind"] == "Job" else ""):
            spec.pop(added, None)
        spec.get("claimRef", {}).pop("uid", None)
        spec.get("claimRef", {}).pop("resourceVersion", None)
        if manifest["kind"] == "Job":
            labels = spec["template"]["metadata"]["labels"]
            spec["template"]["metadata"]["labels"] = {k: v for k, v in labels.items() if "batch.kubernetes.io" not in k}
            for added in ("controller-uid", "job-name"):
                spec["template"]["metadata"]["labels"].pop(added, None)
        manifests.append(manifest)
    return manifests


class _Dumper(yaml.SafeDumper):
    """Writes text with braces, such as a script's, as text that is no template."""


_Dumper.add_representer(
    str,
    lambda dumper, text: (
        dumper.represent_scalar("!unsafe", text, style='"')
        if "{" in text and text not in AUTH.values()
        else yaml.SafeDumper.represent_str(dumper, text)
    ),
)


@contextmanager
def playbook(*tasks: Mapping[str, Any]) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "naive.yml"
        play = {"hosts": "clusters", "gather_facts": False, "tasks": list(tasks)}
        file.write_text(yaml.dump([play], Dumper=_Dumper, width=1_000_000))
        yield str(file)


def a_task_an_object(namespace: str) -> list[dict[str, Any]]:
    return [
        {"kubernetes.core.k8s": {**AUTH, "definition": one, "wait": True, "wait_timeout": 120}}
        for one in written(namespace)
    ]


def one_task(namespace: str) -> list[dict[str, Any]]:
    return [{"kubernetes.core.k8s": {**AUTH, "definition": written(namespace), "wait": True, "wait_timeout": 120}}]


def gone(namespace: str) -> None:
    """The namespace and its volume are deleted, and really gone."""
    paths = [f"/api/v1/namespaces/{namespace}", f"/api/v1/persistentvolumes/{namespace}-models"]
    for path in paths:
        api.call("DELETE", path, accept=(404,))
    while any(api.call("GET", path, accept=(404,)).get("kind") != "Status" for path in paths):
        time.sleep(1)


def anew(namespace: str, side: Callable[[], Cost]) -> Cost:
    """What the side costs where nothing is there yet."""
    gone(namespace)
    return side()


def rounds(*sides: Callable[[], Cost]) -> list[tuple[Cost, ...]]:
    """The sides of a round one after the other, each round in turn."""
    return [tuple(side() for side in sides) for _ in range(ROUNDS)]


def row(what: str, target: str, measured: Sequence[tuple[Cost, ...]], against: int = 1) -> str:
    """Processor seconds decide: wall seconds are those of a machine that does other things, too."""
    ours, other = (statistics.median(one[side].cpu for one in measured) for side in (0, against))
    wall = (statistics.median(one[side].seconds for one in measured) for side in (0, against))
    work = ratio(one[0].cpu / one[against].cpu for one in measured)
    return f"| {what} | {target} | {work} | {ours:.1f} / {other:.1f} | {' / '.join(f'{each:.1f}' for each in wall)} |"


def requests(kubeconfig: Path) -> int:
    """How many requests the plays' own account sends in a run with nothing to do, by the API server's audit log."""
    before = controlplane.audited()
    environment = {"K8S_AUTH_KUBECONFIG": str(kubeconfig)}
    played = play("playbooks/deploy.yml", "-l", "lab", "-e", json.dumps(settings(OURS)), environment=environment)
    if played.rc or played.changed:
        raise SystemExit(played.output)
    time.sleep(2)  # the log is written in batches
    return controlplane.audited() - before


def account() -> Path:
    """A kubeconfig with the token of the account that rbac.yml makes."""
    # Where the roles look for a Prometheus, the account may read it.
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
    api.call("POST", "/api/v1/namespaces", namespace, accept=(409,))
    cost("playbooks/rbac.yml", variables=settings(OURS))
    path = f"/api/v1/namespaces/{OURS}/serviceaccounts/portal-stt-deployer/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
    config = yaml.safe_load(Path(os.environ["K8S_AUTH_KUBECONFIG"]).read_text())
    config["users"][0]["user"] = {"token": api.call("POST", path, asked)["status"]["token"]}
    file = Path(tempfile.mkdtemp(prefix="bench-")) / "kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return file


def deploys() -> Iterator[str]:
    """Rows of runs with nothing to do and with everything, and the requests of one with nothing."""
    for namespace in (OURS, THEIRS, ONE):
        gone(namespace)
    deploy = settings(OURS)
    cost("playbooks/deploy.yml", variables=deploy)
    with playbook(*a_task_an_object(THEIRS)) as naive, playbook(*one_task(ONE)) as at_once:
        cost(naive)
        cost(at_once)
        still = rounds(
            lambda: cost("playbooks/deploy.yml", variables=deploy),
            lambda: cost(naive),
            lambda: cost(at_once),
            lambda: cost(*SITE, variables=deploy),
        )
        yield row("`deploy.yml`, nothing to do / naive", "≤ 0.2", still)
        yield row("the same / one task with all objects", "≤ 1.5", still, 2)
        site = [(one[3], one[1]) for one in still]
        yield row("`site.yml` without NFS host and speech, nothing to do / naive", "≤ 0.3", site)
        yield f"| requests to the API server, nothing to do | ≤ 40 | {requests(account())} | | |"
        first = rounds(
            lambda: anew(OURS, lambda: cost("playbooks/deploy.yml", variables=deploy)),
            lambda: anew(THEIRS, lambda: cost(naive)),
        )
        yield row("first deploy / naive", "≤ 0.5", first)


def complete() -> Iterator[str]:
    """The row of an installation that has everything, which is more objects."""
    for namespace in (OURS, THEIRS):
        gone(namespace)
    deploy = {**settings(OURS), **ALL}
    cost("playbooks/deploy.yml", variables=deploy)
    with playbook(*a_task_an_object(THEIRS)) as naive:
        cost(naive)
        still = rounds(lambda: cost("playbooks/deploy.yml", variables=deploy), lambda: cost(naive))
    count = sum(one.get("kind") != "Status" for one in objects())
    yield row(
        f"`deploy.yml` with key, two servers and the clip ({count} objects), nothing to do / naive", "≤ 0.2", still
    )


def fleet() -> Iterator[str]:
    """The row of 5,000 nodes, some of which cannot run the image."""
    simulated.replace(simulated.FILES / "fleet-5000.yml")
    nodes = {"api_version": "v1", "kind": "Node", "label_selectors": ["nvidia.com/gpu.present=true"]}
    with playbook({"kubernetes.core.k8s_info": {**AUTH, **nodes}, "no_log": True}) as bare:
        found = rounds(lambda: cost("playbooks/preflight.yml", ends=2), lambda: cost(bare))
    yield row("`preflight.yml` on 5,000 nodes / one task that lists them", "≤ 1.5", found)


def main() -> None:
    """Measures, prints the table as it comes, and puts it into the page."""
    simulated.replace(simulated.FILES / "t4.yml")
    lines = ["| | target | ratio of processor seconds | processor seconds | wall seconds |", "|---|---|---|---|---|"]
    try:
        for line in itertools.chain(deploys(), complete(), fleet()):
            print(line, flush=True)
            lines.append(line)
    finally:
        simulated.replace(None)
        for namespace in (OURS, THEIRS, ONE):
            gone(namespace)
    put(PAGE, "run", "\n".join(lines))


if __name__ == "__main__":
    main()
