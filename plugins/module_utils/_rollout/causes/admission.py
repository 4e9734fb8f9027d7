# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: no pod appears, because the API server refuses to create it."""

from __future__ import annotations

import re

from ..rule import Hit, Look, Rule, one_line
from ..seen import Seen

_LIMITS = r"(?:maximum|minimum) .+ per (?:Container|Pod) is [^,]+, but (?:limit|request) is [^.\]]+"


def refused(pattern: str) -> Look:
    """A pod does not appear: the API server refuses to create it. A ReplicaSet's controller says so until it can."""

    def look(seen: Seen) -> Hit | None:
        if seen.job and seen.pods:
            return None
        events = [e for e in seen.events if e.reason == "FailedCreate" and e.kind != "Pod"]
        failure = seen.current.conditions.get("ReplicaFailure") if seen.current else None
        if seen.job:
            said = events[-1].message if events else ""
        else:
            said = failure.message if failure and failure.status == "True" else ""
        found = re.search(pattern, said, re.IGNORECASE | re.DOTALL) if said else None
        if not found:
            return None
        times = max([e.count for e in events], default=1)
        return Hit(seen.subject, (f"FailedCreate: {one_line(said)}",), found.groupdict(""), times)

    return look


RULES: tuple[Rule, ...] = (
    Rule(
        "quota-exceeded",
        refused(
            r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<most>\S+)"
        ),
        "Quota {quota} allows {most}, {used} is used, and the pod asks for {asked}.",
        "Raise the ResourceQuota or lower speaches_resources.",
        patience=1.5,
        after_old=True,
    ),
    Rule(
        "quota-needs-limits",
        refused(r"failed quota: (?P<quota>[^:]+): must specify (?P<fields>.+)"),
        "Quota {quota} wants every container to set {fields}.",
        "Set them in speaches_resources, or give the namespace a LimitRange with defaults.",
        patience=1.5,
    ),
    Rule(
        "priority-class-missing",
        refused(r"no PriorityClass with name (?P<name>\S+) was found"),
        "The cluster has no PriorityClass {name}.",
        "Create it, or set speaches_gpu.priority_class to one that is there.",
        patience=1.5,
    ),
    Rule(
        "runtime-class-missing",
        refused(r"RuntimeClass(?:\.node\.k8s\.io)? \"(?P<name>[^\"]+)\" not found"),
        "The cluster has no RuntimeClass {name}.",
        "Create it (the GPU Operator does), or unset speaches_gpu.runtime_class.",
        patience=1.5,
    ),
    Rule(
        "pod-security-denied",
        refused(r"violates PodSecurity \"(?P<level>[^\"]+)\": (?P<why>.+)"),
        "Pod Security ({level}) refuses the pod: {why}.",
        "Make the pod fit the level, or label the namespace with a lower pod-security.kubernetes.io/enforce.",
        patience=1.5,
    ),
    Rule(
        "limit-range",
        refused(rf"(?P<why>{_LIMITS})"),
        "The namespace's LimitRange refuses the pod: {why}.",
        "Change speaches_resources or the LimitRange.",
        patience=1.5,
    ),
    Rule(
        "webhook-unreachable",
        refused(r"failed calling webhook \"(?P<name>[^\"]+)\": (?P<why>.+)"),
        "Admission webhook {name} does not answer: {why}.",
        "Bring the webhook's own pods back (its failurePolicy is Fail), then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "policy-denied",
        refused(
            r"(?:admission webhook|ValidatingAdmissionPolicy) ['\"](?P<name>[^'\"]+)['\"].* "
            r"denied (?:the )?request:? (?P<why>.+)"
        ),
        "The cluster's policy {name} refuses the pod: {why}",
        "Change what it names, or ask whoever owns the policy for an exception.",
        patience=1.5,
    ),
    Rule(
        "service-account-missing",
        refused(r"error looking up service account (?P<name>\S+):"),
        "The service account {name} is not there.",
        "Create it; the controller manager makes the default one, so look whether that runs.",
        patience=2,
    ),
    Rule(
        "api-server-busy",
        refused(
            r"(?P<why>etcdserver: .+|resource quota evaluation timed out.*|Timeout: request did not complete.*|"
            r"status unknown for quota.*|.*context deadline exceeded.*|.*connection refused.*|Too many requests.*)"
        ),
        "The API server does not get to creating the pod: {why}.",
        "See how the API server and its etcd are, then run again.",
        patience=60,
        outside=True,
    ),
    Rule(
        "pod-refused",
        refused(r"(?P<why>.+)"),
        "The API server refuses to create the pod: {why}",
        "Correct what the message names.",
        patience=2,
    ),
)
