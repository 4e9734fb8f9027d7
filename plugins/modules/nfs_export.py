#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nfs_export
short_description: Publish one directory from an NFS host that others depend on
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Owns exactly one file, C(/etc/exports.d/NAME.exports), and the directories it is told to own.
    C(/etc/exports) and files of others are read and never written; the server is never restarted or reloaded.
  - Before the live table is touched, the host's own C(exportfs) parses the file together with all others in
    private mount and network namespaces. What it rejects, and what would take an export away from somebody,
    is refused with everything that was found.
  - After C(exportfs -ra) the table is compared with the intent and, entry by entry, with what was served
    before. On any loss the previous content is restored and exported again.
  - A run that is killed leaves a table that the next run completes.
extends_documentation_fragment:
  - portal.stt.attributes
  - portal.stt.settings
attributes:
  check_mode:
    support: full
    details: Looks, tries out and judges as a real run does; C(exportfs) never changes the live table.
  diff_mode:
    support: full
    details: Shows the file's content, and owner, group and mode of directories.
  idempotent:
    support: full
options:
  name:
    description: Name of the export, and of its file without C(.exports).
    type: str
    required: true
  path:
    description: The directory, as an absolute path without symlinks.
    type: str
    required: true
  state:
    description:
      - With V(present) the directories are made and the path is exported.
      - With V(absent) the file goes and the path is no longer exported. Data stay; see O(delete_data).
    type: str
    choices: [present, absent]
    default: present
  clients:
    description: Who may mount it. Required with O(state=present).
    type: list
    elements: dict
    suboptions:
      host:
        description:
          - Address, network with prefix, host name, wildcard or netgroup, as in C(exports(5\)).
          - V(*) and networks that mean everybody need O(allow_world).
        type: str
        required: true
      options:
        description: Options of C(exports(5\)), one an item. C(fsid=0) and C(fsid=root) are refused.
        type: list
        elements: str
        default: [rw, sync, no_subtree_check, root_squash]
  directories:
    description: Directories to make, with owner, group and mode. Nothing in them is touched.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Relative to O(path); V(.) is the export itself. A parent comes before its children.
        type: str
        required: true
      owner:
        description: Numeric user.
        type: int
        required: true
      group:
        description: Numeric group.
        type: int
        required: true
      mode:
        description: Permission bits, octal and in quotes. Left alone on a directory that has an ACL.
        type: str
        required: true
  require_mountpoint:
    description:
      - The mountpoint that O(path) has to be on. While its disk is not mounted, the export is refused, and the
        server does not serve it (option C(mountpoint=) of C(exports(5\))).
    type: str
  when_covered:
    description:
      - What to do when the path, or a parent of it, is already exported to all O(clients) by somebody else.
      - V(declare) writes an entry of its own and says what the other one still gives access to.
      - V(skip) leaves it to the other entry. V(fail) refuses.
    type: str
    choices: [declare, skip, fail]
    default: declare
  allow_world:
    description: Accept clients that mean every machine there is.
    type: bool
    default: false
  min_free_mib:
    description: MiB that have to be free on the disk; what lies below O(path) already counts as free.
    type: int
    default: 0
  server_pending:
    description:
      - In check mode, the NFS server is about to be installed by an earlier task; that none runs is then a
        warning. Outside check mode this has no effect.
    type: bool
    default: false
  delete_data:
    description:
      - With O(state=absent), O(path) once more, to delete the directory with all that is in it.
      - Refused when it is, or holds, a mountpoint, or when somebody else exports it.
    type: str
requirements:
  - On the host root, Python 3.11 or newer, util-linux, and the packages nfs-kernel-server and nfs-common.
"""

EXAMPLES = r"""
- name: The models are published to the cluster's network
  portal.stt.nfs_export:
    name: portal-stt
    path: /srv/nfs-ssd/portal-stt
    require_mountpoint: /srv/nfs-ssd
    clients:
      - host: 192.168.1.0/24
        options: [rw, sync, no_subtree_check, root_squash]
    directories:
      - {path: ., owner: 1000, group: 1000, mode: "0755"}
      - {path: hub, owner: 1000, group: 1000, mode: "0755"}
  become: true

- name: What speaks against the export is known, and nothing is changed
  portal.stt.nfs_export:
    name: portal-stt
    path: /srv/nfs-ssd/portal-stt
    clients: [{host: 192.168.1.0/24}]
    min_free_mib: 4096
  check_mode: true
  become: true

- name: The export is gone, and its models with it
  portal.stt.nfs_export:
    name: portal-stt
    path: /srv/nfs-ssd/portal-stt
    state: absent
    delete_data: /srv/nfs-ssd/portal-stt
  become: true
"""

RETURN = r"""
findings:
  description: What was looked at, on success and on failure; a refusal comes with everything that was found.
  returned: always
  type: list
  elements: dict
  sample:
    - check: nfs.mountpoint
      status: ok
      subject: /srv/nfs-ssd/portal-stt on gpu-node-1
      message: /srv/nfs-ssd is mounted.
      remedy: ""
      evidence: []
exports:
  description: The whole export table as it is served after the run; in check mode as it is now.
  returned: always
  type: list
  elements: dict
  sample:
    - path: /srv/nfs-ssd/portal-stt
      client: 192.168.1.0/24
      options: [sync, wdelay, hide, no_subtree_check, mountpoint=/srv/nfs-ssd, sec=sys, rw, secure, root_squash]
file:
  description: The file that belongs to the export.
  returned: always
  type: str
  sample: /etc/exports.d/portal-stt.exports
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._exports.change import Outcome, ensure, intent_of
from ..module_utils._exports.dry_run import Completed
from ..module_utils._exports.export import ExportError
from ..module_utils._exports.host import TOOL_PATH
from ..module_utils._findings import SETTINGS, Result, fail, leave, succeed

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **SETTINGS,
        "name": {"type": "str", "required": True},
        "path": {"type": "str", "required": True},
        "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        "clients": {
            "type": "list",
            "elements": "dict",
            "options": {
                "host": {"type": "str", "required": True},
                "options": {
                    "type": "list",
                    "elements": "str",
                    "default": ["rw", "sync", "no_subtree_check", "root_squash"],
                },
            },
        },
        "directories": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "path": {"type": "str", "required": True},
                "owner": {"type": "int", "required": True},
                "group": {"type": "int", "required": True},
                "mode": {"type": "str", "required": True},
            },
        },
        "require_mountpoint": {"type": "str"},
        "when_covered": {"type": "str", "choices": ["declare", "skip", "fail"], "default": "declare"},
        "allow_world": {"type": "bool", "default": False},
        "min_free_mib": {"type": "int", "default": 0},
        "server_pending": {"type": "bool", "default": False},
        "delete_data": {"type": "str"},
    },
    "required_if": [("state", "present", ["clients"])],
}


def command(module: AnsibleModule, argv: Sequence[str], stdin: str) -> Completed:
    """What a program of the host answers."""
    found = [module.get_bin_path(argv[0], required=True), *argv[1:]]
    environment = {"PATH": TOOL_PATH, "LC_ALL": "C.UTF-8", "LANGUAGE": "C"}
    rc, out, err = module.run_command(found, data=stdin, binary_data=True, environ_update=environment)
    return Completed(rc, out, err)


def run(module: AnsibleModule, params: dict[str, Any], *, check_mode: bool, **_: Any) -> Result:
    """The export as the kernel serves it."""
    try:
        outcome = ensure(intent_of(params), partial(command, module), check_mode=check_mode)
    except ExportError as error:
        outcome = Outcome(error=error)
    result = {
        "file": f"/etc/exports.d/{params['name']}.exports",
        "exports": [
            {"path": entry.path, "client": entry.client, "options": list(entry.options)} for entry in outcome.exports
        ],
    }
    if outcome.error:
        outcome.error.result.update(result)
        return fail(params, outcome.error, outcome.findings)
    return succeed(params, outcome.findings, changed=outcome.changed, diff=list(outcome.diff), **result)


def main() -> None:
    module = AnsibleModule(**ARGUMENTS, supports_check_mode=True)
    leave(module, partial(run, module))


if __name__ == "__main__":
    main()
