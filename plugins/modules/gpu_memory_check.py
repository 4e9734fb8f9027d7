#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_memory_check
short_description: Tell whether a speech server fits into a shared GPU's memory
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - A time-sliced card has no isolation of memory. What counts is the sum of what all tenants can take at their peaks,
    against what the driver gives away - the card's total without what the driver keeps for itself.
  - The verdict is that the server fits even when all are at their peaks, that it fits only now, which is a warning, or
    that it does not fit, which fails. It names who would have to shrink to what, and what else would do.
  - What the server takes is its operator's number, else its own measured peak, else a table with sources by model and
    compute type, with the batches that Speaches always uses.
  - With O(deployed=true), what it really takes is compared with what was reckoned, and every tenant that has grown is
    named; nothing fails then.
  - What cannot be told is a warning, and never a verdict. Where nothing was asked, or nothing has answered,
    M(portal.stt.gpu_memory_info) has said so, and nothing is found.
  - A card that is not shared has nobody else in it. Of several cards, as many need room as pods are to run.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  reading:
    description: What M(portal.stt.gpu_memory_info) returns as RV(portal.stt.gpu_memory_info#module:reading).
    type: dict
    required: true
  history:
    description: What it returns as RV(portal.stt.gpu_memory_info#module:history). Looked at with O(deployed=true).
    type: list
    elements: dict
    default: []
  deployed:
    description: Whether the server runs and has worked.
    type: bool
    default: false
  namespace:
    description: The server's namespace.
    type: str
    default: portal-stt
  container:
    description: The name of its container.
    type: str
    default: portal-stt
  models:
    description: The models that it holds.
    type: list
    elements: str
    default: []
  compute_type:
    description: In which type CTranslate2 computes.
    type: str
    default: int8
  ours_mib:
    description: What the server takes at most, as measured. 0 where that is not known.
    type: int
    default: 0
  neighbours:
    description: Tenants of the card whose peaks are known. The larger of this and what is measured counts.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: NAMESPACE/CONTAINER.
        type: str
        required: true
      peak_mib:
        description: The most that it takes.
        type: int
        required: true
  headroom_mib:
    description: How much has to be left.
    type: int
    default: 0
  resource:
    description: An extended resource that stands for GPU memory and that the pod declares. Not looked at when left out.
    type: str
  quantity:
    description: How much of O(resource) the pod declares.
    type: str
    default: "0"
  label_selector:
    description: Which nodes are GPU nodes, as for M(portal.stt.gpu_node_info).
    type: raw
    default:
      nvidia.com/gpu.present: "true"
  app:
    description: The label C(app) of the server's pods, whose share of O(resource) becomes free.
    type: str
    default: portal-stt
  replicas:
    description: How many pods are to run.
    type: int
    default: 1
requirements:
  - kubernetes.core collection, with O(resource)
seealso:
  - module: portal.stt.gpu_memory_info
"""

EXAMPLES = r"""
- name: The server fits beside the others
  portal.stt.gpu_memory_check:
    reading: "{{ memory.reading }}"
    models: [deepdml/faster-whisper-large-v3-turbo-ct2]
    headroom_mib: 1024

- name: It fits beside a tenant that is idle now
  portal.stt.gpu_memory_check:
    reading: "{{ memory.reading }}"
    ours_mib: 1500
    neighbours:
      - name: llama-cpp/llama-swap
        peak_mib: 6996

- name: Who has grown is known
  portal.stt.gpu_memory_check:
    reading: "{{ memory.reading }}"
    history: "{{ memory.history }}"
    deployed: true
    models: [deepdml/faster-whisper-large-v3-turbo-ct2]
"""

RETURN = r"""
budgets:
  description: The sums, a card each, in MiB. C(left) and C(left_now) are negative where it is short.
  returned: where they can be reckoned
  type: list
  elements: dict
  sample:
    - card: Tesla T4 11111111 in gpu-node-1
      node: gpu-node-1
      name: portal-stt/portal-stt
      fit: fits
      usable: 14913
      ours: 1500
      tenants:
        - name: llama-cpp/llama-swap
          now: 0
          peak: 4455
      worst: 10205
      now: 5750
      left: 4708
      left_now: 9163
      headroom: 1024
      shrink: []
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: gpu.budget
      status: ok
      subject: portal-stt/portal-stt on Tesla T4 11111111 in gpu-node-1
      message: "fits, also when all are at their peaks: 4708 of 14913 MiB are left then."
      remedy: ""
      evidence: ["usable: 14913 MiB (used 4253 + free 10660)", "ours: 1500 MiB (as is set)"]
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Result, judge, leave
from ..module_utils._gpu.declared import declared
from ..module_utils._gpu.fit import Plan, after, as_result, before
from ..module_utils._gpu.labels import PRESENT
from ..module_utils._gpu.listing import selector_text
from ..module_utils._gpu.memory import Reading
from ..module_utils._kubernetes.cluster import connect

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "reading": {"type": "dict", "required": True},
        "history": {"type": "list", "elements": "dict", "default": []},
        "deployed": {"type": "bool", "default": False},
        "namespace": {"type": "str", "default": "portal-stt"},
        "container": {"type": "str", "default": "portal-stt"},
        "models": {"type": "list", "elements": "str", "default": []},
        "compute_type": {"type": "str", "default": "int8"},
        "ours_mib": {"type": "int", "default": 0},
        "neighbours": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"name": {"type": "str", "required": True}, "peak_mib": {"type": "int", "required": True}},
        },
        "headroom_mib": {"type": "int", "default": 0},
        "resource": {"type": "str"},
        "quantity": {"type": "str", "default": "0"},
        "label_selector": {"type": "raw", "default": PRESENT},
        "app": {"type": "str", "default": "portal-stt"},
        "replicas": {"type": "int", "default": 1},
    },
}


def run(params: Mapping[str, Any], **_: Any) -> Result:
    """The budget of each card, a failure where the server does not fit."""
    plan = Plan(
        params["namespace"],
        params["container"],
        tuple(params["models"]),
        params["compute_type"],
        params["ours_mib"],
        {one["name"]: one["peak_mib"] for one in params["neighbours"]},
        params["headroom_mib"],
        params["replicas"],
    )
    try:
        reading = Reading.from_result(params["reading"])
        history = [
            (str(one["name"]), [(float(at), int(mib)) for at, mib in one["points"]]) for one in params["history"]
        ]
    except (TypeError, ValueError, KeyError) as exc:
        said = f"it is not what portal.stt.gpu_memory_info returns ({type(exc).__name__})."
        raise CollectionError("option reading", said, "Give its reading, and its history.") from exc
    found = after(plan, reading, history) if params["deployed"] else before(plan, reading)
    if params["resource"] and not params["deployed"]:
        nodes, own = selector_text(params["label_selector"]), (params["namespace"], params["app"])
        found += declared(connect(params), params["resource"], params["quantity"], nodes, own, params["replicas"])
    return judge(params, found, budgets=as_result(plan, reading, deployed=params["deployed"]))


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
