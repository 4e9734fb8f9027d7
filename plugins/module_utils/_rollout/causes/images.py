# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: the image does not come."""

from __future__ import annotations

import re

from ..._kubernetes.objects import Container, Pod
from ..rule import Hit, Look, Rule, at, containers_of, essence, waiting, words_of
from ..seen import Seen

PULL = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "SignatureValidationFailed")
_REGISTRY = (
    r"connection refused|no such host|i/o timeout|no route to host|unreachable|handshake timeout|\bEOF\b|misbehaving|"
    r"connection reset|deadline exceeded|status(?: code)?:? ?(?:\[[^]]*\]: )?5\d\d|"
    r"\b5\d\d (?:internal|bad gateway|service (?:temporarily )?unavailable|gateway time-?out)"
)


def not_pulled(pattern: str) -> Look:
    """A container waits for its image, and the runtime says why."""

    def look(seen: Seen) -> Hit | None:
        for pod, container in containers_of(seen):
            if container.state == "waiting" and container.reason in PULL:
                said = essence(_pull_words(seen, pod, container) or container.message)
                found = re.search(pattern, _nameless(said, container.image), re.IGNORECASE)
                if found:
                    return Hit(at(pod), (f"{container.reason}: {said}",), words_of(container, found))
        return None

    return look


def _pull_words(seen: Seen, pod: Pod, container: Container) -> str:
    """Why an image is not pulled, where only the event says so: kubelets before 1.31, while they back off."""
    if not re.fullmatch(r'Back-off pulling image "[^"]*"', container.message):
        return ""
    start = f'Failed to pull image "{container.image}": '
    said = [e.message for e in seen.events if e.uid == pod.uid and e.message.startswith(start)]
    return said[-1][len(start) :] if said else ""


def _nameless(said: str, image: str) -> str:
    """Words of a runtime without names of images and addresses: what is in those is no cause."""
    return re.sub(r"https?://[^\s\"]+", "", said).replace(image, "")


RULES: tuple[Rule, ...] = (
    Rule(
        "image-name-invalid",
        waiting(("InvalidImageName", "ErrInvalidImageName")),
        "{image} is not an image name.",
        "Correct speaches_image: registry/repository:tag, in lower case.",
    ),
    Rule(
        "image-never-pulled",
        waiting(("ErrImageNeverPull",)),
        "{image} is not on the node, and imagePullPolicy is Never.",
        "Load the image onto the node, or let it be pulled.",
    ),
    Rule(
        "disk-full",
        not_pulled(r"no space left on device"),
        "{image} does not fit on the node's disk.",
        "Free space for the container runtime on the node.",
        patience=1.5,
    ),
    Rule(
        "registry-unauthorised",
        not_pulled(
            r"(?<![:.\d])40[13]\b|unauthorized|authorization failed|access denied|denied:|insufficient_scope|"
            r"no basic auth credentials",
        ),
        "The registry does not let the node pull {image}.",
        "Set speaches_registry.pull_secret to a Secret that may, and check the spelling of the repository.",
    ),
    Rule(
        "registry-rate-limited",
        not_pulled(r"\b429\b|toomanyrequests|rate limit"),
        "The registry's limit of pulls is reached.",
        "Wait, pull with an account (speaches_registry.pull_secret), or use a mirror.",
        patience=180,
        outside=True,
    ),
    Rule(
        "registry-tls",
        not_pulled(r"x509|certificate|server gave HTTP response to HTTPS client"),
        "The node does not trust the registry of {image}.",
        "Give the container runtime the registry's CA, or configure it as plain HTTP.",
    ),
    Rule(
        "registry-unreachable",
        not_pulled(_REGISTRY),
        "The node cannot reach the registry of {image}.",
        "Check name resolution and the route from the node to the registry, or use a mirror.",
        patience=90,
    ),
    Rule(
        "image-platform",
        not_pulled(r"no match for platform|exec format"),
        "{image} is not made for this node's processor.",
        "Choose an image for it.",
    ),
    Rule(
        "node-store-broken",
        not_pulled(r"parent snapshot|snapshot \S+ does not exist|content (?:digest )?sha256:\S+ not found"),
        "The store of the node's container runtime lacks parts of {image} that it should have.",
        "Remove the image from the node (crictl rmi), so that all of it is pulled; or restart the runtime.",
        patience=60,
        outside=True,
    ),
    Rule(
        "image-missing",
        not_pulled(r"not found|manifest unknown|name unknown|not known to registry|does not exist"),
        "The registry has no {image}.",
        "Correct the tag or digest in speaches_image; preflight lists what a registry has.",
    ),
    Rule(
        "image-not-pulled",
        not_pulled(r"."),
        "{image} cannot be pulled.",
        "Read the runtime's words.",
        patience=90,
    ),
)
