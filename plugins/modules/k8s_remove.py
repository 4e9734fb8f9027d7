#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_remove
short_description: Objects that we have made are gone, and those of others are left
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Deletes objects that M(portal.stt.k8s_apply) has made, and waits until they are gone. All are looked at before the
    first is deleted.
  - An object of the same name that somebody else has made is left, and reported with its owner. Ours is what the field
    manager V(portal-stt) has applied and whose labels C(app.kubernetes.io/managed-by) and
    C(app.kubernetes.io/part-of) are not other ones than those given; a PersistentVolume has to be for the claim given.
  - A Secret or ConfigMap that others have put something into is left. One that the account may not delete is emptied.
  - Each is deleted as it was looked at. PersistentVolumes go last, when their claims are gone; one whose claim is still
    there is not touched, and the task fails.
  - Nothing is removed, and the task fails, where a PersistentVolumeClaim is to go that a pod of somebody else mounts.
    Pods of the Deployments and Jobs that go are ours, and those with the claim's label C(app.kubernetes.io/part-of).
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  definition:
    description:
      - The objects, of which C(apiVersion), C(kind), name, namespace and labels count, and of a PersistentVolume
        C(spec.claimRef).
      - One without a name stands for all of its kind with its labels.
    type: list
    elements: raw
    required: true
  wait_timeout:
    description: How many seconds to wait until all are gone.
    type: int
    default: 180
  awaited:
    description:
      - Whether a Job goes that still runs, or that has ended within the last minute and whose result nobody has taken
        yet. Another run may wait for it, see M(portal.stt.k8s_job).
    type: bool
    default: true
  declared:
    description:
      - What this run has declared, as it was given to M(portal.stt.k8s_apply). Where any of it is no longer so, another
        run was here meanwhile, and may need what is to go. Then nothing is removed, and the task fails.
      - In check mode nothing has been declared, and it is not looked at.
    type: list
    elements: raw
    default: []
  gone:
    description: What this run has removed before, or has not found. Where any of it is there again, as O(declared).
    type: list
    elements: raw
    default: []
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows each object that goes; the values of Secrets are left out.
  idempotent:
    support: full
seealso:
  - module: portal.stt.k8s_apply
"""

EXAMPLES = r"""
- name: The Deployment is gone, if it is ours
  portal.stt.k8s_remove:
    definition:
      - apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: portal-stt
          namespace: portal-stt

- name: All Jobs of the release are gone
  portal.stt.k8s_remove:
    definition:
      - apiVersion: batch/v1
        kind: Job
        metadata:
          namespace: portal-stt
          labels:
            app.kubernetes.io/part-of: portal-stt

- name: Everything in a file is gone
  portal.stt.k8s_remove:
    definition: "{{ lookup('ansible.builtin.file', 'all.yaml') | from_yaml_all }}"
    wait_timeout: 60
"""

RETURN = r"""
objects_removed:
  description: The objects that were deleted or emptied, or would be.
  returned: always
  type: list
  elements: str
  sample: [Deployment portal-stt/portal-stt]
findings:
  description: What was found, for M(portal.stt.report). What is left is among it, with the reason.
  returned: always
  type: list
  elements: dict
  sample:
    - check: cluster.objects
      status: warning
      subject: Secret portal-stt/portal-stt
      message: it was not made by us, and is left as it is.
      remedy: ""
      evidence: [fields are set by kubectl-create]
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, Result, judge, leave
from ..module_utils._kubernetes.apply import diff, label, parse
from ..module_utils._kubernetes.cluster import connect
from ..module_utils._kubernetes.remove import Remover, stubs
from ..module_utils._kubernetes.still import changed_since, returned
from ..module_utils._rollout.job import awaited

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "definition": {"type": "list", "elements": "raw", "required": True},
        "wait_timeout": {"type": "int", "default": 180},
        "awaited": {"type": "bool", "default": True},
        "declared": {"type": "list", "elements": "raw", "default": []},
        "gone": {"type": "list", "elements": "raw", "default": []},
    },
}


def run(params: Mapping[str, Any], *, check_mode: bool, **_: Any) -> Result:
    """What was removed, or would be, and what was left."""
    cluster = connect(params)
    remover = Remover(cluster)
    removal = remover.look(stubs(parse(params["definition"])))
    if not params["awaited"]:
        now = datetime.now(UTC)
        removal.found = [one for one in removal.found if one.live["kind"] != "Job" or not awaited(one.live, now)]
    if check_mode:
        remover.spare(removal)
    else:
        # After the look: what another run makes from now on is not what was looked at.
        others = changed_since(cluster, parse(params["declared"]))
        others += returned(cluster, stubs(parse(params["gone"])))
        if others:
            return judge(params, others, changed=False, objects_removed=[])
        remover.remove(removal, params["wait_timeout"])
    gone = [label(one.live) for one in removal.found] if check_mode else removal.removed
    shown = [diff(one.live, None) for one in removal.found if label(one.live) in gone]
    return judge(params, removal.findings(), changed=bool(gone), objects_removed=gone, diff=shown)


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
