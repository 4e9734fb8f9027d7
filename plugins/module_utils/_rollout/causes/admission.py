# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Causes: no pod appears, because the API server refuses to create it."""

from __future__ import annotations

import re

from ..rule import Hit, Look, Rule
from ..seen import Seen
from ..words import Error, bounded, one_line, take_apart

_LIMITS = (
    r"(?:maximum|minimum) .{1,80} per (?:Container|Pod) is [^,]+, but (?:limit|request|no \w+) is [^.\]]+|"
    r"\S+ max limit to request ratio per (?:Container|Pod) is [^\]]+"
)
_UNDECIDED = (Error.UNREACHABLE, Error.TIMED_OUT, Error.RATE_LIMITED, Error.TLS, Error.UNTRUSTED, Error.EXPIRED)
"""Errors after which nobody has decided: a webhook that asks another server and does not reach it says "denied" too."""


def refused(pattern: str, *errors: Error) -> Look:
    """A pod does not appear: the API server refuses to create it. A ReplicaSet's controller says so until it can.

    errors: the innermost error, where whoever was asked could not decide.
    """

    def look(seen: Seen) -> Hit | None:
        if seen.job and seen.pods:
            return None
        events = [e for e in seen.events if e.reason == "FailedCreate" and e.kind != "Pod"]
        failure = seen.current.conditions.get("ReplicaFailure") if seen.current else None
        if seen.job:
            said = events[-1].message if events else ""
        else:
            said = failure.message if failure and failure.status == "True" else ""
        said = bounded(said)
        found = re.search(pattern, said, re.IGNORECASE | re.DOTALL) if said else None
        if not found or (errors and take_apart(said).error not in errors):
            return None
        times = max([e.count for e in events], default=1)
        return Hit(
            seen.subject,
            (f"FailedCreate: {one_line(said)}",),
            {k: one_line(v, 300).rstrip(" .") for k, v in found.groupdict("").items()},
            times,
        )

    return look


RULES: tuple[Rule, ...] = (
    Rule(
        "quota-exceeded",
        refused(
            r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>\S+), used: (?P<used>\S+), limited: (?P<most>\S+)"
        ),
        "Quota {quota} allows {most}, {used} is used, and the pod asks for {asked}.",
        "Raise the ResourceQuota or lower [spec.containers.resources].",
        patience=1.5,
        after_old=True,
        about=("limits", "cluster"),
    ),
    Rule(
        "quota-needs-limits",
        refused(r"failed quota: (?P<quota>[^:]+): must specify (?P<fields>.+)"),
        "Quota {quota} wants every container to set {fields}.",
        "Set them in [spec.containers.resources], or give the namespace a LimitRange with defaults.",
        patience=1.5,
        about=("limits",),
    ),
    Rule(
        "priority-class-missing",
        refused(r"no PriorityClass with name (?P<name>\S+) was found"),
        "The cluster has no PriorityClass {name}.",
        "Create it, or set [spec.priorityClassName] to one that is there.",
        patience=1.5,
        about=("priorityClass",),
    ),
    Rule(
        "runtime-class-missing",
        refused(r"RuntimeClass(?:\.node\.k8s\.io)? \"(?P<name>[^\"]+)\" not found"),
        "The cluster has no RuntimeClass {name}.",
        "Create it (the GPU Operator does), or unset [spec.runtimeClassName].",
        patience=1.5,
        about=("runtimeClass",),
    ),
    Rule(
        "pod-security-denied",
        refused(r"violates PodSecurity \"(?P<level>[^\"]+)\": (?P<why>.+)"),
        "Pod Security ({level}) refuses the pod: {why}.",
        "Make the pod fit the level, or label the namespace with a lower pod-security.kubernetes.io/enforce.",
        patience=1.5,
        about=("securityContext",),
    ),
    Rule(
        "limit-range",
        refused(rf"(?P<why>{_LIMITS})"),
        "The namespace's LimitRange refuses the pod: {why}.",
        "Change [spec.containers.resources] or the LimitRange.",
        patience=1.5,
        about=("limits",),
    ),
    Rule(
        "webhook-unreachable",
        refused(
            r"failed (?:calling|to call) (?:admission )?webhook(?: \"(?P<name>[^\"]+)\")?:? ?(?P<why>.*)|"
            r"failed calling (?P<other>\S+ webhook.*)"
        ),
        "Admission webhook {name} does not answer: {why}{other}.",
        "Bring the webhook's own pods back (its failurePolicy is Fail), then run again.",
        patience=60,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "security-context-constraint",
        refused(
            r"unable to validate against any (?P<which>(?:pod security policy|security context "
            r"constraint))s?:? ?(?P<why>.*)"
        ),
        "No {which} that the pod's service account may use lets it be made: {why}.",
        "Change what the words name in the pod's security context, or let its service account use one that allows it.",
        patience=1.5,
        about=("securityContext", "serviceAccount", "volume"),
    ),
    Rule(
        "security-context-constraint",
        refused(r"(?P<why>no providers available to validate pod request)"),
        "The cluster asks for a policy of pod security, and has none: {why}.",
        "Make one that the pod's service account may use, or switch the admission plug-in off.",
        patience=30,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "quota-exceeded",
        refused(r"(?P<why>insufficient quota to match these scopes.+)"),
        "The namespace has no quota for the pod's priority class: {why}",
        "Give the namespace a ResourceQuota with that scope, or change [spec.priorityClassName].",
        patience=1.5,
        about=("priorityClass", "cluster"),
    ),
    Rule(
        "policy-denied",
        refused(r"(?P<why>pods with .{1,80} priorityClass is not permitted.+)"),
        "The cluster does not allow the pod's priority class in this namespace: {why}",
        "Change [spec.priorityClassName], or let a ResourceQuota of the namespace allow it.",
        patience=1.5,
        about=("priorityClass",),
    ),
    Rule(
        "policy-undecided",
        refused(
            r"admission webhook ['\"](?P<name>[^'\"]+)['\"].{0,80} denied (?:the )?request:? (?P<why>.+)", *_UNDECIDED
        ),
        "The cluster's policy {name} could not decide about the pod: {why}.",
        "Let the policy's own pods reach what they ask (a registry, a log of signatures), then run again.",
        patience=60,
        outside=True,
        about=("cluster",),
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
        about=("policy",),
    ),
    Rule(
        "service-account-missing",
        refused(
            r"error looking up service account (?P<name>[^\s:]+)|serviceaccounts? \"(?P<other>[^\"]+)\" not found|"
            r"service account (?P<third>\S+) (?:was |is )?not found"
        ),
        "The service account {name}{other}{third} is not there.",
        "Create it; the controller manager makes the default one, so look whether that runs.",
        patience=2,
        about=("serviceAccount",),
    ),
    Rule(
        "service-account-missing",
        refused(r"no API token found for service account \"?(?P<name>[^\s\",]+)"),
        "The service account {name} has no token yet.",
        "The controller manager makes it: look whether that runs, and with which key it signs.",
        patience=60,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "namespace-terminating",
        refused(r"(?P<why>(?:unable to create new content in namespace|namespaces? \"?[^\s\"]+\"? not found).*)"),
        "The namespace is not there, or is being deleted: {why}.",
        "Wait until it is gone and run the deploy play; find out who deletes it.",
        patience=30,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "pod-refused",
        refused(r"(?P<why>user \"?system:\S+ cannot .+|cannot set blockOwnerDeletion.+)"),
        "The cluster does not let its own controller create the pod: {why}.",
        "Give the controller its role back (kubectl auth reconcile of the cluster's own roles).",
        patience=60,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "api-server-busy",
        refused(
            r"(?P<why>etcdserver: .+|resource quota evaluation timed out.*|Timeout: request did not complete.*|"
            r"status unknown for quota.*|too many requests.*|unable to handle the request.*|shutting down.*|"
            r"not yet ready.*|object has been modified.*)"
        ),
        "The API server does not get to creating the pod: {why}.",
        "See how the API server and its etcd are, then run again.",
        patience=60,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "api-server-busy",
        refused(r"(?P<why>.+)", Error.UNREACHABLE, Error.TIMED_OUT, Error.RATE_LIMITED),
        "The API server does not get to creating the pod: {why}.",
        "See how the API server and its etcd are, then run again.",
        patience=60,
        outside=True,
        about=("cluster",),
    ),
    Rule(
        "pod-refused",
        refused(r"(?P<why>(?:Pod )?\"[^\"]*\" is invalid: .+)"),
        "The API server finds the pod invalid: {why}",
        "Correct the field that the message names.",
        patience=10,
        about=("policy",),
    ),
    Rule(
        "pod-refused",
        refused(r"is forbidden: (?P<why>.+)"),
        "The API server forbids the pod: {why}",
        "Correct what the message names, or ask whoever set the rule for an exception.",
        patience=30,
        about=("policy",),
    ),
    Rule(
        "pod-refused",
        refused(r"(?P<why>.+)"),
        "The API server does not create the pod: {why}",
        "Read its words.",
        patience=120,
        outside=True,
        about=("cluster",),
        confidence="likely",
    ),
)
