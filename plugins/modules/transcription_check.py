#!/usr/bin/python
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: transcription_check
short_description: Prove a speech-to-text server with speech
version_added: 0.1.0
author: the portal.stt maintainers (@portal-stt)
description:
  - Sends recorded speech to a server with OpenAI's transcription API (C(/v1/audio/transcriptions)) and compares the
    text that comes back with what is said in the recording.
  - The server is asked which models it has in memory (C(GET /api/ps)); one that is not listed is cold. Then the first
    clip is sent O(requests) times, one after the other. Where the first request takes longer than the later ones, the
    model was not in memory - a server that calls itself healthy has often not loaded its model. Where the two signs
    disagree, or the times differ too widely to tell, the finding says so.
  - Fails when a clip is heard wrong, when the server was cold, or when it does not answer. The failure shows expected
    and heard text side by side, and returns everything that was measured.
  - The way to the server is the proxy of the Kubernetes API server. With O(server_api_key) it is a port-forward to a
    Ready pod, because that proxy takes the C(Authorization) header away. So it is where a NetworkPolicy keeps the proxy
    out, because a port-forward comes out inside the pod. Or it is O(url).
  - Where several pods are Ready behind the Service, each is proven by itself, by port-forward. O(url) is one server.
  - Before texts are compared, both are brought into composed lower-case form (Unicode NFKC, full case folding);
    apostrophes are left out, other punctuation and symbols count as spaces. In languages that are written without
    spaces (C(ja), C(km), C(lo), C(my), C(th), C(yue), C(zh)) every character counts as a word. Numbers are compared as
    they are written. Other languages, Bulgarian and English among them, need nothing more.
extends_documentation_fragment:
  - portal.stt.attributes.read_only
  - kubernetes.core.k8s_auth_options
  - portal.stt.settings
options:
  model:
    description: Name of the model to ask for.
    type: str
    required: true
  clips:
    description: The recordings. The first one is also the one whose times are compared.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The sound file, on the machine where the module runs. Any format that the server decodes.
        type: path
        required: true
      text:
        description: What is said in it.
        type: str
        required: true
      name:
        description: What the clip is called in messages. By default the file's name.
        type: str
      language:
        description: ISO 639-1 code of the language. Left out, the server finds out.
        type: str
      prompt:
        description: Words that help the model, such as names.
        type: str
      response_format:
        description: The form in which the server shall answer.
        type: str
        choices: [json, text, verbose_json, srt, vtt]
        default: json
      max_wer:
        description: Highest word error rate that passes for this clip, in place of O(max_wer).
        type: float
  max_wer:
    description: Highest word error rate that passes; 0 is every word right.
    type: float
    default: 0.2
  requests:
    description: How often the first clip is sent, one after the other. At least 2.
    type: int
    default: 4
  concurrency:
    description: How many requests with the first clip are then sent at once, and must be heard as well. 1 for none.
    type: int
    default: 1
  warm_factor:
    description: The server is warm when its first request takes at most this many times the median of the later ones.
    type: float
    default: 1.2
  require_warm:
    description: Whether a cold server is a failure. Otherwise it is a warning.
    type: bool
    default: true
  name_model:
    description: Whether lines on a clip name the model, too. For reports on several models.
    type: bool
    default: false
  namespace:
    description: Namespace of O(service).
    type: str
    default: portal-stt
  service:
    description: The Service behind which the server stands.
    type: str
    default: portal-stt
  port:
    description: Name or number of the Service's port.
    type: str
    default: http
  url:
    description: The server's own address, in place of O(service).
    type: str
  server_api_key:
    description:
      - The server's API key, sent as a bearer token.
    type: str
  timeout:
    description:
      - Seconds without a byte after which a request has failed. As a whole a request may take twice that, at least a
        minute. To connect to O(url) there are at most ten seconds.
    type: int
    default: 120
requirements:
  - jiwer (Python library)
  - kubernetes.core collection, unless O(url) is set
seealso:
  - module: portal.stt.k8s_rollout
  - module: portal.stt.report
"""

EXAMPLES = r"""
- name: Speech comes back as text
  portal.stt.transcription_check:
    model: deepdml/faster-whisper-large-v3-turbo-ct2
    clips:
      - path: clips/kitchen.wav
        text: Turn on the light in the kitchen.
        language: en

- name: A server with a key hears Bulgarian and does not lose its breath under load
  portal.stt.transcription_check:
    url: http://192.168.1.40:8000
    server_api_key: "{{ vault_speaches_api_key }}"
    model: deepdml/faster-whisper-large-v3-turbo-ct2
    clips:
      - path: clips/prozorec.wav
        text: Моля, отворете прозореца.
        language: bg
        response_format: verbose_json
    concurrency: 8

- name: Times are measured, whatever they are
  portal.stt.transcription_check:
    model: Systran/faster-whisper-base
    clips: "{{ speaches_verify_clips }}"
    max_wer: 1
    require_warm: false
  register: measured
"""

RETURN = r"""
pods:
  description: What is returned of a single server, for each of several pods, with the pod's name in C(pod).
  returned: when several pods are Ready
  type: list
  elements: dict
clips:
  description: What was heard, in the order of O(clips), the worst answer of each; after a failure, as far as it came.
  returned: when a clip was answered
  type: list
  elements: dict
  sample:
    - clip: en
      language: en
      text: Please open the window and close the door.
      expected: Please open the window and close the door.
      wer: 0.0
      cer: 0.0
      seconds: [0.463, 0.457, 0.471, 0.46]
      duration: 2.347
first_seconds:
  description: Seconds that the very first request took.
  returned: when all clips were answered
  type: float
  sample: 0.463
median_seconds:
  description: Median of the seconds that the later requests with the first clip took.
  returned: when all clips were answered
  type: float
  sample: 0.46
rtf:
  description: Real-time factor, RV(median_seconds) by the clip's duration; 0 when the duration is not known.
  returned: when all clips were answered
  type: float
  sample: 0.196
warm:
  description: Whether the model was in memory, by RV(listed) and by the first request's time beside later ones.
  returned: when all clips were answered
  type: bool
  sample: true
listed:
  description:
    - Whether the server had the model in memory, or was loading it, before the first request (C(GET /api/ps)).
    - V(null) where it does not tell.
  returned: when all clips were answered
  type: bool
  sample: true
concurrent:
  description: Seconds of each of the requests that were sent at once, shortest first.
  returned: when all clips were answered
  type: list
  elements: float
  sample: []
findings:
  description: What was found, for M(portal.stt.report).
  returned: always
  type: list
  elements: dict
  sample:
    - check: speech.text
      status: ok
      subject: clip en
      message: "heard right: WER 0.00, CER 0.00."
      remedy: ""
      evidence:
        - "expected: Please open the window and close the door."
        - "heard:    Please open the window and close the door."
"""

import time
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC

from ..module_utils._findings import SETTINGS, CollectionError, Finding, Result, Say, fail, judge, leave
from ..module_utils._kubernetes.cluster import connect
from ..module_utils._speech.proof import FORMATS, Plan, Report, prove, read_clips
from ..module_utils._speech.ways import Send, directly, servers

CLIP = {
    "path": {"type": "path", "required": True},
    "text": {"type": "str", "required": True},
    "name": {"type": "str"},
    "language": {"type": "str"},
    "prompt": {"type": "str"},
    "response_format": {"type": "str", "choices": list(FORMATS), "default": "json"},
    "max_wer": {"type": "float"},
}

ARGUMENTS: dict[str, Any] = {
    "argument_spec": {
        **AUTH_ARG_SPEC,
        **SETTINGS,
        "model": {"type": "str", "required": True},
        "clips": {"type": "list", "elements": "dict", "required": True, "options": CLIP},
        "max_wer": {"type": "float", "default": 0.2},
        "requests": {"type": "int", "default": 4},
        "concurrency": {"type": "int", "default": 1},
        "warm_factor": {"type": "float", "default": 1.2},
        "require_warm": {"type": "bool", "default": True},
        "name_model": {"type": "bool", "default": False},
        "namespace": {"type": "str", "default": "portal-stt"},
        "service": {"type": "str", "default": "portal-stt"},
        "port": {"type": "str", "default": "http"},
        "url": {"type": "str"},
        "server_api_key": {"type": "str", "no_log": True},
        "timeout": {"type": "int", "default": 120},
    },
}


def ways(given: Mapping[str, Any]) -> list[tuple[str, Send]]:
    """How requests come to each server, with its pod's name where there are several. Raises CollectionError."""
    key = given["server_api_key"] or ""
    if given["url"]:
        checked = given["validate_certs"] is not False
        return [("", directly(given["url"], key, given["timeout"], validate_certs=checked))]
    return servers(connect(given), given["namespace"], given["service"], given["port"], key, given["timeout"])


def measured(reports: dict[str, Report]) -> dict[str, Any]:
    """The reports by pod, as the module returns them."""
    if "" in reports:
        return reports[""].as_result()
    return {"pods": [{"pod": pod} | report.as_result() for pod, report in reports.items()]} if reports else {}


def run(params: Mapping[str, Any], say: Say | None = None, **_: Any) -> Result:
    """What was heard and measured, a failure where it is not as it should be."""
    reports: dict[str, Report] = {}
    findings: list[Finding] = []
    try:
        plan = Plan(**{field.name: params[field.name] for field in fields(Plan)})
        clips = read_clips(params["clips"], params["max_wer"])
        for pod, send in ways(params):
            reports[pod], found = prove(clips, plan, pod, send, time.monotonic, say)
            findings += found
    except CollectionError as error:
        error.result.update(measured(reports))
        return fail(params, error, findings)
    return judge(params, findings, **measured(reports))


def main() -> None:
    leave(AnsibleModule(**ARGUMENTS, supports_check_mode=True), run)


if __name__ == "__main__":
    main()
