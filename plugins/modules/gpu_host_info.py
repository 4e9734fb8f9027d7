#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_host_info
short_description: Read driver and GPUs of a host over SSH
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Runs C(nvidia-smi) on the host itself, for hosts that Ansible reaches and whose cluster does not tell, or that are
    in no cluster yet. It costs one SSH connection and about a second, and needs no rights.
  - A host whose driver the GPU Operator installs has no C(nvidia-smi) of its own; M(portal.stt.gpu_node_probe) is for
    those.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
options:
  name:
    description: The name of the node, where it is not the host's name.
    type: str
requirements:
  - On the host, the NVIDIA driver's C(nvidia-smi), and Python 3.9 or newer.
seealso:
  - module: portal.stt.gpu_node_probe
  - module: portal.stt.cuda_preflight
"""

EXAMPLES = r"""
- name: The driver of this host is known
  portal.stt.gpu_host_info:
  register: gpu

- name: The image runs on it
  portal.stt.cuda_preflight:
    image: "{{ image.image }}"
    nodes: ["{{ gpu.node }}"]
  delegate_to: localhost

- name: The image runs on every host of the group
  portal.stt.cuda_preflight:
    image: "{{ image.image }}"
    nodes: "{{ groups['gpu_hosts'] | map('extract', hostvars, ['gpu', 'node']) | list }}"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
node:
  description: The host, as RV(portal.stt.gpu_node_info#module:nodes) describes a node.
  returned: success
  type: dict
  sample:
    name: gpu-node-1
    product: Tesla-T4
    brands: [Nvidia]
    driver: 570.195.03
    cuda: "12.8"
    compute_capability: "7.5"
    memory_mib: 15360
    architecture: amd64
    gpus: 1
    source: nvidia-smi
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample: []
"""

import platform
from collections.abc import Mapping
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._findings import Finding, Result, Status, leave, succeed
from ..module_utils._gpu.findings import mixed
from ..module_utils._gpu.node import GpuNode
from ..module_utils._gpu.nvidia_smi import FULL, QUERY, DriverUnreadableError, read_cards

GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}  # as images and nodes name processors

ARGUMENTS: dict[str, Any] = {"argument_spec": {"name": {"type": "str"}}}


def run(module: AnsibleModule, params: Mapping[str, Any], **_: Any) -> Result:
    """The host, as its driver describes it."""
    host = GpuNode(params["name"] or platform.node(), architecture=GO_NAMES.get(platform.machine(), ""))
    if not module.get_bin_path("nvidia-smi"):
        raise DriverUnreadableError(
            f"node {host.name}",
            "it has no nvidia-smi: no driver is installed on the host itself.",
            "Where the GPU Operator installs the driver, use portal.stt.gpu_node_probe.",
        )
    said = [module.run_command(list(command)) for command in (QUERY, FULL)]
    node = read_cards("\n".join(out or err for _, out, err in said), host)
    finding = Finding("gpu.driver", Status.OK, f"node {node.name}", f"has {node.card}.")
    return succeed(params, [finding, *mixed(node)], node=node.as_result())


def main() -> None:
    module = AnsibleModule(**ARGUMENTS, supports_check_mode=True)
    leave(module, partial(run, module))


if __name__ == "__main__":
    main()
