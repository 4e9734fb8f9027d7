"""Results of a run as the modules return them, made by their own cores: what reports in tests are of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.portal.stt.plugins.module_utils._findings import Finding, Status, attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu.cards import Usable
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Card, Reading, Seat
from ansible_collections.portal.stt.plugins.module_utils._report.document import Document, Run, document
from ansible_collections.portal.stt.plugins.modules import cuda_preflight, gpu_memory_check

from tests.vectors.matrix import CARDS, IMAGES

AT = "2026-11-27T01:41:06Z"
MODEL = "deepdml/faster-whisper-large-v3-turbo-ct2"
OURS = "portal-stt/portal-stt"
TENANTS = {
    "immich/immich-machine-learning": (2150, 2150),
    "frigate/frigate": (1950, 1950),
    "llama-cpp/llama-swap": (0, 4455),
    "android/emulator": (150, 150),
}
"""The first operator's card: namespace/container → MiB now, at the peak."""
UUID = "11111111-2222-4333-8444-555555555555"
T4 = Card(UUID, "gpu-node-1", "Tesla T4", total=15360, reserved=447)


def seat(name: str, now: int, peak: int | None, uuid: str = "") -> Seat:
    namespace, container = name.split("/", 1)
    return Seat(namespace, container, (f"{container}-0",), now, peak, uuid)


def on_card(
    tenants: dict[str, tuple[int, int]], *, ours: tuple[int, int] | None = None, nobody: int = 0, card: Card = T4
) -> Reading:
    """What is read of a card with these tenants; ours: what our server has now, and at its peak."""
    every = {**tenants, **({OURS: ours} if ours else {})}
    used = sum(now for now, _ in every.values()) + nobody
    usable = (card.total or 0) - (card.reserved or 0)
    card = replace(card, used=used, free=usable - used, usable=Usable(usable, f"used {used} + free {usable - used}"))
    seats = tuple(seat(name, *amounts) for name, amounts in every.items())
    return Reading(
        (card,), seats, known=True, source="Service monitoring/prometheus-server:80", at=1795743600.0, step=120
    )


def memory(reading: Reading, **given: Any) -> list[dict[str, Any]]:
    """The results of gpu_memory_info and of gpu_memory_check."""
    params = {name: option.get("default") for name, option in gpu_memory_check.ARGUMENTS["argument_spec"].items()}
    params |= {"reading": reading.as_result(), "models": [MODEL], "headroom_mib": 1024, **given}
    checked = attempt(gpu_memory_check.run, params, check_mode=False)
    return [{"reading": reading.as_result(), "findings": []}, checked]


def images(*nodes: str) -> dict[str, Any]:
    """The result of cuda_preflight for nodes of tests.vectors.matrix."""
    as_given = [
        {"reference": one.reference, "tag": one.tag, "env": one.env, "cuda_compat": one.compat}
        for one in IMAGES.values()
    ]
    params = {name: option.get("default") for name, option in cuda_preflight.ARGUMENTS["argument_spec"].items()}
    params |= {"image": as_given[0], "variants": as_given[1:], "pod_env": {}, "runtime_mode": "legacy"}
    params |= {"nodes": [{**vars(CARDS[name]), "name": f"gpu-node-{number}"} for number, name in enumerate(nodes, 1)]}
    return attempt(cuda_preflight.run, params, check_mode=False)


def speech(model: str = MODEL, **given: Any) -> dict[str, Any]:
    """A result of transcription_check, one of its loop over models."""
    clips = [
        clip(
            "English", "en", "Please open the window and close the door.", "Please open the window, close a door!", 0.25
        ),
        clip("Bulgarian", "bg", "Моля, отворете прозореца.", "Мола, отворете прозореца!", 0.33),
    ]
    found = Finding(
        "speech.warm", Status.OK, f"model {model}", "warm: the first request took 0.46 s, later ones 0.46 s."
    )
    result = {"clips": clips, "first_seconds": 0.463, "median_seconds": 0.46, "rtf": 0.196, "warm": True}
    return {
        "item": {"model": model},
        "listed": True,
        "concurrent": [],
        "findings": [found.as_result()],
        **result,
        **given,
    }


def clip(name: str, language: str, expected: str, heard: str, wer: float = 0.0) -> dict[str, Any]:
    times = {"seconds": [0.463, 0.457, 0.471, 0.46], "duration": 2.347}
    return {
        "clip": name,
        "language": language,
        "expected": expected,
        "text": heard,
        "wer": wer,
        "cer": wer / 8,
        **times,
    }


def rollout(**given: Any) -> dict[str, Any]:
    """The result of k8s_rollout."""
    name = "portal-stt-7c9b8f6d5-x2x7k"
    progress = [
        "  0.2 s  pod portal-stt-5d7c9b8f6d-aaaaa: old revision, is stopping",
        f"  0.4 s  pod {name}: scheduled on node gpu-node-1",
        "  0.9 s  pulling ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda",
        " 11.2 s  aaaaa: container ended (Completed, exit status 0)",
        " 48.3 s  x2x7k: image pulled in 47.1s",
        " 49.9 s  container started; its startup probe gives it 600 s",
        " 59.9 s  startup probe says: the model is loading",
        " 74.1 s  ready",
    ]
    done = Finding("rollout", Status.OK, "Deployment portal-stt/portal-stt", "revision 3 is complete: 1 of 1 ready.")
    return {"status": "complete", "progress": progress, "seconds": 74.2, "rolled_back": False,
            "findings": [done.as_result()], **given}  # fmt: skip


APPLIED: dict[str, Any] = {
    "changed": True,
    "objects_changed": ["Deployment portal-stt/portal-stt", "Service portal-stt/portal-stt"],
    "diff": [
        {"after_header": "Deployment portal-stt/portal-stt",
         "before": "spec:\n  replicas: 1\n  template: {spec: {containers: [{image: a}]}}\n",
         "after": "spec:\n  replicas: 2\n  template: {spec: {containers: [{image: b}]}}\n"},
        {"after_header": "Service portal-stt/portal-stt", "before": "", "after": "spec: {}\n"},
    ],
    "findings": [],
}  # fmt: skip
IMAGE: dict[str, Any] = {
    "image": {"reference": "ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda", "digest": f"sha256:{'2c6f5272' * 8}"},
    "findings": [Finding("image.digest", Status.OK, "image speaches", "is sha256:2c6f5272….").as_result()],
}


def run(*results: dict[str, Any], **given: Any) -> Run:
    return Run(**{"cluster": "homelab", "play": "verify", "at": AT, "collection": "0.1.0", "ansible": "2.21.5",
                  "results": results, **given})  # fmt: skip


def whole() -> Document:
    """A run of all plays on the first operator's card, of which all that a report can show is to be seen."""
    before = [
        IMAGE,
        images("T4, driver 570.195.03", "RTX 3060, driver 570.195.03"),
        *memory(on_card(TENANTS), ours_mib=1500),
    ]
    after = memory(on_card(TENANTS, ours=(1482, 1516), nobody=90), ours_mib=1500, deployed=True)
    earlier = {"preflight": before, "deploy": [APPLIED, rollout()]}
    return document(run({"results": [speech()]}, *after, earlier=earlier))


INCIDENTS = {
    "2026-06-02": {"immich/ml": (10726, 10726), "frigate/frigate": (1695, 1950), "android/emulator": (150, 150)},
    "2026-08-31": {
        "immich/ml": (12044, 12044), "frigate/frigate": (2231, 2231), "immich/worker": (372, 372),
        "android/emulator": (214, 214),
    },
}  # fmt: skip


def incident(name: str, ours: int = 4455) -> Document:
    """The preflight that one of the operator's incidents would have met."""
    return document(run(*memory(on_card(INCIDENTS[name]), ours_mib=ours), play="preflight"))
