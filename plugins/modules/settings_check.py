#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: settings_check
short_description: Check the variables of this collection's roles, all at once
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Checks every variable that the roles read against what it means - names, quantities, paths, addresses, one against
    another - and refuses variables under the collection's prefixes that no role reads, with the name that was
    probably meant. All problems are told at once, each with file and line.
  - Looks at the variables as they are for the host of the task. Nothing and nobody is contacted; a template that
    cannot be filled in is a problem like the others.
  - What is secret (O(ignore:speaches_api_key), the hub's token, values of environment variables, what stands before
    the C(@) of an address) is never shown; all else is shown in short, with control characters escaped.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
options:
  roles:
    description: Roles whose variables are looked at.
    type: list
    elements: str
    choices: [nfs_export, preflight, speaches, verify]
    required: true
  look_for_files:
    description: Whether the clips for verification must be there. To remove an installation they need not be.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: The settings of the server are sound
  portal.stt.settings_check:
    roles: [speaches]

- name: Everything is sound before anything is removed
  portal.stt.settings_check:
    roles: [nfs_export, speaches]
    look_for_files: false

- name: The settings are looked at
  portal.stt.settings_check:
    roles: [nfs_export, preflight, speaches]
  register: settings
  failed_when: false  # the report fails, with everything that was found

- name: Nothing stands in the way
  portal.stt.report:
    title: Settings
    results:
      - "{{ settings }}"
"""

RETURN = r"""
findings:
  description: What is refused, as M(portal.stt.report) takes it; empty when all is sound.
  returned: always
  type: list
  elements: dict
  sample:
    - check: settings.unknown
      status: refused
      subject: speaches_modle (inventory/homelab/group_vars/all.yml:12)
      message: is a variable that nobody reads.
      remedy: Did you mean speaches_model?
      evidence: []
refused:
  description: The variables that are refused, or have something in them that is.
  returned: always
  type: list
  elements: str
  sample: [speaches_modle]
"""
