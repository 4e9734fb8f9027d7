#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_memory_info
short_description: Tell who sits in a GPU's memory, now and at the peak
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Reads what monitoring measures of GPU memory, a card and a container each - from Prometheus, from the page of an
    exporter that tells processes, from DCGM's page - in this order, until containers and card are known.
  - Known are an exporter of C(gpu_pod_memory_used_bytes), dcgm-exporter with old and new labels and its three ways with
    time-sliced cards, HAMi, and nvidia_gpu_exporter; with any prefix to the names.
  - What cannot be told is said and never guessed. An empty page is blind or idle; a card's total at one pod's name is
    not that pod's; what is stale, has vanished, belongs to nobody or contradicts another source is named.
  - Prometheus is asked at most three times, whatever the number of cards. Never fails because of what it finds, or
    because a source does not answer.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  source:
    description: Which source is asked. By default each, in this order. V(none) asks nothing and says nothing.
    type: str
    choices: [auto, prometheus, exporter, dcgm, none]
    default: auto
  prometheus: &place
    description: Where it stands. Where none of the sources is named, the cluster's Services are looked through for the
      names that they usually have.
    type: dict
    suboptions:
      service:
        description: Its Service, as NAMESPACE/NAME:PORT, asked through the API server's proxy.
        type: str
      scheme:
        description: What the Service speaks.
        type: str
        choices: [http, https]
        default: http
      url:
        description: Its own address, in place of O(prometheus.service).
        type: str
      path:
        description: What stands before all paths of Prometheus' API, or the page's path, by default C(/metrics).
        type: str
      token:
        description:
          - A bearer token, sent to this host alone; redirects are not followed.
          - The API server's proxy would take it away, so that a Service is then asked by port-forward.
        type: str
      ca_cert:
        description: File with the certificate authority of O(prometheus.url), as PEM; or of the Service, where it is
          asked by port-forward and O(prometheus.scheme=https). Its certificate is to be for C(NAME.NAMESPACE.svc).
        type: path
      tenant:
        description: Sent as C(X-Scope-OrgID), for Mimir and the like.
        type: str
  exporter: *place
  dcgm: *place
  metrics:
    description: Names of metrics, in place of those that are known. Names that end in C(bytes) count bytes, others MiB.
    type: dict
    default: {}
    suboptions:
      seats:
        description: Memory by process or container.
        type: list
        elements: str
      used:
        description: Memory in use, a card each.
        type: list
        elements: str
      free:
        description: Memory that is free, a card each.
        type: list
        elements: str
      total:
        description: A card's whole memory.
        type: list
        elements: str
      reserved:
        description: What the driver keeps for itself.
        type: list
        elements: str
  labels:
    description: Names of labels, in place of those that are known, in the order in which they are looked for.
    type: dict
    default: {}
    suboptions:
      namespace:
        description: Of the pod's namespace.
        type: list
        elements: str
      pod:
        description: Of the pod.
        type: list
        elements: str
      container:
        description: Of the container.
        type: list
        elements: str
      node:
        description: Of the node.
        type: list
        elements: str
      uuid:
        description: Of the card's UUID.
        type: list
        elements: str
      product:
        description: Of the card's name.
        type: list
        elements: str
  window:
    description: Over which time peaks are looked for, such as V(12h) or V(7d).
    type: str
    default: 7d
  history:
    description: Whether the window itself is returned, which one more request to Prometheus takes.
    type: bool
    default: false
  nodes:
    description: What M(portal.stt.gpu_node_info) returns. Its labels complete what exporters leave open.
    type: list
    elements: dict
    default: []
  timeout:
    description: Seconds that a request may take.
    type: int
    default: 30
requirements:
  - prometheus-client (Python library), for pages
  - kubernetes.core collection
seealso:
  - module: portal.stt.gpu_memory_check
  - module: portal.stt.gpu_node_info
"""

EXAMPLES = r"""
- name: Who sits on the card is known, whatever the cluster's monitoring is called
  portal.stt.gpu_memory_info:
  register: memory

- name: Who sat there the last day, from a Prometheus that is named
  portal.stt.gpu_memory_info:
    prometheus:
      service: monitoring/prometheus-server:80
    window: 1d

- name: A Prometheus outside of the cluster that wants a token
  portal.stt.gpu_memory_info:
    prometheus:
      url: https://metrics.example.org/prometheus
      token: "{{ vault_metrics_token }}"
      tenant: homelab
"""

RETURN = r"""
reading:
  description: What was read, in MiB; what is not told is null. O(portal.stt.gpu_memory_check#module:reading) takes it.
  returned: success
  type: dict
  sample:
    source: Service monitoring/prometheus-server:80
    known: true
    at: 1788203100.0
    step: 120
    cards:
      - uuid: 11111111-2222-4333-8444-555555555555
        node: gpu-node-1
        product: Tesla T4
        slice: ""
        total: null
        used: 4253
        free: 10660
        reserved: 447
        shared: true
        usable: 14913
        usable_by: used 4253 + free 10660
        usable_is_measured: true
        usable_total: 15360
    seats:
      - namespace: immich
        container: immich-machine-learning
        pods: [immich-machine-learning-6c9d8f7b5d-x2v4k]
        now: 2150
        peak: 2150
        uuid: ""
    nobody: []
    peak_of_all: 4250
    doubts: []
history:
  description: Use over the window, as pairs of Unix seconds and MiB.
  returned: with O(history=true)
  type: list
  elements: dict
  sample:
    - name: immich/immich-machine-learning
      points: [[1788203100.0, 2150]]
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: gpu.memory
      status: ok
      subject: Service monitoring/prometheus-server:80
      message: 1 container has 2150 MiB of GPU memory.
      remedy: ""
      evidence: ["immich/immich-machine-learning: 2150 MiB now, 2150 at the peak"]
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, Result, leave, succeed
from ..module_utils._gpu.memory import LABELS, Names, completed
from ..module_utils._gpu.sources import Looked, Wish, look, named_places, seconds_of, told
from ..module_utils._kubernetes.cluster import Limits, connect

_TEXTS = {"type": "list", "elements": "str"}
PLACE: dict[str, Any] = {
    "type": "dict",
    "options": {
        "service": {"type": "str"},
        "scheme": {"type": "str", "choices": ["http", "https"], "default": "http"},
        "url": {"type": "str"},
        "path": {"type": "str"},
        "token": {"type": "str", "no_log": True},
        "ca_cert": {"type": "path"},
        "tenant": {"type": "str"},
    },
}
ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "source": {"type": "str", "choices": ["auto", "prometheus", "exporter", "dcgm", "none"], "default": "auto"},
        "prometheus": PLACE,
        "exporter": PLACE,
        "dcgm": PLACE,
        "metrics": {
            "type": "dict",
            "default": {},
            "options": dict.fromkeys(("seats", "used", "free", "total", "reserved"), _TEXTS),
        },
        "labels": {"type": "dict", "default": {}, "options": dict.fromkeys(LABELS, _TEXTS)},
        "window": {"type": "str", "default": "7d"},
        "history": {"type": "bool", "default": False},
        "nodes": {"type": "list", "elements": "dict", "default": []},
        "timeout": {"type": "int", "default": 30},
    },
}


def run(params: Mapping[str, Any], **_: Any) -> Result:
    """Who sits on the cards, and what is to be said of that."""
    names = Names.of(params["metrics"], params["labels"])
    seconds_of(params["window"])
    places, limits = named_places(params), Limits(silence=params["timeout"], whole=2.0 * params["timeout"])
    wish = Wish(names, params["window"], params["source"], params["timeout"], params["history"])
    is_asked = params["source"] != "none"
    looked = look(places, lambda: connect(params, limits), wish) if is_asked else Looked()
    reading = completed(looked.reading, params["nodes"])
    kept = [{"name": one.name, "points": [list(point) for point in one.points]} for one in looked.history]
    further = {"history": kept} if params["history"] else {}
    return succeed(params, told(looked, reading) if is_asked else [], reading=reading.as_result(), **further)


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
