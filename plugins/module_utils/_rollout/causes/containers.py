# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: a container is not made, does not start, or ends."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..._kubernetes.objects import Container, Pod
from ..last_words import last_words
from ..rule import Hit, Look, Rule, at, containers_of, either, log_lines, one_line, probe_words, waiting, words_of
from ..seen import Seen

FAILED_PROBES = 3
"""So many failed startup probes say as much as one end of the process: a server may live on after a failed load."""

START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""A container waits because the node cannot make it. Which of them it is depends on the runtime."""

_STARTUP = "Startup probe failed"
_NO_ANSWER = r"connection refused|does not listen|no answer within|timed out"
_HUB = (
    r"huggingface|hf\.co|OfflineModeIsEnabled|LocalEntryNotFound|Max retries exceeded|Name or service not known|"
    r"Temporary failure in name resolution"
)
_NVIDIA = (
    r"nvidia-container-(?:cli|runtime)[^\n]+|(?:failed to [^\n:]*|unresolvable )?\bCDI\b[^\n]*|[^\n:]*\bNVML\b[^\n]*|"
    r"could not select device driver[^\n]*|libnvidia-ml[^\n]*"
)
_REQUIREMENT = r"requirement error: (?P<why>[^\n\"\\]+?)(?::? unknown)?(?=[\n\"\\]|$)"
_NO_SUCH_COMMAND = r"exec: |executable file|no such file or directory|permission denied"
_SLOW = (
    r"(?P<why>.*(?:timed out waiting for the condition|context deadline exceeded|"
    r"failed to sync (?:secret|configmap) cache|failed to reserve (?:container )?name|name is reserved).*)"
)
_SHARED = r"(?P<library>lib(?:cublas|cudnn|cuda|cudart|nv)\S*\.so\S*?)[:\s].*(?:not found|cannot be loaded|cannot open)"
PROBE_REMEDY = "Look at the log above; give a slow start more time with speaches_startup_seconds."


def ended(test: Callable[[Container], bool], log: str = "", message: str = "") -> Look:
    """A container ended in such a way and is not ready; `log`, `message`: what its last lines or status say."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            times = _times_ended(seen, pod, container)
            if container.exit is None or container.ready or not times or not test(container):
                continue
            lines = seen.logs.get((pod.uid, container.name), ())
            in_log = re.search(log, "\n".join(lines), re.IGNORECASE)
            in_status = re.search(message, container.exit.message, re.IGNORECASE | re.DOTALL)
            if in_log and in_status:
                words = words_of(container, in_log) | in_status.groupdict("")
                return Hit(at(pod), _exit_lines(container, lines), words, times)
        return None

    return look


def stopped(seen: Seen) -> Hit | None:
    """A server's container ended without an error; a Job's is meant to."""
    look = ended(lambda c: c.exit is not None and c.exit.code == 0 and c.exit.reason == "Completed" and not c.init)
    return None if seen.job else look(seen)


def out_of_memory(*, limited: bool) -> Look:
    """The kernel killed a container, at its limit or without one; the use before is known where there are metrics."""

    def test(container: Container) -> bool:
        killed = container.exit is not None and container.exit.reason == "OOMKilled"
        return killed and ("memory" in container.limits) == limited

    def look(seen: Seen) -> Hit | None:
        hit = ended(test)(seen)
        if hit is None:
            return None
        used = tuple(f"metrics.k8s.io: {name} used {much} when last measured" for name, much in seen.usage.items())
        return Hit(hit.where, (hit.evidence[0], *used, *hit.evidence[1:]), hit.words, hit.times)

    return look


def logged(pattern: str) -> Look:
    """The log of a container that has failed, or fails its startup probe, says so."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            lines = seen.logs.get((pod.uid, container.name), ())
            ends, probes = _times_ended(seen, pod, container), _failed_probes(seen, pod)
            if container.ready or not (ends or probes):
                continue
            times = ends + probes // FAILED_PROBES
            for line in reversed(lines):
                found = re.search(pattern, line, re.IGNORECASE)
                if found:
                    neighbours = tuple(f"holds a GPU: {who}" for who in seen.neighbours or () if pod.node == who.node)
                    evidence = (f"log: {line.strip()}", *neighbours)
                    return Hit(at(pod), evidence, words_of(container, found), times)
        return None

    return look


def killed_by(probe: str) -> Look:
    """The kubelet kills a container because a probe fails."""

    def look(seen: Seen) -> Hit | None:
        for event in reversed(seen.events):
            if event.reason == "Killing" and f"failed {probe} probe" in event.message:
                pod = next((p for p in seen.pods if p.uid == event.uid), None)
                if pod is None or pod.ready or not pod.containers:
                    continue
                said = probe_words(seen.events, pod, probe)
                named = [c for c in pod.containers if f"Container {c.name} " in event.message]
                killed = (named or [c for c in pod.containers if not c.init])[0]
                lines = seen.logs.get((pod.uid, killed.name), ())
                evidence = (f"{probe} probe: {said}", event.message, *log_lines(lines))
                return Hit(at(pod), evidence, {"said": said, **words_of(killed)}, event.count)
        return None

    return look


def seed_said(seen: Seen) -> Hit | None:
    """A pod left an explanation of its own (JSON with error, cause and remedy) as termination message."""
    for pod, container in reversed(list(containers_of(seen))):
        told = last_words(container.exit.message) if container.exit and container.exit.code else None
        if told:
            words = {"said": told.error.rstrip("."), "do": told.remedy}
            failures = seen.job.failed if seen.job else 1
            over = not told.again or _gave_up(seen)
            return Hit(at(pod), (f"cause: {told.cause}",) if told.cause else (), words, 99 if over else failures)
    return None


def _gave_up(seen: Seen) -> bool:
    """Whether a Job makes no more tries."""
    failed = seen.job.conditions.get("Failed") if seen.job else None
    return failed is not None and failed.status == "True"


def job_failed(reason: str) -> Look:
    """The Job's controller gave up."""

    def look(seen: Seen) -> Hit | None:
        failed = seen.job.conditions.get("Failed") if seen.job else None
        if failed is None or failed.status != "True" or (reason and failed.reason != reason):
            return None
        lines = [line for p in seen.pods for c in p.containers for line in seen.logs.get((p.uid, c.name), ())]
        return Hit(seen.subject, (f"{failed.reason}: {failed.message}", *log_lines(lines)))

    return look


def stuck(seen: Seen) -> Hit | None:
    """A container waits for something that no other rule names."""
    for pod, container in containers_of(seen):
        if container.state == "waiting" and container.reason not in ("", "ContainerCreating", "PodInitializing"):
            said = f"{container.reason}: {one_line(container.message)}".rstrip(": ")
            return Hit(at(pod), (said,), {"why": said, **words_of(container)})
    return None


def _exit_lines(container: Container, lines: tuple[str, ...]) -> tuple[str, ...]:
    ended = container.exit
    assert ended is not None
    said = f": {one_line(ended.message)}" if ended.message else ""
    again = f", restarted {container.restarts} times" if container.restarts else ""
    return (
        f"container {container.name} ended with {ended.reason or 'exit'} {ended.code}{said}{again}",
        *log_lines(lines),
    )


def _times_ended(seen: Seen, pod: Pod, container: Container) -> int:
    """How often the container has ended: restarts, and the end that has not been followed by one yet.

    A Job has a pod for each try.
    """
    if seen.job:
        return sum(_failed(c) for _, c in containers_of(seen))
    last = 1 if container.exit and container.state != "running" else 0
    return container.restarts + last


def _failed_probes(seen: Seen, pod: Pod) -> int:
    """How often the server answered the pod's startup probe, and failed it; while it loads, it does not answer."""
    failed = (e for e in seen.events if e.uid == pod.uid and e.reason == "Unhealthy" and _STARTUP in e.message)
    return sum(e.count for e in failed if not re.search(_NO_ANSWER, e.message, re.IGNORECASE))


def _failed(container: Container) -> bool:
    return container.exit is not None and container.exit.code != 0


def _not_started(container: Container) -> bool:
    return container.exit is not None and container.exit.reason in ("StartError", "ContainerCannotRun")


RULES: tuple[Rule, ...] = (
    Rule(
        "node-slow",
        waiting(("CreateContainerConfigError", "CreateContainerError"), _SLOW),
        "The node does not keep up with making the container: {why}.",
        "See how busy the node, its disk and its container runtime are.",
        patience=120,
        outside=True,
    ),
    Rule(
        "configuration-missing",
        waiting(("CreateContainerConfigError",), r"(?P<what>.*(?:not found|couldn't find key).*)"),
        "The container's environment names something that is not there: {what}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
    ),
    Rule(
        "cuda-requirement",
        either(ended(_failed, message=_REQUIREMENT), waiting(START, _REQUIREMENT)),
        "The node's driver does not meet what the image asks for: {why}.",
        "Run preflight: it names the image variant that fits this driver.",
    ),
    Rule(
        "gpu-runtime",
        either(ended(_failed, message=rf"(?P<why>{_NVIDIA})"), waiting(START, rf"(?P<why>{_NVIDIA})")),
        "NVIDIA's container runtime cannot give the container its GPU: {why}.",
        "Look at the driver on the node (nvidia-smi) and at the GPU Operator's pods.",
        patience=90,  # the driver's pod may be on its way to a new version
        outside=True,
    ),
    Rule(
        "bad-command",
        ended(_not_started, message=rf"^(?!.*(?:error mounting|cgroup)).*(?:{_NO_SUCH_COMMAND})"),
        "Container {container} cannot be started.",
        "Correct its command: the runtime's words name the file.",
    ),
    Rule(
        "start-failed",
        ended(_not_started, message=r"(?P<why>.+)"),
        "The node cannot start container {container}: {why}.",
        "Look at the container runtime, the disk and the volumes of the node.",
        patience=90,
    ),
    Rule(
        "container-refused",
        waiting(("CreateContainerConfigError", "CreateContainerError"), r"(?P<why>.+)"),
        "The node cannot make the container: {why}.",
        "Correct what the message names.",
        patience=1.5,
    ),
    Rule(
        "node-out-of-memory",
        out_of_memory(limited=False),
        "The node ran out of memory, and container {container}, which has no limit, was killed.",
        "Free memory on the node, or set speaches_resources.memory_limit, so that the scheduler makes room.",
        times=2,
        outside=True,
    ),
    Rule(
        "oom-killed",
        out_of_memory(limited=True),
        "Container {container} used more memory than its limit of {limit} and was killed.",
        "Raise speaches_resources.memory_limit: the model is in main memory once while it loads.",
    ),
    Rule(
        "cuda-driver-insufficient",
        logged(
            r"driver version is insufficient|cudaErrorInsufficientDriver|driver on your system is too old|"
            r"forward compatibility was attempted|unsupported toolchain|unsupported display driver / cuda driver"
        ),
        "The node's driver is too old for the image's CUDA.",
        "Run preflight: it names the image variant that fits this driver.",
    ),
    Rule(
        "cuda-no-kernel",
        logged(r"no kernel image is available|device kernel image is invalid|cudaErrorNoKernelImageForDevice"),
        "The image has no code for this GPU's architecture.",
        "Run preflight, and choose a variant of the image for this card.",
    ),
    Rule(
        "cuda-out-of-memory",
        logged(
            r"CUDA (?:failed with error |error: )?out of memory|cudaMalloc failed: out of memory|"
            r"cudaErrorMemoryAllocation|CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)|CUDNN_STATUS_ALLOC_FAILED|"
            r"failed to allocate memory for requested buffer"
        ),
        "The card has too little memory left for the model.",
        "Make room on the card, or use a smaller model or WHISPER__COMPUTE_TYPE=int8.",
        times=2,
    ),
    Rule(
        "cuda-library-missing",
        logged(rf"{_SHARED}|Library (?P<name>\S+) is not found|Unable to load any of \{{(?P<any>[^,}}]+)"),
        "The container lacks a CUDA library: {library}{name}{any}.",
        "Choose an image with CUDA (tag ends in -cuda), and see that the node's runtime is NVIDIA's.",
    ),
    Rule(
        "cuda-not-in-image",
        logged(r"not compiled with CUDA support"),
        "The image's server is made for processors without a GPU.",
        "Choose an image with CUDA (tag ends in -cuda).",
    ),
    Rule(
        "cuda-no-device",
        logged(
            r"no CUDA-capable device|cudaErrorNoDevice|CUDA driver initialization failed|No CUDA GPUs are available"
        ),
        "The container sees no GPU.",
        "See that speaches_gpu.count is at least 1 and the node's runtime is NVIDIA's (speaches_gpu.runtime_class).",
    ),
    Rule(
        "hub-unreachable",
        ended(
            lambda c: c.exit is not None and c.exit.code == 3,
            log=_HUB,
        ),
        "The server asks the model hub when it starts, does not reach it, and ends (exit status 3).",
        "Use speaches_model_source: seeded, which starts without the hub; or let the pod reach it.",
        times=2,
        confidence="likely",
    ),
    Rule(
        "seed-failed",
        seed_said,
        "{said}.",
        "{do}",
        times=4,
    ),
    Rule(
        "liveness-kills",
        killed_by("liveness"),
        "The liveness probe fails and the kubelet restarts container {container}: {said}",
        "See why the server does not answer (log above); a busy server needs a longer timeout.",
        times=2,
    ),
    Rule(
        "startup-never-passed",
        killed_by("startup"),
        "The startup probe never passed in its time; its last words: {said}",
        PROBE_REMEDY,
    ),
    Rule(
        "container-exits",
        stopped,
        "Container {container} ends by itself with exit status 0.",
        "A server must stay: correct its command.",
        times=2,
    ),
    Rule(
        "crash-loop",
        ended(_failed),
        "Container {container} ends with exit status {code} each time it starts.",
        "Look at its last words above.",
        times=3,
    ),
    Rule(
        "job-deadline",
        job_failed("DeadlineExceeded"),
        "The Job's activeDeadlineSeconds are over.",
        "Give it more time, or see what keeps it.",
    ),
    Rule(
        "job-failed",
        job_failed(""),
        "The Job has failed.",
        "Look at its last words above.",
    ),
    Rule(
        "container-waits",
        stuck,
        "Container {container} does not start: {why}.",
        "Read the node's words.",
        patience=90,
    ),
)
