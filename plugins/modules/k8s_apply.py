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
  - Applies manifests with M(kubernetes.core.k8s) as server-side apply under the field manager V(portal-stt), without
    waiting. Fields that the manifests do not name stay their owners'.
  - In check mode the API server judges a dry run. Objects whose namespace does not exist yet, which no API server can
    judge, are shown in the diff as they would be created.
  - A conflict with another field manager is reported with field and owner.
extends_documentation_fragment:
  - portal.stt.attributes
  - kubernetes.core.k8s_auth_options
options:
  definition:
    description: Manifests, each a dict or a YAML text of one or more documents. Applied in this order.
    type: list
    elements: raw
    required: true
requirements:
  - kubernetes.core collection
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    details: Shows each changed object; the values of Secrets are left out.
  idempotent:
    support: full
seealso:
  - module: kubernetes.core.k8s
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

- name: A manifest from a template, on a cluster that a kubeconfig names
  portal.stt.k8s_apply:
    kubeconfig: ~/.kube/homelab
    definition: "{{ query('ansible.builtin.template', 'deployment.yaml.j2') }}"
"""

RETURN = r"""
objects_changed:
  description: The objects that were created or changed, or would be.
  returned: success
  type: list
  elements: str
  sample: [Namespace portal-stt, Deployment portal-stt/portal-stt]
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample: []
"""
