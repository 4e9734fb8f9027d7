#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_node_probe
short_description: Read the driver of GPU nodes whose labels are missing or in doubt
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Runs C(nvidia-smi) in a short-lived pod on each GPU node whose labels do not tell the driver's version, or are older
    than the running driver, and returns all nodes with what it found. Other nodes are returned as they were given.
  - The pods cost something, so this is for the doubtful case. Each pulls O(image) to its node if it is not there, takes
    one seat of the GPU where there is one, runs for about a second, one node after the other, and is removed.
  - The pod satisfies the Pod Security standard V(restricted), and ends by itself after O(seconds).
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  nodes:
    description: RV(portal.stt.gpu_node_info#module:nodes).
    type: list
    elements: dict
    required: true
  namespace:
    description: Where the pods run. It must exist.
    type: str
    required: true
  image:
    description: An image with a shell and a C library. The NVIDIA runtime brings C(nvidia-smi) into it.
    type: str
    required: true
  runtime_class:
    description: The RuntimeClass of the NVIDIA runtime, where it is not the nodes' default.
    type: str
    default: ""
  seconds:
    description: How long a pod may take, pulling included.
    type: int
    default: 120
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: partial
    details: Runs no pod, and returns the nodes as they were given.
  diff_mode:
    support: N/A
    details: Leaves nothing behind.
  idempotent:
    support: full
seealso:
  - module: portal.stt.gpu_node_info
  - module: portal.stt.gpu_host_info
"""

EXAMPLES = r"""
- name: GPU nodes are known
  portal.stt.gpu_node_info:
  register: gpu

- name: What the labels do not tell is read from the driver
  portal.stt.gpu_node_probe:
    nodes: "{{ gpu.nodes }}"
    namespace: gpu-probe
    image: debian:12-slim
  register: probed

- name: The image runs on every GPU node
  portal.stt.cuda_preflight:
    image: "{{ image.image }}"
    nodes: "{{ probed.nodes }}"
"""

RETURN = r"""
nodes:
  description: The nodes, in the order given. Of those that were asked, C(source) is V(nvidia-smi).
  returned: always
  type: list
  elements: dict
  sample: []
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: gpu.probe
      status: ok
      subject: node gpu-node-1
      message: its driver says Tesla-T4, driver 570.195.03, CUDA 12.8.
      remedy: ""
      evidence: []
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Finding, Result, Status, fail, judge, leave
from ..module_utils._gpu.findings import mixed
from ..module_utils._gpu.node import GpuNode
from ..module_utils._gpu.nvidia_smi import DriverUnreadableError
from ..module_utils._gpu.probe import DOUBTS, Probe, ProbeError, ask
from ..module_utils._kubernetes.cluster import connect

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "nodes": {"type": "list", "elements": "dict", "required": True},
        "namespace": {"type": "str", "required": True},
        "image": {"type": "str", "required": True},
        "runtime_class": {"type": "str", "default": ""},
        "seconds": {"type": "int", "default": 120},
    },
}


def run(params: Mapping[str, Any], *, check_mode: bool, **_: Any) -> Result:
    """The nodes, those in doubt as their driver describes them."""
    probe = Probe(params["namespace"], params["image"], params["seconds"], params["runtime_class"])
    findings: list[Finding] = []
    nodes: list[GpuNode] = []
    try:
        cluster = connect(params)
        for node in map(GpuNode.from_result, params["nodes"]):
            if check_mode or not DOUBTS.intersection(node.problems):
                nodes.append(node)
                continue
            try:
                asked = ask(cluster, node, probe)
            except (ProbeError, DriverUnreadableError) as error:  # the others are asked all the same
                nodes.append(node)
                findings.append(error.finding)
                continue
            nodes.append(asked)
            findings.append(Finding("gpu.probe", Status.OK, f"node {node.name}", f"its driver says {asked.card}."))
            findings += mixed(asked)
    except CollectionError as error:
        return fail(params, error, findings)
    return judge(params, findings, nodes=[node.as_result() for node in nodes])


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
