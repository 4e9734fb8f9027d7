#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_apply
short_description: Server-side apply of manifests, with a plan on an empty cluster
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Applies manifests by server-side apply under the field manager V(portal-stt), without waiting. Fields that the
    manifests do not name stay their owners'.
  - All of them are judged before one is written. Whose is each object, what would the API server change, and whom does
    it take a field from. Then those that change are applied; where none does, nothing is sent.
  - An object of the same name that somebody else has made is refused. Ours is what this field manager has applied and
    whose labels C(app.kubernetes.io/managed-by) and C(app.kubernetes.io/part-of) are not other ones than the
    manifest's; a PersistentVolume has to be for the claim that the manifest names.
  - Namespaces and PersistentVolumes that the account may only read count as applied when they are as declared.
  - A number of replicas that an autoscaler has set is left to it. One that C(kubectl scale) has set is set again as
    declared.
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  definition:
    description: Manifests, each a dict or a YAML text of one or more documents. Applied in this order.
    type: list
    elements: raw
    required: true
  take_over:
    description: Field managers that may lose to us the fields, and the objects of our names, that they have set.
    type: list
    elements: str
    default: []
  existing:
    description: Whether an object of ours that is there is made as declared, or kept as it is.
    type: str
    choices: [apply, keep]
    default: apply
  optional:
    description:
      - Kinds that are left out, with a warning, where the API server does not know them.
      - With V(Namespace), what is to be in a namespace that is not there is left out likewise.
    type: list
    elements: str
    default: []
  plan:
    description:
      - RV(plan) of an earlier task. What that has found as declared within the last two minutes is not asked for again.
    type: dict
    default: {}
  later:
    description:
      - Manifests that later tasks apply. They are judged with the others, so that nothing is applied where one of them
        would be refused.
    type: list
    elements: raw
    default: []
  unwanted:
    description: Objects that are to go later, as in M(portal.stt.k8s_remove). They are looked at only.
    type: list
    elements: raw
    default: []
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: full
    details: Of objects whose namespace does not exist yet the API server judges the form.
  diff_mode:
    support: full
    details: Shows each changed object; the values of Secrets are left out.
  idempotent:
    support: full
seealso:
  - module: kubernetes.core.k8s
  - module: portal.stt.k8s_remove
"""

EXAMPLES = r"""
- name: A namespace is there
  portal.stt.k8s_apply:
    definition:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: portal-stt

- name: Everything in two files is there
  portal.stt.k8s_apply:
    definition: "{{ query('ansible.builtin.file', 'service.yaml', 'deployment.yaml') }}"

- name: A Deployment is ours again where somebody has set its image by hand, on a cluster that a kubeconfig names
  portal.stt.k8s_apply:
    kubeconfig: ~/.kube/homelab
    definition: "{{ query('ansible.builtin.file', 'deployment.yaml') }}"
    take_over: [kubectl-set]
"""

RETURN = r"""
objects_changed:
  description: The objects that were created or changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [Namespace portal-stt, Deployment portal-stt/portal-stt]
objects:
  description: What is there after it; none of those that are planned only.
  returned: success
  type: list
  elements: dict
  sample:
    - kind: Deployment
      namespace: portal-stt
      name: portal-stt
      uid: 6408ea5f-f905-4fe8-b6c2-bc6d26ca4c52
      generation: 3
plan:
  description: What was found as declared, for O(plan) of a later task.
  returned: success
  type: dict
unwanted:
  description: What is there of O(unwanted), ours and others'. Where nothing is, there is nothing to remove.
  returned: success
  type: list
  elements: str
  sample: [Secret portal-stt/portal-stt]
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: cluster.objects
      status: ok
      subject: 3 objects
      message: are as declared.
      remedy: ""
      evidence: []
"""

import time
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Result, fail, judge, leave, succeed
from ..module_utils._kubernetes.apply import diff, label, parse
from ..module_utils._kubernetes.cluster import connect
from ..module_utils._kubernetes.judge import Judge, Judged, identity
from ..module_utils._kubernetes.ownership import Object
from ..module_utils._kubernetes.remove import Remover, stubs
from ..module_utils._kubernetes.selected import strangers

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "definition": {"type": "list", "elements": "raw", "required": True},
        "take_over": {"type": "list", "elements": "str", "default": []},
        "existing": {"type": "str", "choices": ["apply", "keep"], "default": "apply"},
        "optional": {"type": "list", "elements": "str", "default": []},
        "plan": {"type": "dict", "default": {}},
        "later": {"type": "list", "elements": "raw", "default": []},
        "unwanted": {"type": "list", "elements": "raw", "default": []},
    },
}


def run(params: Mapping[str, Any], *, check_mode: bool, **_: Any) -> Result:
    """What was applied, or would be."""
    cluster = connect(params)
    asker = Judge(
        cluster,
        take_over=params["take_over"],
        keep=params["existing"] == "keep",
        planning=check_mode,
        optional=params["optional"],
    )
    manifests = parse(params["definition"])
    every = [*manifests, *parse(params["later"])]
    found = asker.judge(every, params["plan"])
    if not params["plan"]:  # else they were looked at moments ago
        found.errors += strangers(cluster, every)
    names = {label(one) for one in manifests}
    changing = [] if found.errors else [one for one in found.judged if one.changes and label(one.manifest) in names]
    unwanted = Remover(cluster).look(stubs(parse(params["unwanted"])))
    live = [identity(one.live) for one in found.judged if one.live is not None]
    left_out = [] if check_mode else [one for one in found.left_out if one.subject in names]
    warnings = [f"{one['subject']}: {one['message']} {one['remedy']}" for one in succeed(params, left_out)["findings"]]
    done: list[Object] = []
    result = {
        "plan": found.plan(time.time()),
        "unwanted": [*(label(one.live) for one in unwanted.found), *(one.subject for one in unwanted.left)],
        **({"warnings": warnings} if warnings else {}),
    }
    try:
        for stored in asker.write([] if check_mode else changing):
            done.append(stored)
    except CollectionError as error:
        result |= _changed(changing[: len(done)], [*found.known.values(), *live, *map(identity, done)])
        return fail(params, error, found.findings(names), **result)
    result |= _changed(changing, [*found.known.values(), *live, *map(identity, done)])
    return judge(params, found.findings(names), **result)


def _changed(some: list[Judged], there: list[dict[str, Any]]) -> dict[str, Any]:
    """What was done. there: what is there after it, of those twice named the last."""
    now = {(one["kind"], one["namespace"], one["name"]): one for one in there}
    return {
        "changed": bool(some),
        "objects_changed": [label(one.manifest) for one in some],
        "diff": [diff(one.live, one.after) for one in some],
        "objects": list(now.values()),
    }


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
