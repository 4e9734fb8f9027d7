#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print what was found, and fail when something was refused
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Takes the registered results of this collection's modules, prints one line for each finding with its remedy,
    and fails once, at the end, when a finding is V(refused) or V(unknown). Below each that is not fine stands its line
    in docs/checks.md.
  - A result that failed without findings, or whose host was unreachable, is printed as a refusal with its message.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
options:
  title:
    description: The first line, in a few words.
    type: str
    required: true
  results:
    description: Registered results. Skipped ones are passed over.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: The image is known
  portal.stt.oci_image_info:
    image: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
  register: image
  failed_when: false  # the report fails, with everything that was found

- name: Everything that was found
  portal.stt.report:
    title: Preflight
    results:
      - "{{ image }}"

- name: Two hosts in one report
  portal.stt.report:
    title: Preflight of both sites
    results: "{{ ['site-a', 'site-b'] | map('extract', hostvars, 'image') | list }}"
  run_once: true
"""

RETURN = r"""
findings:
  description: All findings, as data. A failed report has printed them; as data they are in O(results).
  returned: success
  type: list
  elements: dict
  sample:
    - check: image.digest
      status: ok
      subject: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
      message: is sha256:f4eb14d1c53b19c5bd1f76d10ea9fc10288ceaf82dca09506d3f0ef92ee943de.
      remedy: ""
      evidence: []
"""
