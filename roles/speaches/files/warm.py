#!/usr/bin/env python3
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Startup probe: passes when every model has turned a clip of speech into text, so that Ready means warm.

Runs in the server's container with its Python (standard library only). Says one line: what was heard, or why
not; the kubelet puts that line into the pod's events.

Environment: WARM_MODELS (JSON list of model ids), WARM_CLIP (WAV file with speech), WARM_EXPECT (words,
separated by blanks; one of them has to be heard; default none: any text will do), WARM_LANGUAGE (default: the
server detects it), WARM_URL (default http://127.0.0.1:8000), WARM_WAIT_S (for how long the server may refuse
connections before a run gives up; default 20), WARM_TIMEOUT_S (for one transcription, the load included;
default 600), API_KEY.

The probe's timeoutSeconds has to be above WARM_WAIT_S + models * WARM_TIMEOUT_S, for two reasons: the script
then always gets to say its line, and requests do not pile up. A request whose probe was killed goes on in the
server and occupies one of its 40 threads; it does no harm otherwise, because a model that is loading makes
later requests wait instead of loading it twice (Speaches v0.9.0-rc.3, base_model_manager.py). The kubelet runs
one probe of a container at a time, so at most failureThreshold such requests are left. The wait for the
server's port is inside the script: a period of 1 s then costs no Python start a second, and Ready is not late.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

MEANING = {
    403: "The API key is missing or wrong: does API_KEY come from the server's Secret?",
    404: "The model is not on the volume under this name: was it seeded?",
    415: "The server cannot decode the clip: is WARM_CLIP a whole WAV file?",
    500: "The server failed, most often for lack of GPU memory or a broken model: see its log.",
}
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Cold(Exception):
    """Why the pod is not warm."""


def main(env: Mapping[str, str]) -> int:
    """Exit status: 0 after a transcription by every model, else 1."""
    try:
        clip = Path(env["WARM_CLIP"]).read_bytes()
        heard = [transcribe(model, clip, env) for model in json.loads(env["WARM_MODELS"])]
    except Cold as cold:
        print(f"warm: {cold}")
        return 1
    except (KeyError, ValueError, OSError) as error:
        print(f"warm: the probe is set up wrongly: {type(error).__name__}: {error}")
        return 1
    print(f"warm: ok: {'; '.join(heard)}")
    return 0


def transcribe(model: str, clip: bytes, env: Mapping[str, str]) -> str:
    """What the model heard and how long it took; raises Cold."""
    started = time.monotonic()
    text = _post(model, clip, env)
    seconds = time.monotonic() - started
    expected = env.get("WARM_EXPECT", "").lower().split()
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    if not words:
        raise Cold(f"{model} answered without text in {seconds:.1f} s. Is the clip silent? It has to be speech.")
    if expected and not set(expected) & set(words):
        raise Cold(f'{model} heard "{text[:200]}", and none of: {" ".join(expected)}. It does not work as it should.')
    return f'{model} heard "{text[:200]}" in {seconds:.1f} s'


def _post(model: str, clip: bytes, env: Mapping[str, str]) -> str:
    fields = {"model": model, "response_format": "json", "language": env.get("WARM_LANGUAGE", "")}
    mark = uuid.uuid4().hex
    parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items() if v]
    head = b'Content-Disposition: form-data; name="file"; filename="clip.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    body = b"".join(b"--%b\r\n%b\r\n" % (mark.encode(), part) for part in [*parts, head + clip])
    request = urllib.request.Request(
        env.get("WARM_URL", "http://127.0.0.1:8000") + "/v1/audio/transcriptions",
        body + b"--%b--\r\n" % mark.encode(),
        {"Content-Type": f"multipart/form-data; boundary={mark}"},
    )
    if key := env.get("API_KEY"):
        request.add_header("Authorization", f"Bearer {key}")
    wait_s, timeout_s = float(env.get("WARM_WAIT_S", "20")), float(env.get("WARM_TIMEOUT_S", "600"))
    give_up = time.monotonic() + wait_s
    while True:
        try:
            with LOCAL.open(request, timeout=timeout_s) as answer:
                return str(json.load(answer)["text"]).strip()
        except urllib.error.HTTPError as error:
            said = error.read().decode(errors="replace")[:300].strip()
            meaning = MEANING.get(error.code, "See the server's log.")
            raise Cold(f"{model}: HTTP {error.code}: {said} {meaning}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise Cold(f"{model}: the answer is not a transcription ({error}). Does Speaches listen here?") from error
        except (OSError, urllib.error.URLError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise Cold(f"{model}: no answer within {timeout_s:g} s: still loading, or stuck.") from error
            if not isinstance(reason, ConnectionRefusedError):
                raise Cold(f"{model}: the server broke the connection off ({reason}): see its log.") from error
            if time.monotonic() >= give_up:
                raise Cold(f"the server does not listen yet (connection refused for {wait_s:g} s).") from error
            time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main(os.environ))
