#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nfs_copy
short_description: Put files on an export that its clients can write to
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Copies a file, or the files of a folder, from the controller to a place in an export, as root and for another user.
  - No symlink is followed on the host, also none that a client puts there while it runs. What is no folder or no
    file is refused, and a file that stands there with another content is replaced, not written into.
  - A file that is there with the same content, owner and mode is left alone. Nothing else in a folder is touched.
  - A run that is killed leaves whole files only, and the next run completes it. Two at once end as one.
extends_documentation_fragment:
  - portal.stt.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows folders, and files by their sha256.
  idempotent:
    support: full
options:
  path:
    description: The exported directory on the host, as an absolute path without symlinks. It has to be there.
    type: str
    required: true
  src:
    description: A file or a folder on the controller. Of a folder its files are copied, not its folders.
    type: str
    required: true
  dest:
    description: Where it goes, relative to O(path); the folders to it are made.
    type: str
    required: true
  owner:
    description: Numeric user to whom folders and files belong.
    type: int
    required: true
  group:
    description: Numeric group.
    type: int
    required: true
  files:
    description: The files that were found at O(src). Set by the action of this module, not by a task.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Relative to the export.
        type: str
        required: true
      sha256:
        description: Digest of the content, 64 hex digits.
        type: str
        required: true
      source:
        description: Where the content lies on the host.
        type: str
        default: ""
  put:
    description: Whether O(files) have come with their content. Set by the action of this module, not by a task.
    type: bool
    default: false
requirements:
  - On the host root, and Python 3.11 or newer.
"""

EXAMPLES = r"""
- name: The model's copy is where the seed Job finds it
  portal.stt.nfs_copy:
    path: /srv/nfs-ssd/portal-stt
    src: /home/me/models/turbo
    dest: import/deepdml--faster-whisper-large-v3-turbo-ct2
    owner: 1000
    group: 1000
  become: true

- name: An archive of it is
  portal.stt.nfs_copy:
    path: /srv/nfs-ssd/portal-stt
    src: /home/me/models/turbo.tar
    dest: import/deepdml--faster-whisper-large-v3-turbo-ct2.archive
    owner: 1000
    group: 1000
  become: true

- name: What would be copied is known
  portal.stt.nfs_copy:
    path: /srv/nfs-ssd/portal-stt
    src: /home/me/models/turbo
    dest: import/turbo
    owner: 1000
    group: 1000
  check_mode: true
  become: true
"""

RETURN = r"""
findings:
  description: What is refused; empty when nothing is.
  returned: always
  type: list
  elements: dict
  sample: []
needed:
  description: The files that were, or would be, copied, relative to O(path).
  returned: on success
  type: list
  elements: str
  sample: [import/turbo/model.bin]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._exports.copies import Share, Wanted, missing, put
from ..module_utils._exports.export import ExportError
from ..module_utils._findings import Result, leave, succeed

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        "path": {"type": "str", "required": True},
        "src": {"type": "str", "required": True},
        "dest": {"type": "str", "required": True},
        "owner": {"type": "int", "required": True},
        "group": {"type": "int", "required": True},
        "files": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "path": {"type": "str", "required": True},
                "sha256": {"type": "str", "required": True},
                "source": {"type": "str", "default": ""},
            },
        },
        "put": {"type": "bool", "default": False},
    },
}


def run(params: dict[str, Any], *, check_mode: bool, **_: Any) -> Result:
    """The files as they are wanted, or which of them are not there."""
    for path in (params["dest"], *(one["path"] for one in params["files"])):
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise ExportError(path, "is no plain path within the export.", "Write it without '.', '..' and '//'.")
    share = Share(params["path"], params["owner"], params["group"])
    files = [Wanted(one["path"], one["sha256"], one["source"]) for one in params["files"]]
    brought = params["put"] and not check_mode
    changes, needed = put(share, files) if brought else missing(share, files, to_come=check_mode)
    diff = [{"before": before, "after": after} for before, after in (change.lines for change in changes)]
    diff += [{"before": f"{file.path}\n", "after": f"{file.path} sha256:{file.digest}\n"} for file in needed]
    return succeed(params, [], changed=bool(diff), diff=diff, needed=[file.path for file in needed])


def main() -> None:
    module = AnsibleModule(**ARGUMENTS, supports_check_mode=True)
    leave(module, run)


if __name__ == "__main__":
    main()
