#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cuda_preflight
short_description: Will this CUDA image run on these GPU nodes?
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Answers as NVIDIA's container runtime and driver will, before the image is pulled. The image's NVIDIA_REQUIRE_*
    rules are evaluated as libnvidia-container does it, to the letter.
  - V(native) - the driver's CUDA is as new as the image's. V(allowed) - an allowance in the image's own list, or CUDA's
    minor-version or forward compatibility, lets it run; what may still break is said. V(refused) - it cannot run; the
    message has the rule that decided, and the variant that would run. V(unknown) - facts are missing.
  - Nodes that the pod cannot be put on (taints, another resource) are in the result, but neither stop nor advise.
  - Fails when another node is V(refused), or V(unknown) unless O(accept_unknown=true). The failure carries everything.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - portal.stt.settings
options:
  image:
    description: RV(portal.stt.oci_image_info#module:image), or a dictionary with C(reference), C(tag) and C(env).
    type: dict
    required: true
  variants:
    description: RV(portal.stt.oci_image_info#module:variants), to choose advice from.
    type: list
    elements: dict
    default: []
  nodes:
    description: RV(portal.stt.gpu_node_info#module:nodes), or dictionaries with C(name), C(driver) and C(product).
    type: list
    elements: dict
    required: true
  pod_env:
    description: Environment of the container in the pod. It comes before the image's, as it does for the runtime.
    type: dict
    default: {}
  runtime_mode:
    description:
      - Mode of the NVIDIA container runtime on the nodes. V(legacy) evaluates the image's rules; in V(cdi) (and
        jit-cdi) nobody does, and the driver alone decides; V(csv) is Tegra's.
      - V(auto) takes what O(runtime_class) or the GPU Operator says, otherwise V(legacy), which refuses the most; the
        notes then say so, and what would be in CDI mode.
    type: str
    choices: [auto, legacy, cdi, csv]
    default: auto
  runtime_class:
    description: The pod's RuntimeClass. V(nvidia-legacy) and V(nvidia-cdi) name the mode where O(runtime_mode=auto).
    type: str
    default: ""
  compute_type:
    description:
      - The compute type that CTranslate2 (faster-whisper, Speaches) will be told to use. With it, cards that its wheels
        have no code for, or that cannot compute so, are V(refused) too.
      - CTranslate2 is left out of the verdict without it.
    type: str
    choices: [default, auto, int8, int8_float32, int8_float16, int8_bfloat16, int16, float16, bfloat16, float32]
  accept_unknown:
    description: Whether nodes whose driver cannot be told are taken at the operator's word.
    type: bool
    default: false
seealso:
  - module: portal.stt.oci_image_info
  - module: portal.stt.gpu_node_info
"""

EXAMPLES = r"""
- name: The image is known
  portal.stt.oci_image_info:
    image: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
    variants: true
  register: image

- name: GPU nodes are known
  portal.stt.gpu_node_info:
  register: gpu

- name: The image runs on every GPU node
  portal.stt.cuda_preflight:
    image: "{{ image.image }}"
    variants: "{{ image.variants }}"
    nodes: "{{ gpu.nodes }}"

- name: An image runs on a card that is not in a cluster yet
  portal.stt.cuda_preflight:
    image:
      reference: nvidia/cuda:12.6.3-base-ubuntu24.04
      env:
        CUDA_VERSION: 12.6.3
        NVIDIA_REQUIRE_CUDA: cuda>=12.6
    nodes:
      - name: workstation
        product: NVIDIA-GeForce-RTX-3060
        driver: 570.195.03
        cuda: "12.8"
"""

RETURN = r"""
verdicts:
  description: One for each set of nodes that are alike; those whose C(target) is false are left out of the answer.
  returned: always
  type: list
  elements: dict
  sample:
    - verdict: allowed
      rule: brand=nvidia,driver>=570,driver<571
      reason: passes by brand=nvidia,driver>=570,driver<571; the driver's CUDA 12.8 runs the image's CUDA 12.9 by
        minor-version compatibility.
      runtime_message: ""
      notes:
        - code that is compiled on the card (PTX) fails on an older driver with cudaErrorUnsupportedPtxVersion, newer
          driver features with cudaErrorCallRequiresNewerDriver.
        - "the image holds cuda-compat 12.9: where the container toolkit puts it in place (1.17.4 alone does not by
          default), that limit is gone."
        - "assumes the container runtime's legacy mode; in CDI mode, without a gate, it is allowed: set runtime_mode
          where you know it."
      remedy: ""
      mode: legacy
      target: true
      nodes: [gpu-node-1]
      pool: ""
      product: Tesla-T4
      driver: 570.195.03
      cuda: "12.8"
      compute_capability: "7.5"
advice:
  description: The variants that run on all nodes that the pod can be put on, the best first.
  returned: always
  type: list
  elements: dict
  sample:
    - reference: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda-12.6.3
      tag: 0.9.0-rc.3-cuda-12.6.3
      cuda: "12.6"
      verdict: native
variants:
  description: The image, then its variants, each with its verdict for each set of nodes, in the order of RV(verdicts).
  returned: always
  type: list
  elements: dict
  sample:
    - reference: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
      tag: 0.9.0-rc.3-cuda
      cuda: "12.9"
      verdicts: [allowed]
table:
  description: The verdicts as lines of text, one a set of like nodes.
  returned: always
  type: list
  elements: str
  sample:
    - nodes       card      driver      CUDA  verdict  by
    - gpu-node-1  Tesla-T4  570.195.03  12.8  allowed  brand=nvidia,driver>=570,driver<571
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: cuda.requirement
      status: warning
      subject: image ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda on node gpu-node-1 (Tesla-T4, driver
        570.195.03, CUDA 12.8)
      message: "allowed: passes by brand=nvidia,driver>=570,driver<571; the driver's CUDA 12.8 runs the image's CUDA
        12.9 by minor-version compatibility."
      remedy: Take 0.9.0-rc.3-cuda-12.6.3 (CUDA 12.6), native on every target node.
      evidence: []
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._cuda.advice import advise, findings, matrix, table
from ..module_utils._cuda.ctranslate2 import COMPUTE_TYPES
from ..module_utils._cuda.verdict import MODES, CudaImage, Terms, judge_all, mode_of
from ..module_utils._findings import SETTINGS, Result, judge, leave
from ..module_utils._gpu.node import GpuNode

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **SETTINGS,
        "image": {"type": "dict", "required": True},
        "variants": {"type": "list", "elements": "dict", "default": []},
        "nodes": {"type": "list", "elements": "dict", "required": True},
        "pod_env": {"type": "dict", "default": {}},
        "runtime_mode": {"type": "str", "choices": list(MODES), "default": "auto"},
        "runtime_class": {"type": "str", "default": ""},
        "compute_type": {"type": "str", "choices": list(COMPUTE_TYPES)},
        "accept_unknown": {"type": "bool", "default": False},
    },
}


def run(params: Mapping[str, Any], **_: Any) -> Result:
    """The verdicts, a failure where one of them stops."""
    pod_env = params["pod_env"]
    mode = mode_of(params["runtime_mode"], params["runtime_class"])
    terms = Terms(mode, datetime.now(UTC).date(), params["compute_type"] or "")
    image = CudaImage.from_result(params["image"], pod_env)
    variants = [CudaImage.from_result(variant, pod_env) for variant in params["variants"]]
    nodes = [GpuNode.from_result(node) for node in params["nodes"]]
    groups = judge_all(image, nodes, terms)
    advice = advise(variants, nodes, terms)
    return judge(
        params,
        findings(image, groups, variants, terms, accept_unknown=params["accept_unknown"]),
        verdicts=[group.as_result() for group in groups],
        advice=[one.as_result() for one in advice],
        variants=matrix(image, variants, groups, terms),
        table=table(groups),
    )


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
