# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The rules of the alerts, for Prometheus.

Levels and steps, no slopes: the memory of a tenant lies flat for days, and then doubles within one interval. And what
cannot be seen is an alert of its own: a rule whose metric is not there never fires.

Metrics of kube-state-metrics: docs/metrics/workload/{deployment,cronjob,job}-metrics.md there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from .._gpu.appetite import need
from .._gpu.memory import Kind, Names
from .settings import Settings, SettingsError

Rule = dict[str, Any]

PODS = "pod:portal_stt_gpu_memory:mib"
TENANTS = "tenant:portal_stt_gpu_memory:mib"
"""What the rules record: a tenant's GPU memory, by pod and together. tenant: NAMESPACE/CONTAINER."""

STEP_MIB = 1024
"""As in portal.stt.gpu_memory_check: so much at once is growth."""

_MIB = 1024 * 1024
_RECENT = "10m"
"""A peak is told for so long, or an alert would come and go with it."""

_BLIND = "15m"
_LATE_S = 900
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PROCESS = ("pid", "process_name", "vdevice_index", "vdeviceid")
_CARD = ("gpu", "GPU_I_ID")


def groups(settings: Settings, clip: str) -> list[dict[str, Any]]:
    """The groups of rules, as a PrometheusRule has them. clip: name of the CronJob.

    Raises SettingsError for a metric or label whose name is none.
    """
    rules = [*_server(settings), *_memory(settings)]
    if settings.synthetic.enabled:
        rules += _synthetic(settings, clip)
    return [{"name": f"portal-stt.{settings.namespace}.{settings.name}", "rules": rules}]


def ours_mib(settings: Settings) -> int:
    """What one server may take: as measured, else of the table; 0 where neither tells."""
    if settings.gpu_memory.ours_mib:
        return settings.gpu_memory.ours_mib
    compute = settings.server_environment().get("WHISPER__COMPUTE_TYPE", "default")
    found = need((one.model for one in settings.models), compute)
    return found.mib if found else 0


# ---- the server


def _server(settings: Settings) -> Iterator[Rule]:
    own = _deployment(settings)
    available, wanted = (
        f"max({selected(f'kube_deployment_{what}', own)})" for what in ("status_replicas_available", "spec_replicas")
    )
    yield _alert(
        settings,
        "NotWarm",
        f"{available} < {wanted}",
        "critical",
        "The speech-to-text server is not warm.",
        "{{ $value }} of its pods are warm, for longer than a start may take. Ready means warm: the pod's startup "
        "probe has a clip turned into text. kubectl get pods and describe tell more, and the verify play.",
        wait=f"{settings.startup_budget}s",
    )
    yield _blind(
        settings,
        "server",
        f"absent(max({selected('kube_deployment_spec_replicas', own)}))",
        "No metrics tell of the Deployment: it is gone, or kube-state-metrics is not there.",
    )


# ---- the card's memory


def _memory(settings: Settings) -> Iterator[Rule]:
    names = Names.of(settings.gpu_memory.metrics, settings.gpu_memory.labels)
    if "tenants" in settings.alerts.memory:
        yield from _tenants(settings, names)
    if "card" in settings.alerts.memory:
        yield from _card(settings, names)


def _tenants(settings: Settings, names: Names) -> Iterator[Rule]:
    ours = f"{settings.namespace}/{settings.name}"
    here = _server_label(settings)
    yield {"record": PODS, "expr": " or ".join(_by_pod(names)), "labels": here}
    yield {"record": TENANTS, "expr": f"sum by (tenant) ({selected(PODS, here)})", "labels": here}
    if most := ours_mib(settings):
        yield _alert(
            settings,
            "MemoryOverBudget",
            f"max_over_time({selected(PODS, {**here, 'tenant': ours})}[{_RECENT}]) > {most}",
            "warning",
            f"The speech-to-text server takes more of the card's memory than its budget of {most} MiB.",
            "{{ $labels.pod }} has taken {{ $value }} MiB. Others on the card may get none. Run the verify play, and "
            "declare what it measures.",
        )
    for one in settings.neighbours:
        tenant = selected(TENANTS, {**here, "tenant": one.name})
        rule = _alert(
            settings,
            "NeighbourOverBudget",
            f"max_over_time({tenant}[{_RECENT}]) > {one.peak_mib}",
            "warning",
            f"{literal(one.name)} takes more of the card's memory than the {one.peak_mib} MiB counted for it.",
            "It has taken {{ $value }} MiB. The speech-to-text server may get none for its next batch. Cap it or "
            "restart it.",
        )
        yield {**rule, "labels": {**rule["labels"], "tenant": literal(one.name)}}
    others = f"{{{_matcher('server', here['server'])},tenant!={quoted(ours)}}}"
    window = settings.gpu_memory.window
    yield _alert(
        settings,
        "NeighbourGrew",
        f"max_over_time({TENANTS}{others}[1h]) - max_over_time({TENANTS}{others}[{_duration(window)}] offset 1h) "
        f"> {STEP_MIB}",
        "warning",
        "{{ $labels.tenant }} has grown in the card's memory.",
        f"It is {{{{ $value }}}} MiB above its peak of the {_duration(window)} before. Memory grows in steps, and the "
        "next one may be on top of it. This alert lasts an hour: look at it in Prometheus, and cap or restart it.",
    )
    available = selected("kube_deployment_status_replicas_available", _deployment(settings))
    yield _blind(
        settings,
        "tenants",
        f"max({available}) > 0 unless on () {selected(TENANTS, {**here, 'tenant': ours})}",
        "The server is warm, and its GPU memory is not seen: the exporter is gone or blind, or calls it otherwise. So "
        "nobody's is known.",
    )


def _by_pod(names: Names) -> Iterator[str]:
    """MiB by tenant and pod, an expression a metric and a way to label it; the better one first.

    A process counts once, however many jobs scrape its exporter. Labels that come later in their order count where
    those before them are not there.
    """
    spaces, containers, pods = (_labels(names, what) for what in ("namespace", "container", "pod"))
    even = len(spaces) == len(containers) == len(pods)
    ways = zip(spaces, containers, strict=True) if even else product(spaces, containers)
    for metric, (space, container) in product(_metrics(names, Kind.SEATS), list(ways)):
        own = [pods[spaces.index(space)]] if even else list(pods)
        given = [f'{one}=""' for one in (*_before(spaces, space), *_before(containers, container))]
        given += [f'{space}!=""', f'{container}!=""']
        each = ", ".join(dict.fromkeys([space, container, *own, *_labels(names, "uuid"), *_PROCESS]))
        found = f"max by ({each}) ({metric}{{{','.join(given)}}})"
        found = f'label_join({found}, "tenant", "/", {quoted(space)}, {quoted(container)})'
        found = f'label_join({found}, "pod", "", {", ".join(map(quoted, own))})'
        yield f"sum by (tenant, pod) ({found}){_divided(metric)}"


def _card(settings: Settings, names: Names) -> Iterator[Rule]:
    metrics = _metrics(names, Kind.FREE)
    own = ", ".join(dict.fromkeys([*_labels(names, "uuid"), *_labels(names, "node"), *_CARD]))
    free = [selected(one, settings.alerts.cards) for one in metrics]
    least = [
        f"min by ({own}) (min_over_time({one}[{_RECENT}])){_divided(metric)}"
        for metric, one in zip(metrics, free, strict=True)
    ]
    headroom = settings.vram_headroom_mib
    if headroom:
        yield _alert(
            settings,
            "CardShortOfMemory",
            f"({' or '.join(least)}) < {headroom}",
            "warning",
            f"A card has less than {headroom} MiB left.",
            "{{ $value }} MiB are left. A time-sliced card has no isolation: who asks next is refused, while all pods "
            "stay Ready. The preflight play tells who would have to shrink.",
        )
    yield _blind(
        settings,
        "card",
        f"absent({' or '.join(free)})",
        "No metrics tell what the card has left: the exporter is gone, or calls it otherwise.",
    )


def _before(labels: Sequence[str], one: str) -> Sequence[str]:
    return labels[: labels.index(one)]


def _divided(metric: str) -> str:
    """As `read` of portal.stt.gpu_memory_info has it: what ends in `bytes` counts bytes, all else MiB."""
    return f" / {_MIB}" if metric.endswith(("bytes", "HostGPUMemoryUsage")) else ""


# ---- the clip that is sent now and then


def _synthetic(settings: Settings, clip: str) -> Iterator[Rule]:
    own = {"namespace": settings.namespace, "cronjob": clip}
    jobs = f"{{{_matcher('namespace', settings.namespace)},job_name=~{quoted(f'{clip}-[0-9]+')}"
    started = f"max by (job_name) (kube_job_status_start_time{jobs}}})"
    failed = f'max by (job_name) (kube_job_failed{jobs},condition="true"}}) == 1'
    good, made = (selected(f"kube_cronjob_{what}", own) for what in ("status_last_successful_time", "created"))
    yield _alert(
        settings,
        "SyntheticFailing",
        f"count(({started} and on (job_name) {failed}) > on () group_left () (max({good}) or max({made}))) >= 2",
        "critical",
        "Speech does not come back as text.",
        f"The last {{{{ $value }}}} runs of CronJob {literal(clip)} have failed. Why is the last line that one has "
        f"written: kubectl -n {literal(settings.namespace)} logs job/NAME.",
    )
    yield _alert(
        settings,
        "SyntheticNotRunning",
        f"time() - max({selected('kube_cronjob_next_schedule_time', own)}) > {_LATE_S}",
        "warning",
        "Speech is not tried.",
        f"CronJob {literal(clip)} is {{{{ $value }}}} s late: see its events.",
    )
    yield _blind(
        settings,
        "synthetic",
        f"absent(max({selected('kube_cronjob_created', own)}))",
        "No metrics tell of the CronJob: it is gone, or kube-state-metrics is not there.",
    )


# ---- how a rule is written


def _alert(
    settings: Settings, name: str, expr: str, severity: str, summary: str, description: str, *, wait: str = ""
) -> Rule:
    """summary, description: with what is inserted made literal; Prometheus fills in the rest."""
    own = {_label(name): literal(value) for name, value in settings.alerts.rule_labels.items()}
    return {
        "alert": f"PortalStt{name}",
        "expr": expr,
        **({"for": wait} if wait else {}),
        # By the namespace an operator's AlertmanagerConfig finds what is its own.
        "labels": {"severity": severity, **own, "namespace": settings.namespace, **_server_label(settings)},
        "annotations": {"summary": summary, "description": description},
    }


def _blind(settings: Settings, about: str, expr: str, description: str) -> Rule:
    summary = f"Alerts of the speech-to-text server are blind: {about}."
    rule = _alert(settings, "Blind", expr, "warning", summary, description, wait=_BLIND)
    return {**rule, "labels": {**rule["labels"], "about": about}}


def _server_label(settings: Settings) -> dict[str, str]:
    """Tells one server's alerts and records from another's."""
    return {"server": f"{settings.namespace}/{settings.name}"}


def _deployment(settings: Settings) -> dict[str, str]:
    return {"namespace": settings.namespace, "deployment": settings.name}


def selected(metric: str, labels: Mapping[str, str]) -> str:
    """A selector: whatever a value holds, it stays within its quotes. Raises SettingsError for a name that is none."""
    return f"{metric}{{{','.join(_matcher(name, value) for name, value in labels.items())}}}"


def _matcher(name: str, value: str) -> str:
    return f"{_label(name)}={quoted(value)}"


def quoted(text: str) -> str:
    """A text as PromQL writes it (Go's rules for strings in double quotes)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(sign if sign.isprintable() else _escaped(sign) for sign in escaped)}"'


def _escaped(sign: str) -> str:
    number = ord(sign)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def literal(text: str) -> str:
    """A text that Prometheus' templates leave as it is."""
    return text.replace("{{", '{{ "{{" }}')


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise SettingsError(f"label {name}", "is no name of a label.", "Use letters, digits and _.")
    return name


def _labels(names: Names, what: str) -> list[str]:
    return list(map(_label, names.labels[what]))


def _metrics(names: Names, kind: Kind) -> list[str]:
    for name in names.metrics[kind]:
        if not _METRIC.fullmatch(name):
            raise SettingsError(f"metric {name}", "is no name of a metric.", "Use letters, digits, _ and colons.")
    return list(names.metrics[kind])


def _duration(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,4}[smhdw]", text):
        raise SettingsError("speaches_gpu_memory.window", "is no duration.", "Write it as in 7d or 12h.")
    return text
