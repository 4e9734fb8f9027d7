#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_read
short_description: Reads objects of one namespace, within limits of time
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Reads several objects in one step, over one connection. What is not there is left out.
  - A connection that is refused, silent or not that of an API server ends in seconds, with a sentence that says so.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
options:
  namespace:
    description: Where the objects are.
    type: str
    required: true
  objects:
    description: What is read.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: Their version.
        type: str
        default: v1
      kind:
        description: Their kind.
        type: str
        required: true
      name:
        description: The one of this name; without it all of the kind.
        type: str
      labels:
        description: Labels that they have.
        type: dict
        default: {}
requirements:
  - kubernetes.core collection
seealso:
  - module: kubernetes.core.k8s_info
"""

EXAMPLES = r"""
- name: What serves is known
  portal.stt.k8s_read:
    namespace: portal-stt
    objects:
      - api_version: apps/v1
        kind: Deployment
        name: portal-stt

- name: Pods and seed Jobs are known
  portal.stt.k8s_read:
    namespace: portal-stt
    objects:
      - kind: Pod
      - api_version: batch/v1
        kind: Job
        labels:
          app.kubernetes.io/component: seed

- name: The Services of another cluster are known
  portal.stt.k8s_read:
    kubeconfig: ~/.kube/homelab
    namespace: frigate
    objects:
      - kind: Service
"""

RETURN = r"""
resources:
  description: The objects, in the order in which they were asked for, each with C(apiVersion) and C(kind).
  returned: success
  type: list
  elements: dict
  sample:
    - apiVersion: apps/v1
      kind: Deployment
      metadata:
        name: portal-stt
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample: []
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import Result, Say, leave, succeed
from ..module_utils._kubernetes.cluster import Cluster, connect, label_selector
from ..module_utils._kubernetes.paths import Paths

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        "namespace": {"type": "str", "required": True},
        "objects": {
            "type": "list",
            "elements": "dict",
            "required": True,
            "options": {
                "api_version": {"type": "str", "default": "v1"},
                "kind": {"type": "str", "required": True},
                "name": {"type": "str"},
                "labels": {"type": "dict", "default": {}},
            },
        },
    },
}


def run(params: Mapping[str, Any], *, check_mode: bool, say: Say | None = None) -> Result:
    """The objects that are there. Raises ClusterError."""
    cluster = connect(params)
    paths = Paths(cluster)
    found = [one for asked in params["objects"] for one in _read(cluster, paths, params["namespace"], asked)]
    return succeed(params, [], resources=found)


def _read(cluster: Cluster, paths: Paths, namespace: str, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    kind = {"apiVersion": asked["api_version"], "kind": asked["kind"]}
    manifest = {**kind, "metadata": {"namespace": namespace, "name": asked["name"]}}
    if asked["name"]:
        one = cluster.find(paths.object(manifest))
        yield from [{**one, **kind}] if one else []
        return
    query = {"labelSelector": label_selector(asked["labels"])} if asked["labels"] else None
    page = cluster.find(paths.collection(manifest), query)
    yield from ({**one, **kind} for one in (page or {}).get("items", ()))


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
