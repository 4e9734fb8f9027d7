#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Print what was found, keep it as a file, and fail when something was refused
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Takes the registered results of this collection's modules, prints one line for each finding with its remedy,
    and fails once, at the end, when a finding is V(refused) or V(unknown). Below each that is not fine stands its line
    in docs/checks.md.
  - A result that failed without findings, or whose host was unreachable, is printed as a refusal with its message.
  - With O(file) the report is also written, as a page and as data (docs/report.md says what is in it). In check mode
    none is written. What prevents the writing is told, and changes no verdict.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
options:
  title:
    description: The first line, in a few words.
    type: str
    required: true
  results:
    description:
      - Registered results. Skipped ones are passed over.
      - For O(file), an empty one stands for a task that was never come to, because the play ended before it.
    type: list
    elements: dict
    required: true
  show:
    description: Whether it is printed, and fails. Without, O(file) is all that it does.
    type: bool
    default: true
  file:
    description: Where and how it is written. Without, no file is.
    type: dict
    suboptions:
      play:
        description: What the results are of, in one word.
        type: str
        required: true
      directory:
        description:
          - The folder that gets one for each host that has reports, with C(report.html) and C(report.json) in it.
          - Where it is not given, C(reports) beside the inventory; none in a job of AWX, whose files go with it. Empty
            for no file.
        type: str
      earlier:
        description: Results of earlier plays of this run, by the play's name. They are shown, too, and do not count.
        type: dict
        default: {}
      only_failed:
        description: Write it only where something is refused or cannot be told.
        type: bool
        default: false
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

- name: Everything that was found is also a page
  portal.stt.report:
    title: Nightly look
    results:
      - "{{ image }}"
    file:
      play: look
      directory: /var/lib/reports
"""

RETURN = r"""
report:
  description: Path of the page that was written.
  returned: when one was written
  type: str
  sample: /home/me/inventory/reports/homelab/report.html
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
