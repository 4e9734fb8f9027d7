#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: oci_image_info
short_description: Resolve an image reference at its registry to digest, environment and variants
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Reads manifest and configuration of a container image without pulling it, in OCI and Docker (schema 2) format, from
    an index, a manifest list or a single manifest. Nothing needs to be installed but the requests library.
  - Logs in with a docker configuration (credential helpers too), with a pull secret of the cluster, or anonymously.
    Proxies are those of the environment (E(HTTPS_PROXY), E(NO_PROXY)), a private CA is given by E(REQUESTS_CA_BUNDLE).
  - A tag that does not exist is told apart from a registry that refuses or limits; the tags to take instead are named.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  image:
    description: The reference, as docker and Kubernetes write it.
    type: str
    required: true
  platform:
    description: The platform whose configuration is read.
    type: str
    default: linux/amd64
  variants:
    description: Whether the published variants of the same release and family (C(-cuda-12.6.3) of C(-cuda)) are read.
    type: bool
    default: false
  docker_config:
    description:
      - The docker configuration file that is read for logins. By default the user's own, if there is one (in
        E(DOCKER_CONFIG) or C(~/.docker)).
    type: path
  pull_secret:
    description:
      - A Secret of type C(kubernetes.io/dockerconfigjson) or C(kubernetes.io/dockercfg) in the cluster. It comes before
        O(docker_config).
    type: dict
    suboptions:
      namespace:
        description: Its namespace.
        type: str
        required: true
      name:
        description: Its name.
        type: str
        required: true
  mirrors:
    description:
      - Registry names, each with the addresses to ask in its place, in order, as the nodes' container runtime does.
      - The registry itself is not asked then, unless it is one of them. An C(http://) address speaks plain HTTP.
      - Each address is given only the login for its own host.
    type: dict
    default: {}
  plain_http:
    description: Whether the image's registry speaks HTTP without TLS.
    type: bool
    default: false
requirements:
  - requests >= 2.32
  - kubernetes.core collection, for O(pull_secret)
seealso:
  - module: portal.stt.cuda_preflight
"""

EXAMPLES = r"""
- name: The image is known
  portal.stt.oci_image_info:
    image: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
    variants: true
  register: image

- name: An image that only a pull secret opens is known
  portal.stt.oci_image_info:
    image: registry.example.com/team/speaches:0.9.0-rc.3-cuda
    pull_secret:
      namespace: portal-stt
      name: registry-login

- name: An image is known as the nodes see it, through their mirror
  portal.stt.oci_image_info:
    image: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
    mirrors:
      ghcr.io:
        - http://mirror.example.com:5000
        - https://ghcr.io
"""

RETURN = r"""
image:
  description: The image. RV(image.pinned) is the reference with the digest to deploy; RV(image.digest) is the index's
    where there is one.
  returned: success
  type: dict
  contains:
    pinned:
      description: The reference with its digest.
      type: str
      returned: success
      sample: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda@sha256:f4eb14d1c53b…
    digest:
      description: Digest of the index, or of the manifest where there is no index.
      type: str
      returned: success
      sample: sha256:f4eb14d1c53b…
  sample:
    reference: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
    registry: ghcr.io
    repository: speaches-ai/speaches
    tag: 0.9.0-rc.3-cuda
    digest: sha256:f4eb14d1c53b…
    pinned: ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda@sha256:f4eb14d1c53b…
    manifest_digest: sha256:87ce4b1de0c9…
    media_type: application/vnd.oci.image.manifest.v1+json
    platform: linux/amd64
    platforms: [linux/amd64, linux/arm64]
    env:
      CUDA_VERSION: 12.9.0
    user: ubuntu
    labels: {}
    created: "2025-12-27T15:04:05Z"
    size: 3912345678
    cuda_version: 12.9.0
    cuda_compat: "12.9"
    cuda_wheels: []
variants:
  description: With O(variants=true), the same for each variant, the image's own first.
  returned: success
  type: list
  elements: dict
  sample: []
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: image.digest
      status: ok
      subject: image ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda
      message: is sha256:f4eb14d1c53b… (linux/amd64, linux/arm64).
      remedy: ""
      evidence: []
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Finding, Result, fail, leave, succeed
from ..module_utils._image.oci import findings, parse_reference
from ..module_utils._image.registry import Access, Repository, mirror_addresses, secret_config
from ..module_utils._kubernetes.cluster import connect

_SECRET = {"namespace": {"type": "str", "required": True}, "name": {"type": "str", "required": True}}

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "image": {"type": "str", "required": True},
        "platform": {"type": "str", "default": "linux/amd64"},
        "variants": {"type": "bool", "default": False},
        "docker_config": {"type": "path"},
        "pull_secret": {"type": "dict", "options": _SECRET},
        "mirrors": {"type": "dict", "default": {}},
        "plain_http": {"type": "bool", "default": False},
    },
}


def run(params: Mapping[str, Any], **_: Any) -> Result:
    """The image, and its variants where they are asked for."""
    found: list[Finding] = []
    try:
        reference = parse_reference(params["image"])
        secret = secret_config(connect(params), **params["pull_secret"]) if params["pull_secret"] else {}
        mirrors = mirror_addresses(params["mirrors"])
        access = Access(params["docker_config"] or "", secret, mirrors, params["plain_http"])
        repository = Repository(reference, access)
        image = repository.image(params["platform"])
        found += findings(image, reference)
        variants, lost = repository.variants(params["platform"]) if params["variants"] else ([], [])
    except CollectionError as error:
        return fail(params, error, found)
    shown = [variant.as_result() for variant in variants]
    return succeed(params, [*found, *lost], image=image.as_result(), variants=shown)


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
