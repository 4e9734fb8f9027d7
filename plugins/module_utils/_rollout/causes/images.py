# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: the image does not come."""

from __future__ import annotations

import re
from dataclasses import replace

from ..._kubernetes.objects import Container, Pod
from ..rule import Hit, Look, Rule, at, containers_of, either, essence, waiting, words_of
from ..seen import Seen
from ..words import Error, one_line, take_apart

PULL = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed")
_REJECTED = r"source image rejected|signature|policy\.json"
_ON_THE_NODE = (
    r"no such file or directory|\bexec: |fork/exec|executable file|failed to extract|snapshotter|extraction snapshot|"
    r"stream processor"
)
"""A file, a program or a plug-in that the node lacks while it pulls: no registry says these words."""
_A_PART = (
    r"failed open: content at \S+ not found|blob unknown|"
    r"(?:fetching|reading|copying|writing) (?:config )?blob\b.{0,200}(?:\b404\b|not found)"
)
"""The registry knew the name, and has not all that the manifest names."""
_DIFFERS = r"unexpected commit digest|failed size validation|digest did not match|layer verification failed"
_STATUS = (
    r"status(?: ?code)?:? ?(?:from registry )?(?:<\d+>: |\[[^]]{0,80}\]: )?5\d\d|"
    r"\b5\d\d (?:internal|bad gateway|server error|service|gateway)"
)
_REFUSED = r"status(?: ?code)?:? ?(?:from registry )?(?:<\d+>: )?4\d\d|\b4\d\d bad request"
_ITSELF = r"\bhttps?\b|dial |tcp|lookup|Client\.Timeout|awaiting headers|TLS"
"""Words of a connection: beside them a deadline is the registry's; without them it may be that of the whole pull."""


def not_pulled(*errors: Error, words: str = "", without: str = "") -> Look:
    """A container waits for its image, and the runtime tells of such an error."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            if container.state == "waiting" and container.reason in PULL:
                message = essence(_pull_words(seen, pod, container) or container.message)
                said = take_apart(message, names_of(container.image))
                if errors and said.error not in errors:
                    continue
                if (without and re.search(without, said.text, re.IGNORECASE)) or not re.search(
                    words, said.plain, re.IGNORECASE
                ):
                    continue
                return Hit(at(pod), (f"{container.reason}: {said.text}",), {**words_of(container), "why": said.reason})
        return None

    return look


def secret_missing(seen: Seen) -> Hit | None:
    """The registry refuses, and the kubelet has not found a Secret that the pod names for it."""
    hit = not_pulled(Error.DENIED)(seen)
    told = [e for e in seen.events if e.reason == "FailedToRetrieveImagePullSecret" and e.kind == "Pod"]
    found = re.search(r"pull secrets \((?P<secret>[^)]{1,300})\)", told[-1].message) if told else None
    if hit is None or found is None:
        return None
    said = f"{told[-1].reason}: {one_line(told[-1].message)}"
    return replace(hit, evidence=(*hit.evidence, said), words={**hit.words, **found.groupdict()})


def names_of(image: str) -> tuple[str, ...]:
    """How a runtime may write an image without quotes, the longest first."""
    bare = re.sub(r"[@:][^/]*$", "", image)
    return (image, bare) if bare != image else (image,)


def _pull_words(seen: Seen, pod: Pod, container: Container) -> str:
    """Why an image is not pulled, where only the event says so: kubelets before 1.31, while they back off."""
    if not re.fullmatch(r'Back-off pulling image "[^"]*"', container.message):
        return ""
    start = f'Failed to pull image "{container.image}": '
    said = [e.message for e in seen.events if e.uid == pod.uid and e.message.startswith(start)]
    return said[-1][len(start) :] if said else ""


RULES: tuple[Rule, ...] = (
    Rule(
        "image-name-invalid",
        waiting(("InvalidImageName", "ErrInvalidImageName")),
        "{image} is not an image name.",
        "Correct [spec.containers.image]: registry/repository:tag, in lower case.",
        about=("image",),
    ),
    Rule(
        "image-never-pulled",
        waiting(("ErrImageNeverPull",)),
        "{image} is not on the node, and imagePullPolicy is Never.",
        "Load the image onto the node, or let it be pulled.",
        about=("image",),
    ),
    Rule(
        "disk-full",
        not_pulled(Error.NO_SPACE),
        "{image} does not fit on the node's disk.",
        "Free space for the container runtime on the node.",
        patience=1.5,
        about=("image", "node"),
    ),
    Rule(
        "registry-rate-limited",
        not_pulled(Error.RATE_LIMITED),
        "The registry's limit of pulls is reached.",
        "Wait, pull with an account ([spec.imagePullSecrets]), or use a mirror.",
        patience=180,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "registry-tls",
        not_pulled(Error.EXPIRED),
        "The certificate of the registry of {image} is not valid at the time that the node's clock shows: {why}.",
        "Compare the node's clock with the certificate's dates in these words: set the clock, or "
        "renew the certificate.",
        patience=60,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "registry-tls",
        not_pulled(Error.WRONG_NAME),
        "What answers as the registry of {image} has a certificate for another name: {why}.",
        "See where the node resolves the registry's name to (a wildcard of its DNS search domain, a "
        "proxy), or give the "
        "registry a certificate with its name.",
        patience=30,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "registry-tls",
        not_pulled(Error.PLAIN_HTTP),
        "The registry of {image} speaks plain HTTP, and the node expects HTTPS.",
        "Configure it as plain HTTP in the node's container runtime, or give the registry a certificate.",
        about=("registry",),
    ),
    Rule(
        "registry-tls",
        not_pulled(Error.UNTRUSTED, Error.TLS),
        "The node does not trust the registry of {image}.",
        "Give the container runtime the registry's CA, or configure it as plain HTTP.",
        about=("registry",),
    ),
    Rule(
        "image-not-pulled",
        not_pulled(Error.WRONG_CONTENT),
        "What answers as the registry of {image} sends something else, most likely a web page: {why}.",
        "Look at the proxy, mirror or portal between the node and the registry; the tag may well be there.",
        patience=90,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "registry-unreachable",
        not_pulled(Error.UNREACHABLE, words=_STATUS),
        "What answers as the registry of {image} has an error of its own: {why}.",
        "Wait and run again, or use a mirror; where a proxy or mirror is in between, look at it first.",
        patience=90,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "registry-unreachable",
        not_pulled(Error.UNREACHABLE),
        "The node cannot reach the registry of {image}.",
        "Check name resolution and the route from the node to the registry, or use a mirror.",
        patience=90,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "image-platform",
        not_pulled(Error.PLATFORM),
        "{image} is not made for this node's processor.",
        "Choose an image for it ([spec.containers.image]).",
        about=("image",),
    ),
    Rule(
        "node-store-broken",
        waiting(("ImageInspectError",), r"."),
        "The node's container runtime cannot read what it has of {image}: {why}.",
        "Remove the image from the node (crictl rmi), so that all of it is pulled anew; look at the runtime's disk.",
        patience=60,
        outside=True,
        about=("node",),
    ),
    Rule(
        "node-store-broken",
        not_pulled(words=_DIFFERS),
        "What the node got of {image} is not what its digest says: {why}.",
        "Look at the proxy or mirror in between and at the node's disk; restart the container runtime, so that it "
        "begins anew.",
        patience=60,
        outside=True,
        about=("registry", "node"),
    ),
    Rule(
        "node-store-broken",
        not_pulled(Error.INCOMPLETE),
        "The store of the node's container runtime lacks parts of {image} that it should have.",
        "Remove the image from the node (crictl rmi), so that all of it is pulled; or restart the runtime.",
        patience=60,
        outside=True,
        about=("image", "node"),
    ),
    Rule(
        "image-not-pulled",
        either(
            not_pulled(Error.DAMAGED, Error.READ_ONLY, Error.NOT_PERMITTED, Error.BUSY, Error.STALE),
            not_pulled(Error.UNSUPPORTED, words=r"<\d+>: operation not supported"),  # what it lies on cannot do it
        ),
        "The node cannot write {image} to its disk: {why}.",
        "Look at the disk of the container runtime on the node (dmesg), and at what it lies on.",
        patience=90,
        outside=True,
        about=("node",),
    ),
    Rule(
        "image-not-pulled",
        not_pulled(words=_REJECTED),
        "The node's policy for images rejects {image}: {why}.",
        "Sign the image as the policy asks for, or change the policy in the node's container runtime.",
        patience=10,
        about=("image",),
    ),
    Rule(
        "registry-unauthorised",
        secret_missing,
        "The registry does not let the node pull {image}, and the Secret for it is not there: {secret}.",
        "Create it, or correct [spec.imagePullSecrets].",
        patience=10,  # whoever makes the Secret may come after the pod
        about=("registry", "secret", "image"),
    ),
    Rule(
        "registry-unauthorised",
        not_pulled(Error.DENIED),
        "The registry does not let the node pull {image}.",
        "Set [spec.imagePullSecrets] to a Secret that may, and check the spelling of the repository.",
        about=("registry", "secret", "image"),
    ),
    Rule(
        "image-missing",
        not_pulled(Error.MISSING, words=_A_PART, without=_ON_THE_NODE),
        "The registry knows {image}, and lacks a part of it: {why}.",
        "Push the image again; where a mirror or proxy is in between, let that fetch it anew.",
        patience=60,
        about=("image", "registry"),
    ),
    Rule(
        "image-missing",
        not_pulled(Error.MISSING, without=_ON_THE_NODE),
        "The registry has no {image}.",
        "Correct the tag or digest in [spec.containers.image]; preflight lists what a registry has.",
        about=("image",),
    ),
    Rule(
        "registry-unreachable",
        not_pulled(Error.TIMED_OUT, words=_ITSELF),
        "The registry of {image} does not answer the node in time.",
        "Check the route from the node to the registry, or use a mirror.",
        patience=90,
        outside=True,
        about=("registry",),
    ),
    Rule(
        "image-not-pulled",
        not_pulled(Error.TIMED_OUT),
        "The pull of {image} did not end in time: it takes longer than the node allows, or the "
        "registry does not answer.",
        "Give pulls more time on the node (runtimeRequestTimeout of the kubelet where cri-dockerd pulls, the runtime's "
        "own limit elsewhere), pull the image there by hand, or use a mirror that is near.",
        patience=180,
        outside=True,
        about=("image", "registry"),
        confidence="likely",
    ),
    Rule(
        "image-not-pulled",
        not_pulled(Error.UNSUPPORTED),
        "The node's container runtime cannot use {image}: {why}.",
        "Build it for this runtime: another media type, compression or manifest version.",
        patience=60,
        about=("image",),
    ),
    Rule(
        "image-not-pulled",
        not_pulled(
            words=r"failed to extract|failed to unpack|mount callback failed|failed to register layer",
            without=r"\bexec: |fork/exec|executable file|stream processor",  # what the node lacks is not the image's
        ),
        "The node's container runtime cannot unpack {image}: {why}.",
        "Look at the disk and the version of the runtime on the node; where other nodes cannot either, build the image "
        "anew.",
        patience=90,
        about=("image", "node"),
        confidence="likely",
    ),
    Rule(
        "image-not-pulled",
        not_pulled(words=_REFUSED),
        "What answers as the registry of {image} refuses the request: {why}.",
        "Look at the proxy or mirror between the node and the registry; the tag may well be there.",
        patience=90,
        outside=True,
        about=("registry",),
        confidence="likely",
    ),
    Rule(
        "image-not-pulled",
        not_pulled(),
        "{image} cannot be pulled: {why}.",
        "Read the runtime's words.",
        patience=120,
        outside=True,
        about=("image", "registry"),
        confidence="likely",
    ),
)
