# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: a container is not made, does not start, or ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..._kubernetes.objects import Container, Pod
from ..last_words import last_words
from ..rule import Hit, Look, Rule, at, containers_of, either, log_lines, probe_words, waiting, words_of
from ..seen import Seen
from ..words import Actor, Error, Said, bounded, one_line, take_apart
from . import cuda

FAILED_PROBES = 3
"""So many failed startup probes say as much as one end of the process: a server may live on after a failed load."""

START = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
"""A container waits because the node cannot make it. Which of them it is depends on the runtime."""

ALWAYS = 99

STARTED = ("StartError", "ContainerCannotRun")
_STARTUP = "Startup probe failed"
_NO_ANSWER = r"connection refused|does not listen|no answer within|timed out"
_NVIDIA = (
    r"nvidia-container-(?:cli|runtime)[^\n]+|(?:failed to [^\n:]*|unresolvable )?\bCDI\b[^\n]*|[^\n:]*\bNVML\b[^\n]*|"
    r"could not select device driver[^\n]*|libnvidia-ml[^\n]*|[^\n]*/(?:dev|run|driver|proc)/\S*nvidia[^\n]*|"
    r"[^\n]*runtime name: nvidia[^\n]*|[^\n]*\bruntime \"?nvidia\"?[^\n]*"
)
_REQUIREMENT = r"requirement error: (?P<why>[^\n\"\\]+?)(?::? unknown)?\s*(?=[\n\"\\]|$)"
_EXEC = r"\bexec:? |executable file|chdir to cwd|is a directory: unknown|(?<!\w)stat /\S+: no such file"
_NOT_OUR_FILE = (
    r"error mounting|cgroup|mount source path|/var/lib/(?:kubelet|containerd|docker)|hook|namespace path|"
    r"stat /(?:proc|sys|run)/|fork/exec|failed to start shim|retrieve OCI runtime error|apparmor_parser|"
    r"failed to (?:generate|stat)\b"
)
"""Files and programs of the node: runc replaces itself by the container's program, and forks for none of it."""
_SLOW = (
    r"timed out waiting for the condition|context deadline exceeded|"
    r"failed to sync (?:secret|configmap) cache|failed to reserve (?:container )?name|name is reserved"
)
_TOO_LITTLE = r"\bOOM-killed|memory limit (?:could be )?too low"
"""What runc and crun say of a container whose first process the kernel has killed."""
_USER = (
    r"(?:runAsNonRoot|non-root policy|unable to find (?:user|group)|no matching entries in (?:passwd|group)|"
    r"linux spec user)"
)
_DECLARED = (
    r"(?:directory onto a file|not a directory|read-only file ?system|idmap|seccomp|apparmor|"
    r"subPath|duplicate|invalid (?:mount|capability)|must be (?:absolute|unique))"
)
_HUB = (
    r"huggingface\.co|\bhf\.co|hf-mirror|HfHubHTTPError|LocalEntryNotFound|GatedRepo|RepositoryNotFound|RevisionNotFound|"
    r"EntryNotFoundError|download(?:ing)?\b|Hugging ?Face Hub|on the Hub\b|OfflineModeIsEnabled|"
    r"huggingface_hub\.\S*rror|/xet-core/|\bhf_xet\b|xethub"
)
_HUB_CLIENT = "/xet-core/"
"""Where the hub's own client was built: it names its sources in its messages, and no address."""
_CACHE = r"/hub\b|\.cache|models--|huggingface|/cache\b"
_PLAINLY = (
    r"^(?:Value|Type|Key|Attribute|Name|Syntax|Indentation|Import|ModuleNotFound|NotImplemented|Assertion|Unicode\w*|"
    r"Index|ZeroDivision)(?:Error)\b|ValidationError|unrecognized arguments|invalid choice|usage: |No module named|"
    r"command not found|MemoryError|bad_alloc|Error loading ASGI app|"
    r"^(?:\S*: )?(?:fatal|panic)\b|FileNotFoundError|symbol lookup error|GLIBC\S* not found"
)
"""Ends of a program that come again at each start with the same image, settings and files."""
PROBE_REMEDY = "Look at the log above; give a slow start more time with [spec.containers.startupProbe]."


def ended(
    test: Callable[[Container], bool], message: str = "", *errors: Error, actor: Actor | None = None, without: str = ""
) -> Look:
    """A container ended in such a way and is not ready; what its status says, the innermost error, and who says it."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            times = _times_ended(seen, pod, container)
            if container.exit is None or container.ready or not times or not test(container):
                continue
            text = bounded(container.exit.message)
            said = take_apart(text)
            if (errors and said.error not in errors) or (actor and said.actor is not actor):
                continue
            found = re.search(message, said.text if actor else text, re.IGNORECASE | re.DOTALL)
            if not found or (without and re.search(without, text, re.IGNORECASE)):
                continue
            lines = seen.logs.get((pod.uid, container.name), ())
            words = {"why": said.reason, **words_of(container), **found.groupdict("")}
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


def logged(pattern: str, *errors: Error, beside: str = "", when: Callable[[Container], bool] | None = None) -> Look:
    """The log of a container that has failed, or fails its startup probe, says so in a line.

    errors: the innermost error of that line. beside: what another line says. when: what the container asks for.
    """

    def look(seen: Seen) -> Hit | None:
        for pod, container, lines, times in _failing(seen):
            if when and not when(container):
                continue
            if beside and not any(re.search(beside, line, re.IGNORECASE) for line in lines):
                continue
            for line in reversed(lines):
                found = re.search(pattern, line, re.IGNORECASE)
                if found and (not errors or take_apart(line).error in errors):
                    neighbours = tuple(f"holds a GPU: {who}" for who in seen.neighbours or () if pod.node == who.node)
                    return Hit(at(pod), (f"log: {one_line(line)}", *neighbours), words_of(container, found), times)
        return None

    return look


def of_hub(*errors: Error, words: str = "", without: str = "") -> Look:
    """The server asked the model hub, and its last lines tell of such an error; a path with its name is no sign."""

    def look(seen: Seen) -> Hit | None:
        for pod, container, lines, times in _failing(seen):
            said = take_apart("\n".join(line for line in lines if not line.lstrip().startswith("File ")))
            asked = " ".join((said.plain, *(name for name in said.names if "://" in name or _HUB_CLIENT in name)))
            if not re.search(_HUB, asked, re.IGNORECASE) and not _unnamed(container, said):
                continue
            if (errors and said.error not in errors) or not re.search(words, said.plain, re.IGNORECASE):
                continue
            if without and re.search(without, said.plain, re.IGNORECASE):
                continue
            return Hit(at(pod), log_lines(lines), {**words_of(container), "why": said.reason}, times)
        return None

    return look


def _unnamed(container: Container, said: Said) -> bool:
    """Whether a server that ends as uvicorn does when its start fails could not reach something "
    "that it does not name."""
    return container.exit is not None and container.exit.code == 3 and not any("://" in name for name in said.names)


def _failing(seen: Seen) -> Iterator[tuple[Pod, Container, tuple[str, ...], int]]:
    """Containers that have failed, or fail their startup probe, with their last lines, and how often they failed."""
    for pod, container in containers_of(seen):
        ends, probes = _times_ended(seen, pod, container), _failed_probes(seen, pod)
        lines = seen.logs.get((pod.uid, container.name), ())
        if lines and not container.ready and (ends or probes):
            yield pod, container, tuple(bounded(line, 1000) for line in lines), ends + probes // FAILED_PROBES


def crashed(pattern: str = "") -> Look:
    """A container ends with an error; what its last line with words says."""

    def look(seen: Seen) -> Hit | None:
        hit = ended(_failed)(seen)
        if hit is None:
            return None
        lines = [line.removeprefix("log: ") for line in hit.evidence[1:]]
        found = [line for line in lines if re.search(pattern, line.strip(), re.IGNORECASE)] if pattern else lines
        if pattern and not found:
            return None
        hit = replace(hit, times=ALWAYS) if _gave_up(seen) else hit
        return replace(hit, words={**hit.words, "why": one_line(found[-1], 300) if found else "it left no words"})

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
            return Hit(at(pod), (f"cause: {told.cause}",) if told.cause else (), words, ALWAYS if over else failures)
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
    return container.exit is not None and container.exit.reason in STARTED


RULES: tuple[Rule, ...] = (
    Rule(
        "node-slow",
        waiting(("CreateContainerConfigError", "CreateContainerError"), _SLOW),
        "The node does not keep up with making the container: {why}.",
        "See how busy the node, its disk and its container runtime are.",
        patience=120,
        outside=True,
        about=("node",),
    ),
    Rule(
        "configuration-missing",
        waiting(("CreateContainerConfigError",), r"\b(?:secret|configmap)s?\b.{0,300}\bnot found|couldn't find key"),
        "The container's environment names something that is not there: {why}.",
        "Run the deploy play: it makes it. If somebody removes it, find out who.",
        patience=1.5,
        about=("secret", "settings"),
    ),
    Rule(
        "cuda-requirement",
        either(ended(_failed, _REQUIREMENT), waiting(START, _REQUIREMENT)),
        "The node's driver does not meet what the image asks for: {why}.",
        "Run preflight: it names the image variant that fits this driver.",
        about=("image", "node"),
    ),
    Rule(
        "gpu-runtime",
        either(
            ended(_failed, rf"(?P<why>{_NVIDIA})", actor=Actor.NVIDIA, without=r"exec: \"?nvidia-smi"),
            waiting(START, rf"(?P<why>{_NVIDIA})", actor=Actor.NVIDIA),
        ),
        "NVIDIA's container runtime cannot give the container its GPU: {why}.",
        "Look at the driver on the node (nvidia-smi) and at the GPU Operator's pods.",
        patience=90,  # the driver's pod may be on its way to a new version
        outside=True,
        about=("node",),
    ),
    Rule(
        "nfs-stale",
        either(ended(_not_started, "", Error.STALE), waiting(START, "", Error.STALE)),
        "The node still holds a mount whose server does not know it any more: {why}.",
        "Run `exportfs -ra` on the server; restart the node, or unmount the path there, so that it is mounted anew.",
        patience=60,
        outside=True,
        about=("volume", "node"),
    ),
    Rule(
        "image-platform",
        either(
            ended(_not_started, "", Error.PLATFORM),
            waiting(START, "", Error.PLATFORM),
            logged(r"exec.*format error|illegal instruction|CPU .{0,40}does not support"),
        ),
        "{image} is not made for this node's processor.",
        "Choose an image for it ([spec.containers.image]); where it is, remove it from the node (crictl rmi).",
        patience=5,
        about=("image",),
    ),
    Rule(
        "bad-command",
        either(
            ended(
                _not_started, _EXEC, Error.MISSING, Error.NOT_PERMITTED, Error.BUSY, Error.NONE, without=_NOT_OUR_FILE
            ),
            waiting(START, _EXEC, Error.MISSING, Error.NOT_PERMITTED, without=_NOT_OUR_FILE),
        ),
        "Container {container} cannot be started.",
        "Correct its command: the runtime's words name the file.",
        about=("image", "command"),
    ),
    Rule(
        "oom-killed",
        either(ended(lambda c: _not_started(c) and "memory" in c.limits, _TOO_LITTLE), waiting(START, _TOO_LITTLE)),
        "Container {container} was killed for want of memory before it began; its limit is {limit}.",
        "Raise [spec.containers.resources].",
        about=("limits",),
    ),
    Rule(
        "start-failed",
        either(ended(_not_started, _USER), ended(_not_started, _DECLARED)),
        "Container {container} cannot be started as it is declared: {why}.",
        "Correct what the message names: the user, a path that is mounted, a security profile.",
        patience=10,
        about=("volume", "securityContext", "image"),
    ),
    Rule(
        "start-failed",
        ended(_not_started, r"."),
        "The node cannot start container {container}: {why}.",
        "Look at the container runtime, the disk and the volumes of the node.",
        patience=120,
        outside=True,
        about=("node",),
        confidence="likely",
    ),
    Rule(
        "container-refused",
        waiting(("CreateContainerConfigError", "CreateContainerError"), _USER),
        "The node does not make the container: {why}.",
        "Set a user by number in [spec.securityContext], or choose an image that has one.",
        patience=1.5,
        about=("securityContext", "image"),
    ),
    Rule(
        "container-refused",
        waiting(("CreateContainerConfigError", "CreateContainerError"), _DECLARED),
        "The node cannot make the container as it is declared: {why}.",
        "Correct what the message names.",
        patience=30,
        about=("volume", "securityContext"),
    ),
    Rule(
        "container-refused",
        waiting(("CreateContainerConfigError", "CreateContainerError"), r"."),
        "The node cannot make the container: {why}.",
        "Read its words.",
        patience=120,
        outside=True,
        about=("node",),
        confidence="likely",
    ),
    Rule(
        "node-out-of-memory",
        out_of_memory(limited=False),
        "The node ran out of memory, and container {container}, which has no limit, was killed.",
        "Free memory on the node, or set [spec.containers.resources], so that the scheduler makes room.",
        times=2,
        outside=True,
        about=("node", "limits"),
    ),
    Rule(
        "oom-killed",
        out_of_memory(limited=True),
        "Container {container} used more memory than its limit of {limit} and was killed.",
        "Raise [spec.containers.resources]: the model is in main memory once while it loads.",
        about=("limits", "image", "settings"),
    ),
    Rule(
        "seed-failed",
        seed_said,
        "{said}.",
        "{do}",
        times=4,
        about=("settings",),
    ),
    *cuda.rules(logged),
    Rule(
        "model-broken",
        logged(
            r"(?P<why>File \S+ is incomplete.*|CorruptedCacheException.*|CacheNotFound.*|Unable to open file '?model.*|"
            r"Unsupported model binary version.*|MetadataIncompleteBuffer.*|HeaderTooLarge.*|invalid load key.*|"
            r"Invalid input features shape.*|expected .{0,10}\(1, \d+, 3000\).*|invalid model.*|model\.bin.*|"
            r"(?:vocabulary|tokenizer|config|preprocessor_config)\.(?:json|txt).*(?:no such file|not found|missing).*)"
        ),
        "The model on the volume is not whole or does not fit its configuration: {why}.",
        "Seed it again: remove its directory in the cache and run the deploy play, which compares "
        "each file with the hub.",
        times=2,
        outside=True,
        about=("volume", "settings"),
    ),
    Rule(
        "cache-not-writable",
        logged(rf"(?P<why>.*(?:{_CACHE}).*)", Error.NOT_PERMITTED, Error.READ_ONLY),
        "The server may not write to its cache: {why}.",
        "Let the directory belong to the container's user ([spec.securityContext], fsGroup), or set "
        "the cache to one that "
        "does; a seeded volume that is mounted read-only needs none.",
        times=2,
        about=("volume", "securityContext", "settings"),
    ),
    Rule(
        "disk-full",
        logged(r"(?P<why>.+)", Error.NO_SPACE),
        "The server has no room left to write to: {why}.",
        "Make room on the volume or the node that the words name, or raise the limit of ephemeral storage.",
        times=2,
        about=("volume", "limits"),
    ),
    Rule(
        "hub-denied",
        of_hub(
            words=r"gated|must be authenticated|restricted|awaiting a review|invalid user token|invalid username",
            without="404",
        ),
        "The model hub does not let the server have the model: {why}.",
        "Give the server a token of an account that may (HF_TOKEN), or choose a model that is open.",
        times=2,
        about=("settings", "secret"),
    ),
    Rule(
        "model-not-found",
        of_hub(
            Error.MISSING,
            Error.DENIED,
            words=r"repository ?not ?found|revision ?not ?found|(?<!Local)entry ?not ?found|invalid rev",
        ),
        "The model hub has no such model, revision or file: {why}.",
        "Correct the model's name and revision; a private one needs a token (HF_TOKEN).",
        times=2,
        about=("settings",),
    ),
    Rule(
        "hub-denied",
        of_hub(Error.DENIED),
        "The model hub does not let the server have the model: {why}.",
        "Give the server a token of an account that may (HF_TOKEN), or choose a model that is open.",
        times=2,
        about=("settings", "secret"),
    ),
    Rule(
        "hub-tls",
        of_hub(Error.UNTRUSTED, Error.EXPIRED, Error.WRONG_NAME, Error.TLS),
        "The server does not trust what answers as the model hub: {why}.",
        "Give the container the CA of the proxy in between (REQUESTS_CA_BUNDLE, SSL_CERT_FILE), or seed the model.",
        times=2,
        outside=True,
        about=("settings",),
    ),
    Rule(
        "hub-rate-limited",
        of_hub(Error.RATE_LIMITED),
        "The model hub's limit of requests is reached.",
        "Wait, give the server a token (HF_TOKEN), or seed the model.",
        times=2,
        patience=180,
        outside=True,
        about=("settings",),
    ),
    Rule(
        "model-not-cached",
        of_hub(words=r"offline ?mode|HF_HUB_OFFLINE"),
        "The server may not ask the model hub, and the model is not whole in its cache.",
        "Seed it: run the deploy play; where it is seeded, compare the model's name and revision with what is there.",
        times=2,
        about=("settings", "volume"),
    ),
    Rule(
        "hub-unreachable",
        of_hub(Error.UNREACHABLE, Error.TIMED_OUT, Error.PLAIN_HTTP),
        "The server asks the model hub when it starts, does not reach it, and ends (exit status {code}).",
        "Seed the model ([model_source]), so that the server starts without the hub; or let the pod reach it.",
        times=2,
        patience=30,
        outside=True,
        confidence="likely",
        about=("settings",),
    ),
    Rule(
        "hub-unreachable",
        of_hub(
            words=r"outgoing traffic has been disabled|Local ?Entry ?Not ?Found|appropriate "
            r"(?:cached )?snapshot folder|find the requested files in the"
        ),
        "The model is not whole in the server's cache, and the hub was not reached or may not be asked.",
        "Seed it again: run the deploy play, which completes what is on the volume; or let the pod reach the hub.",
        times=2,
        patience=30,
        outside=True,
        about=("settings", "volume"),
    ),
    Rule(
        "volume-not-writable",
        logged(r"(?P<why>.+)", Error.NOT_PERMITTED, Error.READ_ONLY),
        "The program may not write, read or run what it needs: {why}.",
        "Let the directory on the volume belong to the container's user (on NFS: chown on the server, or its squash "
        "options), or change [spec.securityContext].",
        times=2,
        outside=True,
        about=("volume", "securityContext"),
    ),
    Rule(
        "liveness-kills",
        killed_by("liveness"),
        "The liveness probe fails and the kubelet restarts container {container}: {said}",
        "Look at the log above for why the server does not answer; a busy server needs a longer timeout.",
        times=2,
        about=(
            "probe",
            "image",
            "settings",
            "limits",
        ),
    ),
    Rule(
        "startup-never-passed",
        killed_by("startup"),
        "The startup probe never passed in its time; its last words: {said}",
        PROBE_REMEDY,
        about=(
            "probe",
            "image",
            "settings",
            "volume",
        ),
    ),
    Rule(
        "container-exits",
        stopped,
        "Container {container} ends by itself with exit status 0.",
        "A server must stay: correct its command.",
        times=2,
        about=(
            "image",
            "command",
        ),
    ),
    Rule(
        "crash-loop",
        crashed(_PLAINLY),
        "Container {container} ends with exit status {code} each time it starts: {why}",
        "Look at the log above, and correct what it names: the image, its command or its settings.",
        times=3,
        about=("image", "command", "settings", "volume"),
    ),
    Rule(
        "crash-loop",
        crashed(),
        "Container {container} ends with exit status {code} each time it starts: {why}",
        "Look at the log above.",
        times=6,  # the back-off between them makes these five minutes
        about=("image", "command", "settings", "volume"),
        confidence="likely",
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
        "Look at the log above.",
        patience=1.5,  # what its pod says may come after the Job's own condition
    ),
    Rule(
        "container-waits",
        stuck,
        "Container {container} does not start: {why}.",
        "Read the node's words.",
        patience=90,
        about=(
            "image",
            "node",
        ),
    ),
)
