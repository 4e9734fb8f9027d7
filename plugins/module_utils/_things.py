# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What a remedy can ask an operator to set: the one table, and the one place that puts a name into a remedy.

A remedy names a thing in square brackets: ``Lower [resources.requests.cpu], or free some on the node.`` Whoever runs a
module can say, in its option `settings`, by which variable each thing is set; the remedy then names that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

THINGS: dict[str, str] = {
    # objects of a cluster
    "metadata.name": "metadata.name",
    "namespace.metadata.name": "metadata.namespace",
    "optional": "optional",
    "spec.selector.matchLabels": "spec.selector.matchLabels",
    "take_over": "take_over",
    "volume.metadata.name": "metadata.name",
    # image, nodes and the verdict
    "accept_unknown": "accept_unknown",
    "compute_type": "compute_type",
    "count": "count",
    "docker_config": "docker_config",
    "label_selector": "label_selector",
    "mirrors": "mirrors",
    "plain_http": "plain_http",
    "platform": "platform",
    "pull_secret": "pull_secret",
    "replicas": "replicas",
    "resource": "resource",
    "runtime_mode": "runtime_mode",
    "spec.strategy.type": "spec.strategy.type",
    # the server and its models
    "hub.endpoint": "HF_ENDPOINT",
    "image": "image",
    # a card's memory
    "memory.metrics": "metrics",
    "memory.neighbours": "neighbours",
    "memory.ours": "ours_mib",
    "memory.resource": "resource and quantity",
    "memory.source": "prometheus, exporter or dcgm",
    # nfs_export
    "allow_world": "allow_world",
    "directories": "directories",
    "install_server": "your playbook",
    "min_free_mib": "min_free_mib",
    "when_covered": "when_covered",
    # fields of what a rollout rolls out: the pods, and the volume that they mount
    "WHISPER__COMPUTE_TYPE": "spec.template.spec.containers.env WHISPER__COMPUTE_TYPE",
    "model_source": "the way in which the model comes",
    "spec.containers.image": "spec.template.spec.containers.image",
    "spec.containers.resources": "spec.template.spec.containers.resources",
    "spec.containers.startupProbe": "spec.template.spec.containers.startupProbe",
    "spec.csi.driver": "spec.csi.driver of the volume",
    "spec.imagePullSecrets": "spec.template.spec.imagePullSecrets",
    "spec.mountOptions": "spec.mountOptions of the volume",
    "spec.nfs": "spec.nfs of the volume",
    "spec.nodeSelector": "spec.template.spec.nodeSelector",
    "spec.priorityClassName": "spec.template.spec.priorityClassName",
    "spec.runtimeClassName": "spec.template.spec.runtimeClassName",
    "spec.securityContext": "spec.template.spec.securityContext",
    "spec.tolerations": "spec.template.spec.tolerations",
    "spec.volumes": "spec.template.spec.volumes",
    # transcription_check
    "max_wer": "max_wer",
    "namespace": "namespace",
    "requests": "requests",
    "server_api_key": "server_api_key",
    "service": "service",
    "timeout": "timeout",
    "url": "url",
}
"""Thing → how it is called where nobody has said which variable sets it: a field's path or an option's name."""

_MARK = re.compile(r"\[([A-Za-z][\w./-]*)\]")


def told(remedy: str, settings: Mapping[str, str]) -> str:
    """The remedy with each thing of the table under its name; `settings`: thing → variable. Other brackets stay."""

    def name(mark: re.Match[str]) -> str:
        thing = mark[1]
        return settings.get(thing) or THINGS[thing] if thing in THINGS else mark[0]

    return _MARK.sub(name, remedy)
