#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_rollout
short_description: Watches a rollout to its end, and says why it does not come to one
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Watches a Deployment until its newest revision is complete (observed, all replicas updated and available, the pods
    of the old revision gone), or a Job until it has succeeded. It does not poll.
  - Prints a line for each change while it waits, and passes the log of a Job's pods on.
  - Fails as soon as waiting is pointless, with cause, evidence and remedy. What may pass by itself is given time.
    The causes are listed in docs/rollout.md.
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
  - portal.stt.progress
options:
  namespace:
    description: Namespace of the Deployment or Job.
    type: str
    required: true
  name:
    description: Name of the Deployment. Exactly one of O(name) and O(job) is given.
    type: str
  job:
    description: Name of the Job.
    type: str
  rollback:
    description:
      - Whether to bring back the revision that served before, when there is one and the cause is not outside of the
        Deployment. The task fails in any case.
    type: bool
    default: true
  declared:
    description:
      - C(uid) and C(generation) of the object as the task before has declared it, see
        RV(portal.stt.k8s_apply#module:objects). The rollout fails when somebody else changes or replaces it.
    type: dict
    default: {}
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: full
    details: Says what it would wait for; the Deployment or Job need not be there yet.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: Watching a complete rollout changes nothing.
seealso:
  - module: portal.stt.k8s_apply
"""

EXAMPLES = r"""
- name: The server is ready
  portal.stt.k8s_rollout:
    namespace: portal-stt
    name: portal-stt

- name: The seed Job has put the model on the volume
  portal.stt.k8s_rollout:
    namespace: portal-stt
    job: portal-stt-seed-1f2e3d4c5b
    timeout: 3600

- name: A Deployment of somebody else is ready, quietly, and stays as it is
  portal.stt.k8s_rollout:
    kubeconfig: ~/.kube/homelab
    namespace: frigate
    name: frigate
    progress: false
    rollback: false
"""

RETURN = r"""
status:
  description: V(complete), V(failed), or in check mode V(planned).
  returned: always
  type: str
  sample: complete
diagnosis:
  description: Why it failed.
  returned: failure of the rollout itself
  type: dict
  contains:
    cause:
      description: Identifier, as in docs/rollout.md.
      type: str
      sample: gpu-insufficient
    what:
      description: What happened.
      type: str
      sample: The pod asks for 200 nvidia.com/gpu, and no node has more than 100.
    where:
      description: The object it happened to.
      type: str
      sample: pod portal-stt-5d7c9b8f6d-x2x7k
    confidence:
      description: V(certain) when the API said so itself, V(likely) when it was inferred, V(unknown).
      type: str
      sample: certain
    final:
      description: Whether waiting was pointless; V(false) when the time was over first.
      type: bool
      sample: true
    outside:
      description: Whether an earlier revision would fail in the same way, so that none is brought back.
      type: bool
      sample: false
    evidence:
      description: What objects, events and logs said.
      type: list
      elements: str
      sample:
        - "scheduler: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu"
        - "node gpu-node-1: taints nvidia.com/gpu=true:NoSchedule"
    remedy:
      description: What to do next.
      type: str
      sample: Lower speaches_gpu.count, or raise the time-slicing replicas.
message:
  description: The last words of a Job's pod that succeeded. Kept on the Job, as its annotation C(portal-stt/result).
  returned: success
  type: str
  sample: ""
progress:
  description: A line for each change, with the seconds since the watch began.
  returned: always
  type: list
  elements: str
  sample:
    - "  0.3 s  pod portal-stt-7c9b8f6d5-x2x7k: scheduled on node gpu-node-1"
    - "  8.9 s  pod portal-stt-7c9b8f6d5-x2x7k: container started"
    - " 21.4 s  pod portal-stt-7c9b8f6d5-x2x7k: ready"
target:
  description: What was watched.
  returned: always
  type: str
  sample: Deployment portal-stt/portal-stt
seconds:
  description: How long the watch took.
  returned: always
  type: float
  sample: 12.4
rolled_back:
  description: Whether an earlier revision was brought back.
  returned: always
  type: bool
  sample: false
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: rollout
      status: ok
      subject: Deployment portal-stt/portal-stt
      message: "revision 3 is complete: 1 of 1 ready."
      remedy: ""
      evidence: []
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Result, Say, fail, leave, succeed
from ..module_utils._kubernetes.cluster import connect
from ..module_utils._rollout.reporter import PROGRESS, Reporter
from ..module_utils._rollout.seen import Target
from ..module_utils._rollout.task import Task

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        **PROGRESS,
        "namespace": {"type": "str", "required": True},
        "name": {"type": "str"},
        "job": {"type": "str"},
        "rollback": {"type": "bool", "default": True},
        "declared": {"type": "dict", "default": {}},
    },
    "mutually_exclusive": [("name", "job")],
    "required_one_of": [("name", "job")],
}


def run(params: Mapping[str, Any], *, check_mode: bool, say: Say | None = None) -> Result:
    """The rollout's end. Lines of progress go to `say`, or where O(progress_to) leads."""
    kind, name = ("Job", params["job"]) if params["job"] else ("Deployment", params["name"])
    uid, generation = (params["declared"].get(key) for key in ("uid", "generation"))
    target = Target(kind, params["namespace"], name, str(uid or ""), int(generation or 0))
    target_name = f"{kind} {target.namespace}/{name}"
    with Reporter(params["progress_to"], show=say if params["progress"] else None) as reporter:
        task = None
        try:
            task = Task(connect(params), target, reporter)
            result = task.plan() if check_mode else task.run(timeout=params["timeout"], rollback=params["rollback"])
        except CollectionError as error:
            error.result.setdefault("status", "failed")
            done = {"changed": bool(task and task.changed), "rolled_back": bool(task and task.rolled_back)}
            told = {"target": target_name, "progress": reporter.lines, "seconds": reporter.seconds}
            return fail(params, error, task.findings if task else (), **done, **told)
        told = {"target": target_name, "progress": reporter.lines, "seconds": reporter.seconds}
        return succeed(params, result.pop("findings"), **result, **told)


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
