#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_node_info
short_description: List GPU nodes with driver, CUDA version, card and seats
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Reads what a cluster says of its GPU nodes, from the labels of gpu-feature-discovery (all generations), the GPU
    Operator's ClusterPolicy and driver pods, ResourceSlices of NVIDIA's DRA driver, and the kubelet's own counts.
  - Reports nodes that look like GPU nodes and are none - labelled, but with nothing to allocate - as well as nodes that
    are not Ready, cordoned, out of reach by their taints, or whose labels are older than the running driver.
  - One paged list request, whatever the size of the cluster. Never fails on a finding.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  label_selector:
    description:
      - Which nodes are GPU nodes, as a map of labels or as a selector in Kubernetes' own text form.
      - Give here what the pod's node selector will be.
    type: raw
    default:
      nvidia.com/gpu.present: "true"
  tolerations:
    description: The pod's tolerations. Nodes with a taint that none of them tolerates are reported. Not looked at
      when left out.
    type: list
    elements: dict
  resource:
    description: The extended resource that the pod asks for. Nodes that offer their GPUs by another name only are
      reported. Not looked at when left out.
    type: str
  count:
    description: How many of it the pod asks for. Nodes that offer fewer are reported.
    type: int
    default: 1
  replicas:
    description: How many pods with a GPU are to run. More than there are cards are reported.
    type: int
    default: 1
  rolling_update:
    description: Whether an update starts a new pod before the old one has gone. Nodes with shared cards are reported.
    type: bool
    default: false
requirements:
  - kubernetes.core collection
seealso:
  - module: portal.stt.cuda_preflight
  - module: portal.stt.gpu_node_probe
"""

EXAMPLES = r"""
- name: GPU nodes are known
  portal.stt.gpu_node_info:
  register: gpu

- name: The T4 nodes that the pod may use are known
  portal.stt.gpu_node_info:
    label_selector:
      nvidia.com/gpu.product: Tesla-T4-SHARED
    tolerations:
      - key: nvidia.com/gpu
        operator: Equal
        value: "true"
        effect: NoSchedule
  register: gpu

- name: One line a node pool
  ansible.builtin.debug:
    var: gpu.pools
"""

RETURN = r"""
nodes:
  description: The GPU nodes; what is not known is empty or 0, and C(brands) is empty where it follows from the
      product's name. C(cards) are the kinds of GPU in a node where they are not all alike.
      O(portal.stt.cuda_preflight#module:nodes) takes them.
  returned: success
  type: list
  elements: dict
  sample:
    - name: gpu-node-1
      pool: ""
      product: Tesla-T4
      brands: []
      driver: 570.195.03
      cuda: "12.8"
      compute_capability: "7.5"
      memory_mib: 15360
      gpus: 1
      replicas: 100
      sharing: time-slicing
      architecture: amd64
      resource: nvidia.com/gpu
      allocatable: 100
      source: gpu-feature-discovery
      runtime_mode: ""
      cards: []
      driver_pod: ""
      problems: []
pools:
  description: The nodes grouped by pool, card and driver.
  returned: success
  type: list
  elements: dict
  sample:
    - pool: ""
      product: Tesla-T4
      driver: 570.195.03
      cuda: "12.8"
      compute_capability: "7.5"
      memory_mib: 15360
      sharing: time-slicing
      architecture: amd64
      nodes: 1
      usable: 1
      allocatable: 100
architectures:
  description: The processors of the nodes that the pod could be put on, as images name them.
  returned: success
  type: list
  elements: str
  sample: [amd64]
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: gpu.nodes
      status: ok
      subject: node gpu-node-1
      message: Ready, with 100 allocatable nvidia.com/gpu.
      remedy: ""
      evidence: ["1 x Tesla-T4, 15360 MiB, driver 570.195.03, CUDA 12.8, time-slicing"]
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, Result, leave, succeed
from ..module_utils._gpu.findings import findings, placement
from ..module_utils._gpu.labels import PRESENT
from ..module_utils._gpu.listing import architectures, gpu_nodes, pools, selector_text
from ..module_utils._kubernetes.cluster import connect

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "label_selector": {"type": "raw", "default": PRESENT},
        "tolerations": {"type": "list", "elements": "dict"},
        "resource": {"type": "str"},
        "count": {"type": "int", "default": 1},
        "replicas": {"type": "int", "default": 1},
        "rolling_update": {"type": "bool", "default": False},
    },
}


def run(params: Mapping[str, Any], **_: Any) -> Result:
    """The GPU nodes, and what is to be said of them."""
    selector = selector_text(params["label_selector"])
    nodes = gpu_nodes(connect(params), selector, params["tolerations"], params["resource"] or "", params["count"])
    found = [*findings(nodes, selector), *placement(nodes, params["replicas"], rolling=params["rolling_update"])]
    return succeed(
        params,
        found,
        nodes=[node.as_result() for node in nodes],
        pools=pools(nodes),
        architectures=architectures(nodes),
    )


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
