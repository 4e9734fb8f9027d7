"""The main job on the real node: from nothing to the text of a spoken sentence; and what the server then survives
by itself, with how long that took.

The server wants an API key, so verify goes by port-forward; molecule's default scenario goes by the API server's proxy.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
import requests

from lab import api, network, node, simulated
from tests.conftest import ROOT, Played, play, until

BOUND = 900.0  # seconds; an emulated node on a busy machine
PODS = "/api/v1/namespaces/portal-stt/pods"
HUB_CONTROLS = f"http://{network.HOST}:8091/_stand-in"
CLIP = ROOT / "roles" / "verify" / "files" / "clips" / "en.wav"
MODEL = "deepdml/faster-whisper-large-v3-turbo-ct2"
KEY = "key-of-the-lab"
NEWER = "10.77.0.1:5000/speaches-ai/speaches:0.9.0-rc.3-cuda-12.6.3"


@pytest.fixture(scope="module")
def first() -> Played:
    simulated.replace(None)  # a pod there would be Ready in a second, and prove nothing
    played = site()
    assert _ready_pod()["spec"]["nodeName"] == node.NAME
    return played


def site(*args: str) -> Played:
    played = play("site.yml", "-e", json.dumps({"speaches_api_key": KEY}), *args)
    assert played.rc == 0, played.output
    assert KEY not in played.output
    return played


@pytest.fixture
def hub_is_down() -> Iterator[None]:
    requests.put(f"{HUB_CONTROLS}/faults", json={"down": True}, timeout=10).raise_for_status()
    yield
    requests.put(f"{HUB_CONTROLS}/faults", json={}, timeout=10).raise_for_status()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a measured figure past pytest's capture."""

    def saying(text: str) -> None:
        with capsys.disabled():
            print(f"\n  {text}")

    return saying


def test_speech_comes_back_as_text(first: Played) -> None:
    assert "heard:    Please open the window and close the door." in first.output
    assert "clip English: heard right: WER 0.00" in first.output


@pytest.mark.usefixtures("first")
def test_who_has_no_key_is_not_served() -> None:
    url = f"http://{_ready_pod()['status']['podIP']}:8000/v1/models"
    assert requests.get(url, timeout=BOUND).status_code in (401, 403)


def test_the_server_was_warm_when_it_was_ready(first: Played) -> None:
    assert "warm: the first request took" in first.output, first.output


@pytest.mark.usefixtures("first")
def test_a_dry_run_on_what_was_deployed_sees_nothing_to_change() -> None:
    dry = site("--check", "--diff")
    assert dry.changed == 0, dry.output


@pytest.mark.usefixtures("first")
def test_an_upgrade_is_as_long_as_one_load(say: Callable[[str], None]) -> None:
    """The seed Job has pulled the new image while the old pod served."""
    old, looks, over = _ready_pod(), list[tuple[float, bool]](), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            looks.append((time.monotonic(), bool(_ready_pod())))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        played = play("playbooks/deploy.yml", "-e", json.dumps({"speaches_api_key": KEY, "speaches_image": NEWER}))
    finally:
        over.set()
        watcher.join()
    assert played.rc == 0, played.output
    pod = _ready_pod(but=old["metadata"]["uid"])
    pulls = api.call(
        "GET", PODS.replace("pods", "events"), fieldSelector=f"involvedObject.uid={pod['metadata']['uid']}"
    )
    said = [one["message"] for one in pulls["items"] if one["reason"] in ("Pulling", "Pulled")]
    assert len(said) == 1
    assert "already present on machine" in said[0]
    gone = [time for time, ready in looks if not ready]
    status = pod["status"]
    started = status["containerStatuses"][0]["state"]["running"]["startedAt"]
    ready = next(one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Ready")
    load = (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()
    say(f"upgrade: nobody serves for {gone[-1] - gone[0]:.0f} s; the new server takes {load:.0f} s to be warm")


@pytest.fixture
def another_revision_was_seeded() -> Iterator[None]:
    """What the volume says is served is no longer what this revision of the Deployment serves."""
    file = f"/srv/nfs-ssd/portal-stt/hub/models--{MODEL.replace('/', '--')}/refs/main"
    named = node.ssh(f"cat {file}").stdout
    assert node.ssh(f"printf %040d 0 > {file}").returncode == 0
    yield
    assert node.ssh(f"printf {named} > {file}").returncode == 0


@pytest.mark.usefixtures("first", "hub_is_down", "another_revision_was_seeded")
def test_a_deleted_pod_is_replaced_by_a_warm_one_without_the_hub(say: Callable[[str], None]) -> None:
    gone, began = _ready_pod(), time.monotonic()
    api.call("DELETE", f"{PODS}/{gone['metadata']['name']}")
    pod = _until(lambda: _ready_pod(but=gone["metadata"]["uid"]))
    say(f"pod deleted, hub unreachable: Ready after {time.monotonic() - began:.0f} s")
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
    assert _transcribe(pod) == "Please open the window and close the door."


@pytest.mark.usefixtures("first")
def test_the_nfs_server_restarts_while_the_pod_serves(say: Callable[[str], None]) -> None:
    pod, began = _ready_pod(), time.monotonic()
    assert node.ssh("systemctl restart nfs-server").returncode == 0
    _until(lambda: MODEL in _ask(pod, "GET", "/v1/models").text)
    say(f"NFS server restarted: the volume is read again after {time.monotonic() - began:.0f} s")
    assert _transcribe(pod) == "Please open the window and close the door."
    assert _ready_pod()["metadata"]["uid"] == pod["metadata"]["uid"]


@pytest.mark.usefixtures("first", "hub_is_down")
def test_the_node_reboots(say: Callable[[str], None]) -> None:
    before, began = _ready_pod(), time.monotonic()
    node.reboot()
    say(f"node rebooted: it is Ready after {time.monotonic() - began:.0f} s")
    pod = _until(lambda: _ready_pod(restarts=1))
    say(f"node rebooted, hub unreachable: the pod is Ready after {time.monotonic() - began:.0f} s")
    assert pod["metadata"]["uid"] == before["metadata"]["uid"]
    assert _transcribe(pod) == "Please open the window and close the door."


def _ready_pod(but: str = "", restarts: int = 0) -> dict[str, Any]:
    """The server's pod if it is Ready, is not the one with that uid and was restarted so often; else nothing."""
    for pod in api.call("GET", PODS, labelSelector="app=portal-stt")["items"]:
        statuses = pod["status"].get("containerStatuses", [])
        if pod["metadata"]["uid"] == but or not statuses or "deletionTimestamp" in pod["metadata"]:
            continue
        if statuses[0]["ready"] and statuses[0]["restartCount"] >= restarts:
            return dict(pod)
    return {}


def _ask(pod: dict[str, Any], method: str, path: str, **body: Any) -> requests.Response:
    """What the pod answers at its own address to somebody who has the key."""
    url = f"http://{pod['status']['podIP']}:8000{path}"
    return requests.request(method, url, headers={"Authorization": f"Bearer {KEY}"}, timeout=BOUND, **body)


def _transcribe(pod: dict[str, Any]) -> str:
    """What the pod hears in the English clip."""
    files, data = {"file": (CLIP.name, CLIP.read_bytes(), "audio/wav")}, {"model": MODEL, "language": "en"}
    answer = _ask(pod, "POST", "/v1/audio/transcriptions", files=files, data=data)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


def _until(done: Callable[[], Any]) -> Any:
    return until(done, BOUND, lambda: api.call("GET", PODS, labelSelector="app=portal-stt"))
