"""Causes: what real kubelets, schedulers and API servers said, and what is made of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._kubernetes import objects as observed
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.objects import (
    Condition,
    Container,
    Event,
    Exit,
    Taint,
    Toleration,
)
from ansible_collections.portal.stt.plugins.module_utils._rollout.diagnosis import RULES, diagnose, unknown
from ansible_collections.portal.stt.plugins.module_utils._rollout.seen import Holder, Seen

CAPTURED = Path(__file__).parents[2] / "fixtures" / "faults"


def captured(name: str) -> dict[str, Any]:
    """A fault as it was captured: pod, events, statusHistory, and logs where there were any."""
    content: dict[str, Any] = json.loads((CAPTURED / f"{name}.json").read_text())
    return content


def seen_at(content: dict[str, Any], status: dict[str, Any], *, events: bool) -> Seen:
    """What is observed of a captured pod in one of its statuses."""
    pod = observed.pod({**content["pod"], "status": status})
    about = [observed.event(e) for e in content["events"] if e["involvedObject"].get("uid") == pod.uid]
    log = tuple((content.get("logs") or "").splitlines())
    return Seen(
        "Deployment",
        "faults",
        "stt",
        deployment=observed.Deployment("stt", "d", 1, 1, False, 1, 1, 1, 0, {}, {}),
        current=observed.ReplicaSet("stt-1", "r", 1, "", 0, {}, {}, {}),
        pods=(pod,),
        events=tuple(sorted(about, key=lambda event: event.last)) if events else (),
        logs={(pod.uid, "stt"): log} if log else {},
    )


NFS = "run the storage play"
WHAT = {
    "bad-command": ("bad-command", "Container stt cannot be started."),
    "crash-exit-3": (
        "crash-loop",
        "Container stt ends with exit status 3 each time it starts: fatal: model file missing",
    ),
    "image-denied": (
        "registry-unauthorised",
        "The registry does not let the node pull registry.example/stt:denied.",
    ),
    "image-name-invalid": ("image-name-invalid", "registry.example/STT:1 is not an image name."),
    "image-never": (
        "image-never-pulled",
        "lab.invalid/absent:1 is not on the node, and imagePullPolicy is Never.",
    ),
    "image-registry-dns": (
        "registry-unreachable",
        "The node cannot reach the registry of registry-unknown.example/stt:1.",
    ),
    "image-registry-down": (
        "registry-unreachable",
        "The node cannot reach the registry of registry-down.example/stt:1.",
    ),
    "image-tag-missing": ("image-missing", "The registry has no registry.example/stt:no-such-tag."),
    "liveness-fails": (
        "liveness-kills",
        'The liveness probe fails and the kubelet restarts container stt: Get "http://10.77.1.62:8001/health": '
        "dial tcp 10.77.1.62:8001: connect: connection refused",
    ),
    "missing-configmap-volume": (
        "configuration-missing",
        'The pod mounts something that is not there: configmap "no-such-cm".',
    ),
    "missing-secret": (
        "configuration-missing",
        'The container\'s environment names something that is not there: secret "no-such-secret" not found.',
    ),
    "nfs-not-exported": (
        "nfs-access-denied",
        "The NFS server 10.77.0.2 refuses to let the node mount /srv/nfs-ssd/not-exported: it is not exported to it, "
        "or is not there.",
    ),
    "nfs-path-missing": (
        "nfs-access-denied",
        "The NFS server 10.77.0.2 refuses to let the node mount /srv/nfs-ssd/does-not-exist: it is not exported to it, "
        "or is not there.",
    ),
    "nfs-server-refused": ("nfs-unreachable", "The NFS server 10.77.0.1 does not answer the node."),
    "nfs-server-unreachable": ("nfs-unreachable", "The NFS server 10.77.0.77 does not answer the node."),
    "nfs-subdir-missing": (
        "nfs-directory-missing",
        "The NFS server 10.77.0.2 has no directory /srv/nfs-ssd/portal-stt/missing, or does not export it.",
    ),
    "oom-killed": ("oom-killed", "Container stt used more memory than its limit of 64Mi and was killed."),
    "oom-killed-child": ("oom-killed", "Container stt used more memory than its limit of 64Mi and was killed."),
    "pvc-missing": ("claim-missing", "The PersistentVolumeClaim no-such-claim is not there."),
    "pvc-unbound": ("claim-unbound", "The PersistentVolumeClaim is not bound to a volume."),
    "readiness-fails": (
        "not-ready",
        "The container runs and its readiness probe fails: HTTP probe failed with statuscode: 503",
    ),
    "readiness-refused": (
        "not-ready",
        'The container runs and its readiness probe fails: Get "http://10.77.1.61:8001/health": '
        "dial tcp 10.77.1.61:8001: connect: connection refused",
    ),
    "startup-probe-fails": (
        "startup-never-passed",
        "The startup probe never passed in its time; its last words: model not loaded",
    ),
    "startup-probe-http-503": (
        "startup-never-passed",
        "The startup probe never passed in its time; its last words: HTTP probe failed with statuscode: 503",
    ),
    "startup-probe-timeout": (
        "startup-never-passed",
        'The startup probe never passed in its time; its last words: command timed out: "/bin/sh -c sleep 30" '
        "timed out after 2s",
    ),
    "unschedulable-gpu": (
        "unschedulable",
        "The scheduler finds no node: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    ),
    "unschedulable-selector": ("no-gpu-node", "No node has the labels nvidia.com/gpu.present=no."),
    "unschedulable-taint": ("taint-not-tolerated", "The node has a taint that the pod does not tolerate."),
}


HELD = observed.Node(
    "gpu-1",
    Condition("True"),
    False,
    (Taint("nvidia.com/gpu", "true", "NoSchedule"),),
    {},
    {"nvidia.com/gpu": "100"},
)
LOOKED_UP: dict[str, dict[str, Any]] = {
    "unschedulable-selector": {"neighbours": ()},
    "unschedulable-taint": {"neighbours": (), "nodes": {"gpu-1": HELD}},
}


@pytest.mark.parametrize("name", WHAT)
def test_captured_fault(name: str) -> None:
    content = captured(name)
    seen = replace(seen_at(content, content["pod"]["status"], events=True), **LOOKED_UP.get(name, {}))
    found = diagnose(seen)
    assert found is not None
    diagnosis, _, ripe = found
    assert (diagnosis.cause, diagnosis.what) == WHAT[name]
    assert ripe
    assert diagnosis.remedy
    assert diagnosis.evidence


@pytest.mark.parametrize("name", WHAT)
def test_nothing_is_said_of_a_pod_before_its_fault(name: str) -> None:
    """The first statuses of every captured pod are those of a healthy one."""
    content = captured(name)
    for step in content["statusHistory"][:4]:
        if (step["status"].get("containerStatuses") or [{}])[0].get("state", {}).get("waiting", {}).get("message"):
            break
        found = diagnose(seen_at(content, step["status"], events=False))
        placed = [c for c in step["status"].get("conditions", ()) if c["type"] == "PodScheduled"]
        if placed and placed[0]["status"] == "False":
            break
        assert found is None or not found[2] or found[0].cause in ("creating", "scheduler-silent"), found


def gpu_wanted(much: str, node: observed.Node) -> Seen:
    content = captured("unschedulable-gpu")
    seen = seen_at(content, content["pod"]["status"], events=True)
    (pod,) = seen.pods
    pod = replace(pod, containers=(replace(pod.containers[0], limits={"nvidia.com/gpu": much}),))
    return replace(
        seen,
        pods=(pod,),
        nodes={node.name: node},
        neighbours=(Holder("frigate", "frigate-0", 100, "nvidia.com/gpu", "gpu-1"),),
    )


@pytest.mark.parametrize(
    ("seen", "cause", "what"),
    [
        (
            gpu_wanted("200", HELD),
            "gpu-insufficient",
            "The pod asks for 200 nvidia.com/gpu, and no node has more than 100.",
        ),
        (gpu_wanted("1", HELD), "gpu-taken", "All nvidia.com/gpu are taken by other pods."),
        (
            gpu_wanted("1", replace(HELD, allocatable={"nvidia.com/gpu": "0"})),
            "gpu-not-advertised",
            "No node offers nvidia.com/gpu any more: the device plugin or the driver is down.",
        ),
    ],
)
def test_which_lack_of_gpus(seen: Seen, cause: str, what: str) -> None:
    found = diagnose(seen)
    assert found is not None
    assert (found[0].cause, found[0].what) == (cause, what)
    assert "holds nvidia.com/gpu: frigate/frigate-0: 100 nvidia.com/gpu on gpu-1" in found[0].evidence


def running(*, image: str = "img:1", **container: Any) -> Seen:
    """A pod on gpu-1 with one container."""
    content = captured("crash-exit-3")
    seen = seen_at(content, content["statusHistory"][2]["status"], events=False)
    one = Container("stt", image, **container)
    return replace(seen, pods=(replace(seen.pods[0], containers=(one,)),), logs={})


def with_log(seen: Seen, *lines: str) -> Seen:
    return replace(seen, logs={(seen.pods[0].uid, "stt"): lines})


def with_event(seen: Seen, reason: str, message: str, count: int = 1) -> Seen:
    pod = seen.pods[0]
    return replace(seen, events=(Event("Pod", pod.name, pod.uid, "Warning", reason, message, count, "2026"),))


def refused(message: str) -> Seen:
    seen = running()
    assert seen.current is not None
    failing = replace(seen.current, conditions={"ReplicaFailure": Condition("True", "FailedCreate", message)})
    return replace(seen, pods=(), current=failing)


STILL = "The kubelet on gpu-node-1 is still preparing the pod: image, volume or network."


def unplaced(said: str) -> Seen:
    """A pod that tolerates the GPU's taint, and what the scheduler said of it: one node has a GPU."""
    content = captured("unschedulable-selector")
    seen = seen_at(content, content["pod"]["status"], events=False)
    place = {"PodScheduled": Condition("False", "Unschedulable", f"0/3 nodes are available: {said}")}
    return replace(seen, pods=(replace(seen.pods[0], conditions=place),), nodes={"gpu-1": HELD}, neighbours=())


def ended(code: int, reason: str = "Error", message: str = "", restarts: int = 0) -> Seen:
    return running(state="terminated", reason=reason, restarts=restarts, exit=Exit(code, reason, message, "2026"))


def pulling(message: str) -> Seen:
    return running(state="waiting", reason="ErrImagePull", message=message)


NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
NO_CODE = "The image has no code for this GPU's architecture."
NO_MEMORY = "RuntimeError: CUDA failed with error out of memory"
TOO_LITTLE = "The card has too little memory left for the model."
OTHERS = "node(s) didn't match Pod's node affinity/selector"
ELSEWHERE = "The volume can only be used on other nodes than the GPU's."
APART = "The pod has to keep away from, or near to, other pods, and no GPU node is left"
NOT_YET = "The startup probe does not pass yet; its last words: warm: the server does not listen yet"


def waits(reason: str, message: str = "", **container: Any) -> Seen:
    return running(state="waiting", reason=reason, message=message, **container)


def not_started(message: str) -> Seen:
    told = f"failed to create containerd task: failed to create shim task: {message}"
    return waits("RunContainerError", told, exit=Exit(128, "StartError", told, "2026"))


def with_init(state: dict[str, Any], last: dict[str, Any] | None = None, restarts: int = 0) -> Seen:
    """A pod whose init container fetches something, while its server waits for that."""
    content = captured("crash-exit-3")
    pod = json.loads(json.dumps(content["pod"]))
    pod["spec"]["initContainers"] = [{"name": "fetch", "image": "fetch:1"}]
    fetch = {"name": "fetch", "ready": False, "restartCount": restarts, "state": state, "lastState": last or {}}
    server = {"name": "stt", "ready": False, "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"phase": "Pending", "initContainerStatuses": [fetch], "containerStatuses": [server]}
    return seen_at({**content, "pod": pod}, status, events=False)


SLOW = "The node does not keep up with making the container"
NO_GPU = "NVIDIA's container runtime cannot give the container its GPU"

STORE = "The store of the node's container runtime lacks parts of img:1 that it should have."
ABSENT = ("image-missing", "The registry has no img:1.")
UNREACHABLE = ("registry-unreachable", "The node cannot reach the registry of img:1.")
MOUNTING = (
    'MountVolume.SetUp failed for volume "m" : mount failed: exit status 32\nMounting command: mount\n'
    "Mounting arguments: -t nfs 10.77.0.2:/srv/m /var/lib/kubelet/pods/0/volumes/kubernetes.io~nfs/m\n"
    "Output: mount.nfs: "
)
STALE = "The NFS server 10.77.0.2 does not know /srv/m any more as it was: the directory or its disk was made anew."
NOT_LET = "The NFS server 10.77.0.2 refuses to let the node mount /srv/m: it is not exported to it, or is not there."
DRIVER_LATE = (
    "The volume's driver does not get volume m mounted in time; with NFS, most likely its server does not answer."
)
NOT_IN_TIME = "The volume's driver does not get volume m mounted in time: most likely its NFS server does not answer."

SEED = {
    "error": "The hub cannot be reached",
    "cause": "Name or service not known.",
    "remedy": "Let the pod reach it.",
    "code": 10,
}


def seeding(failed: int, **more: Any) -> Seen:
    seen = ended(10, message=json.dumps({**SEED, **more}))
    return replace(seen, kind="Job", deployment=None, current=None, job=observed.Job("seed", "j", False, 0, failed, {}))


@pytest.mark.parametrize(
    ("seen", "cause", "what", "ripe"),
    [
        (
            refused('pods "x" is forbidden: exceeded quota: small, requested: pods=1, used: pods=3, limited: pods=3'),
            "quota-exceeded",
            "Quota small allows pods=3, pods=3 is used, and the pod asks for pods=1.",
            True,
        ),
        (
            refused(
                'Internal error occurred: failed calling webhook "policy.example.com": failed to call webhook: '
                'Post "https://kyverno.kyverno.svc:443/validate": dial tcp 10.0.0.1:443: connect: connection refused'
            ),
            "webhook-unreachable",
            "Admission webhook policy.example.com does not answer: failed to call webhook: Post "
            '"https://kyverno.kyverno.svc:443/validate": dial tcp 10.0.0.1:443: connect: connection refused.',
            True,
        ),
        (
            refused('admission webhook "validate.kyverno.svc-fail" denied the request: no latest tags'),
            "policy-denied",
            "The cluster's policy validate.kyverno.svc-fail refuses the pod: no latest tags",
            True,
        ),
        (
            pulling("failed to copy: unexpected status code 429 Too Many Requests - Server message: toomanyrequests"),
            "registry-rate-limited",
            "The registry's limit of pulls is reached.",
            True,
        ),
        (
            pulling("failed to extract layer: write /var/lib/containerd/x: no space left on device"),
            "disk-full",
            "img:1 does not fit on the node's disk.",
            True,
        ),
        (
            pulling('Head "https://ghcr.io/v2/": tls: failed to verify certificate: x509: signed by unknown authority'),
            "registry-tls",
            "The node does not trust the registry of img:1.",
            True,
        ),
        (
            pulling("unexpected status from HEAD request to https://ghcr.io/v2/x: 503 Service Unavailable"),
            "registry-unreachable",
            "What answers as the registry of img:1 has an error of its own: unexpected status from HEAD request to "
            "https://ghcr.io/v2/x: 503 Service Unavailable.",
            True,
        ),
        (
            ended(
                128, "StartError", "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9: unknown"
            ),
            "cuda-requirement",
            "The node's driver does not meet what the image asks for: unsatisfied condition: cuda>=12.9.",
            True,
        ),
        (
            ended(
                128, "StartError", "stderr: nvidia-container-cli: initialization error: nvml error: driver not loaded"
            ),
            "gpu-runtime",
            "NVIDIA's container runtime cannot give the container its GPU: nvidia-container-cli: initialization error: "
            "nvml error: driver not loaded.",
            True,
        ),
        (
            with_log(ended(1), "RuntimeError: CUDA failed with error out of memory"),
            "cuda-out-of-memory",
            "The card has too little memory left for the model.",
            False,
        ),
        (
            with_log(ended(1), "RuntimeError: Library libcublas.so.12 is not found or cannot be loaded"),
            "cuda-library-missing",
            "The container lacks a CUDA library: libcublas.so.12.",
            True,
        ),
        (
            with_log(ended(3), "requests.exceptions.ConnectionError: host='huggingface.co': Max retries exceeded"),
            "hub-unreachable",
            "The server asks the model hub when it starts, does not reach it, and ends (exit status 3).",
            False,
        ),
        (ended(3), "crash-loop", "Container stt ends with exit status 3 each time it starts: it left no words", False),
        (
            ended(3, restarts=4),
            "crash-loop",
            "Container stt ends with exit status 3 each time it starts: it left no words",
            False,
        ),
        (
            ended(3, restarts=5),
            "crash-loop",
            "Container stt ends with exit status 3 each time it starts: it left no words",
            True,
        ),
        *(  # the server answers 500 and lives on after a load that failed
            (
                with_event(with_log(running(state="running"), line), "Unhealthy", f"Startup probe failed: {said}", n),
                cause,
                what,
                ripe,
            )
            for line, said, n, cause, what, ripe in (
                (NO_KERNEL, "warm: m: HTTP 500", 3, "cuda-no-kernel", NO_CODE, True),
                (NO_KERNEL, "warm: m: HTTP 500", 2, "cuda-no-kernel", NO_CODE, False),
                (NO_KERNEL, "warm: the server does not listen yet", 9, "startup-failing", NOT_YET, True),
                (NO_MEMORY, "warm: m: HTTP 500", 3, "cuda-out-of-memory", TOO_LITTLE, False),
                (NO_MEMORY, "warm: m: HTTP 500", 6, "cuda-out-of-memory", TOO_LITTLE, True),
            )
        ),
        (seeding(1, again=True), "seed-failed", "The hub cannot be reached.", False),
        (seeding(1), "seed-failed", "The hub cannot be reached.", False),
        *(
            (refused(said), "api-server-busy", f"The API server does not get to creating the pod: {why}.", True)
            for said, why in (
                ("etcdserver: request timed out", "etcdserver: request timed out"),
                ("Internal error occurred: resource quota evaluation timed out", "resource quota evaluation timed out"),
                (
                    "Timeout: request did not complete within requested timeout - context deadline exceeded",
                    "Timeout: request did not complete within requested timeout - context deadline exceeded",
                ),
                (
                    'pods "x" is forbidden: status unknown for quota: small, resources: pods',
                    "status unknown for quota: small, resources: pods",
                ),
            )
        ),
        (
            refused('admission webhook "a.example.com" denied the request without explanation'),
            "policy-denied",
            "The cluster's policy a.example.com refuses the pod: without explanation",
            True,
        ),
        *(
            (pulling(said), cause, what, True)
            for said, cause, what in (
                (
                    "failed to extract layer: failed to prepare extraction snapshot: parent snapshot sha256:0f5a does "
                    "not exist: not found",
                    "node-store-broken",
                    STORE,
                ),
                ("failed to copy: content digest sha256:0f5a: not found", "node-store-broken", STORE),
                ("reading manifest 1 in h/x: name unknown: repository name not known to registry", *ABSENT),
                (
                    'Head "https://1.dkr.ecr.eu-west-1.amazonaws.com/v2/x/manifests/1": no basic auth credentials',
                    "registry-unauthorised",
                    "The registry does not let the node pull img:1.",
                ),
                (
                    "unexpected status from HEAD request to https://h/v2/x/manifests/1: 503 Service Temporarily "
                    "Unavailable",
                    "registry-unreachable",
                    "What answers as the registry of img:1 has an error of its own: unexpected status from HEAD "
                    "request to https://h/v2/x/manifests/1: 503 Service Temporarily Unavailable.",
                ),
                (
                    "unexpected status from HEAD request to https://h/v2/x/manifests/1: 504 Gateway Time-out",
                    "registry-unreachable",
                    "What answers as the registry of img:1 has an error of its own: unexpected status from HEAD "
                    "request to https://h/v2/x/manifests/1: 504 Gateway Time-out.",
                ),
            )
        ),
        (
            running(
                state="waiting",
                reason="ErrImagePull",
                message='failed to resolve reference "h/img:403": failed to do request: '
                'Head "https://h/v2/img/manifests/403": dial tcp 10.0.0.1:403: connect: connection refused',
                image="h/img:403",
            ),
            "registry-unreachable",
            "The node cannot reach the registry of h/img:403.",
            True,
        ),
        (
            with_event(
                waits("ImagePullBackOff", 'Back-off pulling image "img:1"'),
                "Failed",
                'Failed to pull image "img:1": rpc error: code = Unknown desc = 429 Too Many Requests',
            ),
            "registry-rate-limited",
            "The registry's limit of pulls is reached.",
            True,
        ),
        *(
            (with_event(waits("ContainerCreating"), "FailedMount", said, 2), cause, what, True)
            for said, cause, what in (
                (f"{MOUNTING}Stale file handle", "nfs-stale", STALE),
                (f"{MOUNTING}Permission denied", "nfs-access-denied", NOT_LET),
                (f"{MOUNTING}Operation not permitted", "nfs-access-denied", NOT_LET),
                (
                    'MountVolume.SetUp failed for volume "m" : rpc error: code = DeadlineExceeded desc = context '
                    "deadline exceeded",
                    "volume-not-mounted",
                    DRIVER_LATE,
                ),
                (
                    'MountVolume.SetUp failed for volume "m" : rpc error: code = Aborted desc = An operation with the '
                    "given Volume ID h#x already exists",
                    "nfs-unreachable",
                    NOT_IN_TIME,
                ),
                (
                    'MountVolume.SetUp failed for volume "s" : failed to sync configmap cache: timed out waiting for '
                    "the condition",
                    "node-slow",
                    "The node does not keep up with fetching the pod's configmaps.",
                ),
                (
                    "Unable to attach or mount volumes: unmounted volumes=[m], unattached volumes=[m c]: timed out "
                    "waiting for the condition",
                    "volume-not-mounted",
                    "The kubelet cannot mount volume m.",
                ),
            )
        ),
        *(
            (with_log(ended(1, restarts=1), line), cause, what, True)
            for cause, what, lines in (
                (
                    "cuda-out-of-memory",
                    TOO_LITTLE,
                    (
                        "RuntimeError: CUDA error: out of memory",
                        "cudaMalloc failed: out of memory",
                        "RuntimeError: cuBLAS failed with status CUBLAS_STATUS_NOT_INITIALIZED",
                        "RuntimeError: cuDNN failed with status CUDNN_STATUS_ALLOC_FAILED",
                        "bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 1073741824",
                    ),
                ),
                (
                    "cuda-driver-insufficient",
                    "The node's driver is too old for the image's CUDA.",
                    (
                        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
                        "RuntimeError: CUDA failed with error forward compatibility was attempted on non supported HW",
                        "CUDA error: the provided PTX was compiled with an unsupported toolchain.",
                        "Error 803: system has unsupported display driver / cuda driver combination",
                    ),
                ),
                (
                    "cuda-library-missing",
                    "The container lacks a CUDA library: libcudnn_ops.so.9.1.0.",
                    ("Unable to load any of {libcudnn_ops.so.9.1.0, libcudnn_ops.so.9.1, libcudnn_ops.so.9}",),
                ),
                ("cuda-no-kernel", NO_CODE, ("RuntimeError: CUDA error: device kernel image is invalid",)),
                ("cuda-no-device", "The container sees no GPU.", ("RuntimeError: No CUDA GPUs are available",)),
                (
                    "cuda-not-in-image",
                    "The image's server is made for processors without a GPU.",
                    ("ValueError: This CTranslate2 package was not compiled with CUDA support",),
                ),
            )
            for line in lines
        ),
        *(  # the kubelet tries again, and gets there
            (waits(reason, said), "node-slow", f"{SLOW}: {said}.", True)
            for reason, said in (
                (
                    "CreateContainerConfigError",
                    "failed to sync secret cache: timed out waiting for the condition",
                ),
                (
                    "CreateContainerConfigError",
                    "failed to sync configmap cache: timed out waiting for the condition",
                ),
                ("CreateContainerError", "context deadline exceeded"),
                (
                    "CreateContainerError",
                    'failed to reserve container name "stt_stt-1_n_0": name "stt_stt-1_n_0" is reserved for "0f5a"',
                ),
            )
        ),
        *(
            (not_started(said), cause, what, True)
            for said, cause, what in (
                (
                    "failed to inject CDI devices: unresolvable CDI devices nvidia.com/gpu=all: unknown",
                    "gpu-runtime",
                    f"{NO_GPU}: failed to inject CDI devices: unresolvable CDI devices nvidia.com/gpu=all: unknown.",
                ),
                (
                    "failed to generate automatic CDI spec: failed to initialize NVML: ERROR_UNKNOWN: unknown",
                    "gpu-runtime",
                    f"{NO_GPU}: failed to generate automatic CDI spec: failed to initialize NVML: "
                    "ERROR_UNKNOWN: unknown.",
                ),
                (
                    'error mounting "/var/lib/kubelet/x" to rootfs at "/data": stale NFS file handle',
                    "nfs-stale",
                    "The node still holds a mount whose server does not know it any more: failed to create containerd "
                    'task: failed to create shim task: error mounting "/var/lib/kubelet/x" to rootfs at "/data": stale '
                    "NFS file handle.",
                ),
                (
                    'OCI runtime create failed: exec: "speaches": executable file not found in $PATH: unknown',
                    "bad-command",
                    "Container stt cannot be started.",
                ),
                *(
                    (
                        said,
                        "start-failed",
                        "The node cannot start container stt: failed to create containerd task: failed to create shim "
                        f"task: {said}.",
                    )
                    for said in (
                        "context deadline exceeded",
                        "unable to apply cgroup configuration: rmdir x: device or resource busy",
                        "mkdir /run/containerd/x: no space left on device",
                    )
                ),
            )
        ),
        (
            waits("CreateContainerError", "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all"),
            "gpu-runtime",
            f"{NO_GPU}: CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=all.",
            True,
        ),
        (
            waits(
                "CreateContainerError",
                'container create failed: time="2026-11-24T05:00:00Z" level=error msg="runc create failed: error in '
                'hook: stderr: nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.9\\n"',
            ),
            "cuda-requirement",
            "The node's driver does not meet what the image asks for: unsatisfied condition: cuda>=12.9.",
            True,
        ),
        *(
            (waits(said), "container-waits", f"Container stt does not start: {said}.", True)
            for said in ("ImageInspectError", "RunContainerError", "PostStartHookError")
        ),
        (
            with_init({"waiting": {"reason": "CrashLoopBackOff"}}, {"terminated": {"exitCode": 1}}, 7),
            "crash-loop",
            "Container fetch ends with exit status 1 each time it starts: it left no words",
            True,
        ),
        (
            with_init({"waiting": {"reason": "ErrImagePull", "message": "fetch:1: not found"}}),
            "image-missing",
            "The registry has no fetch:1.",
            True,
        ),
        (with_init({"running": {}}), "creating", STILL, True),
        (
            ended(137, "OOMKilled"),
            "node-out-of-memory",
            "The node ran out of memory, and container stt, which has no limit, was killed.",
            False,
        ),
        *(  # beside the words about nodes without a GPU, which the pod does not ask for
            (unplaced(f"{said}, 1 node(s) had untolerated taint(s), 1 {OTHERS}."), cause, what, True)
            for said, cause, what in (
                ("1 Too many pods", "resources-insufficient", "No GPU node has enough pods left."),
                ("1 node(s) had volume node affinity conflict", "volume-on-another-node", ELSEWHERE),
                ("1 node(s) didn't match PersistentVolume's node affinity", "volume-on-another-node", ELSEWHERE),
                (
                    "1 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
                    "volume-missing",
                    "The claim is bound to a volume that is not there any more.",
                ),
                (
                    "1 node(s) exceed max volume count",
                    "volumes-at-limit",
                    "The node cannot attach one more volume.",
                ),
                (
                    "1 node(s) didn't have free ports for the requested pod ports",
                    "ports-taken",
                    "Another pod has the port on the node that this one asks for.",
                ),
                (
                    "1 node(s) didn't match pod anti-affinity rules",
                    "kept-apart",
                    f"{APART}: pod anti-affinity rules.",
                ),
                (
                    "1 node(s) didn't satisfy existing pods anti-affinity rules",
                    "kept-apart",
                    f"{APART}: pods anti-affinity rules.",
                ),
                (
                    "1 node(s) didn't match pod topology spread constraints",
                    "kept-apart",
                    f"{APART}: pod topology spread constraints.",
                ),
            )
        ),
        (
            with_event(unplaced(f"3 {OTHERS}."), "TriggeredScaleUp", "pod triggered scale-up: [{gpu 0->1 (max: 2)}]"),
            "node-on-its-way",
            "An autoscaler makes a node for the pod.",
            True,
        ),
        (
            replace(with_event(unplaced(f"3 {OTHERS}."), "NotTriggerScaleUp", "pod didn't trigger scale-up"), nodes={}),
            "no-gpu-node",
            "No node has the labels nvidia.com/gpu.present=no.",
            True,
        ),
        (seeding(1, again=False), "seed-failed", "The hub cannot be reached.", True),
        (
            replace(
                seeding(1),
                job=observed.Job("seed", "j", False, 0, 1, {"Failed": Condition("True", "BackoffLimitExceeded")}),
            ),
            "seed-failed",
            "The hub cannot be reached.",
            True,
        ),
        (
            with_event(
                running(state="waiting", reason="ContainerCreating"), "FailedMount", "mount.nfs: Connection timed out"
            ),
            "nfs-unreachable",
            "The NFS server ? does not answer the node.",
            True,
        ),
        (
            with_event(
                running(state="waiting", reason="ContainerCreating"),
                "FailedMount",
                'MountVolume.MountDevice failed for volume "m" : kubernetes.io/csi: attacher.MountDevice failed to '
                "create newCsiDriverClient: driver name nfs.csi.k8s.io not found in the list of registered CSI drivers",
            ),
            "csi-driver-missing",
            "The node has no CSI driver nfs.csi.k8s.io.",
            True,
        ),
        (
            with_event(
                running(state="waiting", reason="ContainerCreating"),
                "FailedAttachVolume",
                'AttachVolume.Attach failed for volume "m" : timed out waiting for external-attacher of '
                "nfs.csi.k8s.io CSI driver to attach volume m",
            ),
            "csi-driver-missing",
            "The cluster has no CSI driver nfs.csi.k8s.io, or its attacher does not run.",
            True,
        ),
        (
            with_event(running(state="running", exit=None), "FailedMount", "mount.nfs: access denied by server", 9),
            "",
            "",
            False,
        ),
        (
            replace(
                running(state="waiting", reason="ContainerCreating"),
                nodes={
                    "gpu-node-1": replace(HELD, name="gpu-node-1", ready=Condition("Unknown", "NodeStatusUnknown", "x"))
                },
            ),
            "node-lost",
            "Node gpu-node-1 is not ready: its kubelet does not report, or its container runtime is down.",
            True,
        ),
    ],
)
def test_what_was_not_captured(seen: Seen, cause: str, what: str, ripe: bool) -> None:
    found = diagnose(seen)
    assert ((found[0].cause, found[0].what, found[2]) if found else ("", "", False)) == (cause, what, ripe)


def test_gpus_are_not_missed_while_the_old_pod_stops() -> None:
    seen = gpu_wanted("1", HELD)
    old = replace(seen.pods[0], uid="old", node="gpu-1", deleting=True)
    found = diagnose(replace(seen, old_pods=(old,)))
    assert found is not None
    assert (found[0].cause, found[2]) == ("gpu-taken", False)


def test_the_words_of_a_node_that_the_pod_does_not_ask_for_are_ignored() -> None:
    """Seen in a cluster with a cordoned node elsewhere: the scheduler counts it before it looks at the selector."""
    content = captured("unschedulable-selector")
    seen = seen_at(content, content["pod"]["status"], events=False)
    said = "0/4 nodes are available: 1 node(s) were unschedulable, 3 node(s) didn't match Pod's node affinity/selector."
    pod = replace(seen.pods[0], conditions={"PodScheduled": Condition("False", "Unschedulable", said)})
    found = diagnose(replace(seen, pods=(pod,), nodes={}, neighbours=()))
    assert found is not None
    assert found[0].cause == "no-gpu-node"


def test_limit_and_last_use_of_a_container_out_of_memory() -> None:
    found = diagnose(replace(ended(137, "OOMKilled"), usage={"stt": "3012Mi"}))
    assert found is not None
    assert found[0].evidence == (
        "container stt ended with OOMKilled 137",
        "metrics.k8s.io: stt used 3012Mi when last measured",
    )


def test_who_sits_on_the_card() -> None:
    seen = with_log(ended(1, restarts=1), "RuntimeError: CUDA failed with error out of memory")
    held = (
        Holder("frigate", "frigate-0", 1, "nvidia.com/gpu", "gpu-node-1"),
        Holder("x", "y", 1, "nvidia.com/gpu", "gpu-node-10"),
    )
    found = diagnose(replace(seen, neighbours=held))
    assert found is not None
    assert found[0].evidence == (
        "log: RuntimeError: CUDA failed with error out of memory",
        "holds a GPU: frigate/frigate-0: 1 nvidia.com/gpu on gpu-node-1",
    )


def test_a_pod_that_was_preempted_is_not_called_late() -> None:
    seen = gpu_wanted("1", HELD)
    event = Event("Pod", "stt-0", "gone", "Normal", "Preempted", "Preempted by pod a on node gpu-1", 1, "2026")
    found = diagnose(replace(seen, events=(*seen.events, event)))
    assert found is not None
    assert (found[0].cause, found[0].where) == ("preempted", "pod stt-0")


@pytest.mark.parametrize("reason", ["FailedMount", "FailedCreatePodSandBox"])
def test_what_a_start_overcame_is_not_its_cause(reason: str) -> None:
    """The event stays for an hour, while the model loads."""
    words = "mount.nfs: Connection timed out"
    starting = with_event(running(state="waiting", reason="ContainerCreating"), reason, words)
    found = diagnose(starting)
    assert found is not None
    assert found[0].cause in ("nfs-unreachable", "sandbox-failed")
    found = diagnose(with_event(running(state="running"), reason, words))
    assert found is None or found[0].cause not in ("nfs-unreachable", "volume-not-mounted", "sandbox-failed")


@pytest.mark.parametrize("name", LOOKED_UP)
def test_nodes_that_may_not_be_read_are_not_blamed(name: str) -> None:
    """The scheduler counts every node of the cluster: its words alone do not say what is wrong with the GPU's."""
    content = captured(name)
    found = diagnose(seen_at(content, content["pod"]["status"], events=True))
    assert found is not None
    assert (found[0].cause, found[1].patience) == ("unschedulable", 60)


@pytest.mark.parametrize(
    "key",
    [
        "node.kubernetes.io/disk-pressure",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "node.cilium.io/agent-not-ready",
        "ToBeDeletedByClusterAutoscaler",
        "karpenter.sh/unregistered",
        "karpenter.sh/disrupted",
    ],
)
def test_a_taint_that_passes_by_itself_is_given_time(key: str) -> None:
    content = captured("unschedulable-taint")
    seen = seen_at(content, content["pod"]["status"], events=True)
    node = replace(HELD, taints=(Taint(key, "", "NoSchedule"),))
    found = diagnose(replace(seen, neighbours=(), nodes={"gpu-1": node}))
    assert found is not None
    assert (found[0].cause, found[0].outside, found[1].patience) == ("node-under-pressure", True, 60)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        (Toleration("", True, "", ""), True),
        (Toleration("nvidia.com/gpu", True, "", ""), True),
        (Toleration("nvidia.com/gpu", True, "", "NoSchedule"), True),
        (Toleration("nvidia.com/gpu", True, "", "NoExecute"), False),
        (Toleration("nvidia.com/gpu", False, "true", ""), True),
        (Toleration("nvidia.com/gpu", False, "yes", ""), False),
        (Toleration("other", True, "", ""), False),
    ],
)
def test_what_a_toleration_is_good_for(toleration: Toleration, tolerated: bool) -> None:
    seen = unplaced("1 Too many things, 2 node(s) had untolerated taint(s).")
    pod = replace(seen.pods[0], tolerations=(toleration,))
    found = diagnose(replace(seen, pods=(pod,)))
    assert found is not None
    assert found[0].cause == ("unschedulable" if tolerated else "taint-not-tolerated")


def test_old_pods_that_stay_are_not_waited_for() -> None:
    """With RollingUpdate they go when the new one is ready; one that was evicted holds nothing."""
    seen = gpu_wanted("1", HELD)
    assert seen.deployment is not None
    rolling = replace(seen.deployment, recreate=False)
    stays = replace(seen.pods[0], uid="old", node="gpu-1")
    evicted = replace(stays, phase="Failed", reason="Evicted")
    for deployment, old, ripe in (
        (seen.deployment, stays, False),
        (seen.deployment, evicted, True),
        (rolling, stays, True),
        (rolling, replace(stays, deleting=True), False),
    ):
        found = diagnose(replace(seen, deployment=deployment, old_pods=(old,)))
        assert found is not None
        assert (found[0].cause, found[2]) == ("gpu-taken", ripe)


@pytest.mark.parametrize("reason", ["FailedMount", "FailedCreatePodSandBox"])
def test_what_a_pull_shows_to_be_over_is_not_its_cause(reason: str) -> None:
    """A container waits as it did before, while its image is pulled for minutes."""
    seen = with_event(running(state="waiting", reason="ContainerCreating"), reason, "access denied by server", 3)
    pulling = replace(seen.events[0], reason="Pulling", message="Pulling image", last="2027", type="Normal")
    found = diagnose(replace(seen, events=(*seen.events, pulling)))
    assert found is not None
    assert found[0].cause == "creating"


def test_the_second_of_two_pods_is_looked_at_too() -> None:
    seen = with_event(running(state="waiting", reason="ContainerCreating"), "FailedMount", "access denied by server", 3)
    first = replace(seen.pods[0], name="a", uid="a", containers=(Container("stt", "img:1", "running"),))
    found = diagnose(replace(seen, pods=(first, *seen.pods)))
    assert found is not None
    assert found[0].cause == "nfs-access-denied"
    short = refused('pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1')
    found = diagnose(replace(short, pods=(first,)))
    assert found is not None
    assert found[0].cause == "quota-exceeded"


def test_a_deadline_of_the_revision_before_is_history() -> None:
    seen = running(state="waiting", reason="PodInitializing")
    assert seen.deployment is not None
    late = {"Progressing": Condition("False", "ProgressDeadlineExceeded", "x")}
    waiting = replace(seen, deployment=replace(seen.deployment, conditions=late), pods=())
    found = diagnose(waiting)
    assert found is not None
    assert found[0].cause == "deadline"
    assert diagnose(replace(waiting, current=None)) is None
    assert waiting.deployment is not None
    changed = replace(waiting, deployment=replace(waiting.deployment, generation=2, observed=1))
    found = diagnose(changed)
    assert found is not None
    assert found[0].cause == "controller-silent"


def test_the_container_that_a_probe_kills_is_named_by_its_event() -> None:
    """A service mesh puts its own container first."""
    seen = with_event(running(state="running"), "Killing", "Container stt failed liveness probe, will be restarted", 2)
    pod = replace(seen.pods[0], containers=(Container("proxy", "mesh:1", "running"), *seen.pods[0].containers))
    logs = {(pod.uid, "proxy"): ("proxy is well",), (pod.uid, "stt"): ("stuck",)}
    found = diagnose(replace(seen, pods=(pod,), logs=logs))
    assert found is not None
    assert found[0].what.startswith("The liveness probe fails and the kubelet restarts container stt: ")
    assert found[0].evidence[-1] == "log: stuck"


@pytest.mark.parametrize(
    ("reason", "cause"), [("Evicted", "evicted"), ("UnexpectedAdmissionError", "rejected-by-node")]
)
def test_pods_that_a_node_turned_away(reason: str, cause: str) -> None:
    """They stay in the list for days; what counts is whether a newer one fares better."""
    seen = running()
    failed = tuple(
        replace(seen.pods[0], name=n, uid=n, phase="Failed", reason=reason, containers=(Container("stt", "img:1"),))
        for n in "abc"
    )
    found = diagnose(replace(seen, pods=failed))
    assert found is not None
    assert (found[0].cause, found[2], (found[1].patience or 0) >= 60) == (cause, True, True)
    loading = replace(seen.pods[0], containers=(Container("stt", "img:1", "running"),))
    assert diagnose(replace(seen, pods=(*failed, loading))) is None
    killed = replace(failed[0], containers=ended(137, "OOMKilled").pods[0].containers)
    assert diagnose(replace(seen, pods=(killed, loading))) is None


def test_unknown_tells_the_raw_facts_in_order() -> None:
    told = unknown(with_event(running(state="running"), "Odd", "something odd", 2))
    assert told.cause == "unknown"
    assert [line.split(":")[0] for line in told.evidence] == [
        "Deployment",
        "pod crash-exit-3 on node gpu-node-1",
        "container stt",
        "Pod crash-exit-3",
    ]


def test_every_rule_can_be_read() -> None:
    for rule in RULES:
        assert rule.cause == rule.cause.lower()
        assert rule.what.endswith((".", "}")), rule.cause
        assert rule.remedy.endswith((".", "}", "?")), rule.cause
