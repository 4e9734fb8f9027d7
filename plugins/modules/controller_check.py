#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: controller_check
short_description: Check that what runs the plays has what they need
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Looks at the controller (or the execution environment of AWX or ansible-navigator) for ansible-core, the collections
    and the Python libraries that this collection needs, and fails with the remedy for each that is missing or too old.
  - Warns when E(K8S_AUTH_VERIFY_SSL) turns off the check of the API server's certificate, as AWX's own Kubernetes
    credential does without a certificate authority.
  - Runs on ansible-core before 2.19, too. Nothing and nobody is contacted.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
options: {}
"""

EXAMPLES = r"""
- name: The controller has what the plays need
  portal.stt.controller_check:
  run_once: true

- name: The controller is looked at
  portal.stt.controller_check:
  register: controller
  failed_when: false  # the report fails, with everything that was found

- name: Nothing stands in the way
  portal.stt.report:
    title: Controller
    results:
      - "{{ controller }}"
"""

RETURN = r"""
versions:
  description: What is there; V(*) for a collection that says no version.
  returned: success
  type: dict
  sample: {ansible-core: 2.21.5, kubernetes.core: 6.6.0, kubernetes: 37.0.2, requests: 2.34.2, jiwer: 4.0.0}
findings:
  description: What is missing, as M(portal.stt.report) takes it; empty when all is there.
  returned: always
  type: list
  elements: dict
  sample:
    - check: run.core
      status: refused
      subject: the execution environment
      message: ansible-core is 2.15.13, and at least 2.19 is needed.
      remedy: "Choose an execution environment that has it: execution-environment.yml makes one (docs/awx.md)."
      evidence: []
"""
