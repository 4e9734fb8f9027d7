#!/usr/bin/env python3
# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Startup probe: passes when every model has turned a clip of speech into text, so that Ready means warm.

With WARM_HOST it is no probe, but a caller that goes through the Service as others do: the CronJob runs it so.

Runs in the server's container with its Python (standard library only). Says one line: what was heard, or why
not; the kubelet puts that line into the pod's events. Any text will do: a model that was tuned for another
language hears something else in the clip, and whether the text is right is the verify play's question.

Environment: WARM_MODELS (JSON list of model ids), WARM_CLIP (WAV file with speech), WARM_LANGUAGE (of the clip;
default: the server detects it), WARM_HOST (address of the Service; default: this container's own server),
WARM_URL (default http://WARM_HOST:8000), WARM_BUDGET_S (from the container's
start until it is warm; default 600), WARM_RUN_S (how long a run that fails lasts; default 20), API_KEY.

How the budget adds up. The kubelet runs one probe of a container at a time and kills the container after
failureThreshold failures, however long each took. A request gets all the time that is left, so that a load is
never cut off early, and a run whose request fails at once, or finds nobody listening yet, lasts WARM_RUN_S; so
failureThreshold = WARM_BUDGET_S / WARM_RUN_S runs last the budget at least. When the budget is over each run
gives its request a second, and the kubelet starts the next one at once (periodSeconds 1): the rest of the
failures takes about a tenth of the budget. timeoutSeconds is above the budget, so that the script always gets
to say its line.

A request whose run has ended goes on in the server and occupies one of its 40 threads; it does no harm
otherwise, because a model that is loading makes later requests wait instead of loading it twice (Speaches
v0.9.0-rc.3, base_model_manager.py).
"""

from __future__ import annotations

import http.client
import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping
from pathlib import Path

UNSUPPORTED = "not supported"
"""In the answer of 404 where the model is there, and its card is not what the server looks for."""
MEANING: dict[object, str] = {
    403: "The API key is missing or wrong: does API_KEY come from the server's Secret?",
    404: "The model is not on the volume under this name: was it seeded?",
    UNSUPPORTED: "Its card, README.md, does not name ctranslate2 and automatic-speech-recognition: seed it again.",
    415: "The server cannot decode the clip: is WARM_CLIP a whole WAV file?",
    500: "The server failed, most often for lack of GPU memory or a broken model: see its log.",
}
ANSWER = 1 << 20
"""Bytes of an answer that are read: what is heard in the clip is a sentence."""


class Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect, which would take the key along: the answer is then an error."""

    def redirect_request(self, *_: object) -> None:
        return None


LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())


class Cold(Exception):
    """Why the pod is not warm."""


def main(env: Mapping[str, str]) -> int:
    """Exit status: 0 after a transcription by every model, else 1."""
    started = retry_until = time.monotonic()
    try:
        end = started + float(env.get("WARM_BUDGET_S", "600")) - age_s()
        retry_until = min(started + float(env.get("WARM_RUN_S", "20")), end)
        clip = Path(env["WARM_CLIP"]).read_bytes()
        heard = [transcribe(model, clip, env, end, retry_until) for model in json.loads(env["WARM_MODELS"])]
    except Cold as cold:
        say(str(cold))
    except (KeyError, ValueError, OSError) as error:
        say(f"the probe is set up wrongly: {type(error).__name__}: {error}")
    else:
        say(f"ok: {'; '.join(heard)}")
        return 0
    time.sleep(max(0, retry_until - time.monotonic()))
    return 1


def say(line: str) -> None:
    """One line of plain characters: what the server says ends in the pod's events, and on terminals."""
    print(f"warm: {''.join(sign if sign.isprintable() else '?' for sign in line)}", flush=True)


def age_s() -> float:
    """Seconds since the container's first process, the server, was started."""
    started = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]  # starttime in proc(5), since boot
    return max(0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(started) / os.sysconf("SC_CLK_TCK"))


def address(env: Mapping[str, str]) -> str:
    """Where the server listens, as http://HOST:PORT; raises Cold when the Service has no address."""
    host = env.get("WARM_HOST", "127.0.0.1")
    if host.startswith("$("):  # what the kubelet leaves of a variable that is not there
        raise Cold("there was no Service yet when this pod started.")
    return env.get("WARM_URL", f"http://[{host}]:8000" if ":" in host else f"http://{host}:8000")


def transcribe(model: str, clip: bytes, env: Mapping[str, str], end: float, retry_until: float) -> str:
    """What the model heard and how long it took; raises Cold.

    end, retry_until: on the monotonic clock, when the budget is over, and until when nobody need listen.
    """
    started = time.monotonic()
    answer = _post(model, clip, env, end, retry_until)
    seconds = time.monotonic() - started
    try:
        text = str(json.loads(answer)["text"]).strip()
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Cold(f"{model}: the answer is not a transcription ({error}). Does Speaches listen here?") from error
    if not any(letter.isalnum() for letter in text):
        raise Cold(f"{model} answered without text in {seconds:.1f} s. Is the clip silent? It has to be speech.")
    return f'{model} heard "{text[:200]}" in {seconds:.1f} s'


def _post(model: str, clip: bytes, env: Mapping[str, str], end: float, retry_until: float) -> bytes:
    fields = {"model": model, "response_format": "json", "language": env.get("WARM_LANGUAGE", "")}
    mark = uuid.uuid4().hex
    parts = [f'Content-Disposition: form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items() if v]
    head = b'Content-Disposition: form-data; name="file"; filename="clip.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    body = b"".join(b"--%b\r\n%b\r\n" % (mark.encode(), part) for part in [*parts, head + clip])
    request = urllib.request.Request(
        address(env) + "/v1/audio/transcriptions",
        body + b"--%b--\r\n" % mark.encode(),
        {"Content-Type": f"multipart/form-data; boundary={mark}"},
    )
    if key := env.get("API_KEY"):
        if not re.fullmatch("[!-~]+", key):  # http.client would name it in its error
            raise Cold("API_KEY has a blank, a line break or another character that no header can carry.")
        request.add_header("Authorization", f"Bearer {key}")
    while True:
        try:
            with LOCAL.open(request, timeout=max(1, end - time.monotonic())) as answer:
                given: bytes = answer.read(ANSWER)
                return given
        except urllib.error.HTTPError as error:
            said = error.read(ANSWER).decode(errors="replace")[:300].strip()
            kind = UNSUPPORTED if error.code == http.HTTPStatus.NOT_FOUND and UNSUPPORTED in said else error.code
            meaning = MEANING.get(kind, "See the server's log.")
            raise Cold(f"{model}: HTTP {error.code}: {said} {meaning}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                why = (
                    "busy, stuck, or kept away by a NetworkPolicy" if "WARM_HOST" in env else "still loading, or stuck"
                )
                raise Cold(f"{model}: no answer {age_s():.0f} s after the start: {why}.") from error
            if not isinstance(reason, ConnectionRefusedError):
                raise Cold(f"{model}: the server broke the connection off ({reason}): see its log.") from error
            if time.monotonic() >= retry_until and "WARM_HOST" in env:
                raise Cold("no server is ready behind the Service: see its pods.") from error
            if time.monotonic() >= retry_until:
                raise Cold(f"the server does not listen yet, {age_s():.0f} s after its start.") from error
            time.sleep(0.25)


if __name__ == "__main__":
    sys.exit(main(os.environ))
