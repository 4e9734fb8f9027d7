#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_job
short_description: A Job has run
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Applies a Job by server-side apply, watches it until it has succeeded, and explains why it does not, as
    M(portal.stt.k8s_rollout) does. Its log is printed while it runs.
  - A Job cannot be changed, so that what it does has to be part of its name. One that is there under this name is
    taken for done, or is waited for. One that had failed before is made anew. One that somebody else has made, as
    M(portal.stt.k8s_remove) tells it, is refused.
  - A Job that still runs is never deleted, nor is one that has ended within the last minute and whose result nobody
    has taken yet, because another run may wait for it.
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
  - portal.stt.progress
options:
  definition:
    description: The Job, with its name and namespace.
    type: dict
    required: true
  again:
    description: Whether a Job that has succeeded before is made anew, and so run again.
    type: bool
    default: false
  sweep:
    description:
      - Labels. Other Jobs of ours in the namespace that have them all and have ended are removed afterwards.
      - Those of others are left, and reported.
    type: dict
    default: {}
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: full
    details: The API server judges a dry run of the Job, where its namespace is there already.
  diff_mode:
    support: full
    details: Shows a Job that is made.
  idempotent:
    support: full
    details: A Job that has succeeded is left as it is, unless O(again) is set.
seealso:
  - module: portal.stt.k8s_rollout
  - module: portal.stt.k8s_apply
"""

EXAMPLES = r"""
- name: The database is migrated
  portal.stt.k8s_job:
    definition:
      apiVersion: batch/v1
      kind: Job
      metadata:
        name: migrate-3
        namespace: shop
      spec:
        template:
          spec:
            restartPolicy: Never
            containers:
              - name: migrate
                image: registry.example.net/shop:3

- name: The database is migrated, and the Jobs of earlier releases are gone
  portal.stt.k8s_job:
    definition: "{{ lookup('ansible.builtin.file', 'migrate.yaml') | from_yaml }}"
    sweep: {app.kubernetes.io/component: migrate}

- name: The models are on the volume, which may have been replaced
  portal.stt.k8s_job:
    definition: "{{ seed_job }}"
    again: "{{ volume is changed }}"
    timeout: 3600
"""

RETURN = r"""
status:
  description: V(complete), V(failed), or in check mode V(planned).
  returned: always
  type: str
  sample: complete
message:
  description: The last words of the Job's pod. Kept on the Job, as its annotation C(portal-stt/result).
  returned: success
  type: str
  sample: ""
diagnosis:
  description: Why it failed, as RV(portal.stt.k8s_rollout#module:diagnosis).
  returned: failure of the Job itself
  type: dict
progress:
  description: A line for each change, and of the Job's log, with the seconds since the watch began.
  returned: always
  type: list
  elements: str
  sample:
    - "  0.3 s  pod migrate-3-x2x7k: scheduled on node node-1"
    - "  8.9 s  pod migrate-3-x2x7k: container started"
target:
  description: The Job.
  returned: always
  type: str
  sample: Job shop/migrate-3
seconds:
  description: How long it took.
  returned: always
  type: float
  sample: 12.4
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: rollout
      status: ok
      subject: Job shop/migrate-3
      message: has succeeded.
      remedy: ""
      evidence: []
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Result, Say, fail, leave, succeed
from ..module_utils._kubernetes.apply import ApplyError
from ..module_utils._kubernetes.cluster import connect
from ..module_utils._rollout.job import JobTask
from ..module_utils._rollout.reporter import PROGRESS, Reporter

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        **PROGRESS,
        "definition": {"type": "dict", "required": True},
        "again": {"type": "bool", "default": False},
        "sweep": {"type": "dict", "default": {}},
    },
}


def run(params: Mapping[str, Any], *, check_mode: bool, say: Say | None = None) -> Result:
    """The Job's end. Lines of progress go to `say`, or where O(progress_to) leads."""
    manifest = params["definition"]
    with Reporter(params["progress_to"], show=say if params["progress"] else None) as reporter:
        task = None
        try:
            if manifest.get("kind") != "Job" or not {"name", "namespace"} <= (manifest.get("metadata") or {}).keys():
                raise ApplyError(
                    "definition", "is not a Job with a name and a namespace.", "Give it kind: Job, and both."
                )
            task = JobTask(connect(params), manifest, reporter, again=params["again"], sweep=params["sweep"])
            result = task.plan(timeout=params["timeout"]) if check_mode else task.run(timeout=params["timeout"])
        except CollectionError as error:
            error.result.setdefault("status", "failed")
            told = {"target": _name(manifest), "progress": reporter.lines, "seconds": reporter.seconds}
            return fail(params, error, task.findings if task else (), changed=bool(task and task.changed), **told)
        told = {"target": _name(manifest), "progress": reporter.lines, "seconds": reporter.seconds}
        return succeed(params, result.pop("findings"), **result, **told)


def _name(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata") or {}
    return f"Job {metadata.get('namespace')}/{metadata.get('name')}"


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
