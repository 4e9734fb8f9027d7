# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The account of the plays, and its rights: what the plays do, and nothing else (docs/rbac.md).

RBAC can tie a right to names, but not `create`, and `list` and `watch` only for who asks for one name. So what must
not be made at will (namespaces, volumes, Secrets, ConfigMaps) is made by the administrator, and the account is given
it by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .manifests import RULES, fillable, marks
from .settings import Settings, SettingsError

Object = dict[str, Any]

_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Right:
    """One rule. group: API group, empty for the core. names: of the only objects meant; empty for all of the kind.

    why: the plays that need it.
    """

    why: str
    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    names: tuple[str, ...] = ()

    def rule(self) -> Object:
        """As in a Role."""
        named: Object = {"resourceNames": list(self.names)} if self.names else {}
        return {"apiGroups": [self.group], "resources": list(self.resources), **named, "verbs": list(self.verbs)}


def account(settings: Settings) -> list[Object]:
    """ServiceAccount, roles and bindings. Raises SettingsError when a name is empty, which would mean every object."""
    name = f"{settings.name}-deployer"
    everywhere = f"{settings.namespace}-{name}"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(settings, name, settings.namespace)},
        *_bound(settings, "Role", name, inside(settings), settings.namespace),
        *_bound(settings, "ClusterRole", everywhere, outside(settings), ""),
    ]


def sources(settings: Settings) -> list[Object]:
    """Roles and bindings in namespaces of others, which need not be there."""
    name = f"{settings.namespace}-{settings.name}-deployer"
    return [
        one
        for namespace, rights in sorted(elsewhere(settings).items())
        for one in _bound(settings, "Role", name, rights, namespace)
    ]


def inside(settings: Settings) -> list[Right]:
    """The rights in the namespace."""
    name, volume = _given("speaches_name", settings.name), _given("speaches_volume.name", settings.volume.name)
    secret, *texts = (one["metadata"]["name"] for one in fillable(settings))
    policies = (name, f"{name}-seed", f"{name}-clip")
    change = ("get", "patch", "delete")
    pull = (settings.registry.pull_secret,) if settings.registry.pull_secret else ()
    return [
        Right("deploy declares", "apps", ("deployments",), ("create",)),
        Right(
            "deploy, rollback, teardown", "apps", ("deployments",), ("get", "list", "watch", "patch", "delete"), (name,)
        ),
        Right(
            "deploy seeds: a Job has what it does in its name",
            "batch",
            ("jobs",),
            (*_READ, "create", "patch", "delete"),
        ),
        Right("deploy declares", "", ("persistentvolumeclaims", "services"), ("create",)),
        Right("deploy, teardown", "", ("persistentvolumeclaims",), change, (volume,)),
        Right("deploy explains a claim that is not bound", "", ("persistentvolumeclaims",), ("list", "watch")),
        Right("deploy, teardown, verify", "", ("services",), change, (name,)),
        Right("deploy declares", "networking.k8s.io", ("networkpolicies",), ("create",)),
        Right("deploy, teardown", "networking.k8s.io", ("networkpolicies",), change, policies),
        Right("deploy declares", "policy", ("poddisruptionbudgets",), ("create",)),
        Right("deploy, teardown", "policy", ("poddisruptionbudgets",), change, (name,)),
        *_optional(settings, name),
        Right("deploy fills, teardown empties", "", ("configmaps",), ("get", "patch"), tuple(texts)),
        Right("deploy fills, teardown empties", "", ("secrets",), ("get", "patch"), (secret,)),
        *([Right("preflight and deploy ask the registry", "", ("secrets",), ("get",), pull)] if pull else []),
        Right("deploy marks the revision that has served", "apps", ("replicasets",), (*_READ, "patch")),
        Right(
            "deploy replaces a pod that had failed before, teardown asks who mounts the volume",
            "",
            ("pods",),
            (*_READ, "delete"),
        ),
        Right("deploy shows what a container has written", "", ("pods/log",), ("get",)),
        Right("deploy explains a failure", "", ("events",), ("list", "watch")),
        Right("deploy says what a container used before it was killed", "metrics.k8s.io", ("pods",), ("get",)),
        Right("verify, through the proxy", "", ("services/proxy",), ("get", "create"), (f"{name}:http",)),
        Right("verify, with an API key or past a NetworkPolicy", "", ("pods/portforward",), ("get", "create")),
    ]


def _optional(settings: Settings, name: str) -> Iterator[Right]:
    """For what is made only where it is asked for, and removed where it is not."""
    kinds = (
        ("batch", "cronjobs", f"{name}-clip", settings.synthetic.enabled),
        (RULES.partition("/")[0], "prometheusrules", name, settings.alerts.enabled),
    )
    for group, resource, own, asked in kinds:
        yield Right("deploy without it, teardown", group, (resource,), ("get", "delete"), (own,))
        if asked:
            yield Right("deploy declares", group, (resource,), ("create",))
            yield Right("deploy", group, (resource,), ("patch",), (own,))


def elsewhere(settings: Settings) -> dict[str, list[Right]]:
    """The rights in namespaces of others, by namespace: to ask what measures the card's memory, where it is named.

    With a token it is asked by port-forward, which RBAC ties to pods and not to a Service: that right is not given.
    """
    memory, found = settings.gpu_memory, dict[str, list[Right]]()
    for source in (memory.prometheus, memory.exporter, memory.dcgm):
        place = _SERVICE.fullmatch(source.service)
        if place and not source.url and not source.token:
            secure = "https:" if source.scheme == "https" else ""
            right = Right(
                "preflight and verify ask who is in the card's memory",
                "",
                ("services/proxy",),
                ("get",),
                (f"{secure}{place['name']}:{place['port']}",),
            )
            found.setdefault(place["namespace"], []).append(right)
    return found


_SERVICE = re.compile(r"(?P<namespace>[a-z0-9-]{1,63})/(?P<name>[a-z0-9-]{1,63}):(?P<port>[a-z0-9-]{1,15})")


def outside(settings: Settings) -> list[Right]:
    """The rights in the whole cluster."""
    namespace = _given("speaches_namespace", settings.namespace)
    volume = _given("speaches_volume.name", settings.volume.name)
    return [
        Right("preflight looks at the nodes", "", ("nodes",), _READ),
        Right("preflight finds the driver's pods, deploy names who holds the GPUs", "", ("pods",), ("list",)),
        Right("preflight reads what NVIDIA's operator says", "nvidia.com", ("clusterpolicies",), ("list",)),
        Right("preflight reads what NVIDIA's DRA driver says", "resource.k8s.io", ("resourceslices",), ("list",)),
        Right("deploy finds its namespace there", "", ("namespaces",), ("get",), (namespace,)),
        Right(
            "deploy finds its volume there, teardown removes it",
            "",
            ("persistentvolumes",),
            ("get", "delete"),
            (volume,),
        ),
    ]


_READ = ("get", "list", "watch")


def _given(variable: str, name: str) -> str:
    if not name:
        raise SettingsError(variable, "is empty, and an account would have rights to all objects.", "Set it to a name.")
    return name


def _metadata(settings: Settings, name: str, namespace: str) -> Object:
    """namespace: empty for the whole cluster."""
    return {"name": name, **({"namespace": namespace} if namespace else {}), "labels": marks(settings)}


def _bound(settings: Settings, kind: str, name: str, rights: Sequence[Right], namespace: str) -> list[Object]:
    """A role and the binding of the account to it."""
    metadata = _metadata(settings, name, namespace)
    who = {"kind": "ServiceAccount", "name": f"{settings.name}-deployer", "namespace": settings.namespace}
    return [
        {"apiVersion": f"{_GROUP}/v1", "kind": kind, "metadata": metadata, "rules": [one.rule() for one in rights]},
        {
            "apiVersion": f"{_GROUP}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "subjects": [who],
            "roleRef": {"apiGroup": _GROUP, "kind": kind, "name": name},
        },
    ]
