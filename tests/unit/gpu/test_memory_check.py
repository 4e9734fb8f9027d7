"""Incidents of an operator and of public threads, from an exporter's page to the verdict, to the MiB."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu.appetite import need, smaller
from ansible_collections.portal.stt.plugins.module_utils._gpu.declared import judged, taken
from ansible_collections.portal.stt.plugins.module_utils._gpu.growth import growth
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Tenants, with_peaks
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.quantities import QuantityError, canonical_count
from ansible_collections.portal.stt.plugins.modules.gpu_memory_check import ARGUMENTS, run

from .test_memory import HEAD, fb, of_page, process

TURBO = "deepdml/faster-whisper-large-v3-turbo-ct2"
USABLE = 14913
STEADY = {"immich/ml": 2150, "frigate/frigate": 1950, "android/emulator": 150}


def checked(now: dict[str, int], peaks: dict[str, int] | None = None, **given: Any) -> dict[str, Any]:
    """The check of a page with these tenants, two processes each, on a T4; peaks as Prometheus tells them."""
    lines = []
    for tenant, mib in now.items():
        lines += [process(tenant, mib // 3, f"{tenant}1"), process(tenant, mib - mib // 3, f"{tenant}2")]
    used = sum(now.values())
    reading = of_page(HEAD + "".join(lines) + fb("USED", used) + fb("FREE", USABLE - used) + fb("RESERVED", 447))
    told: Tenants = {(*tenant.split("/"), ""): mib for tenant, mib in (peaks or {}).items()}  # type: ignore[misc]
    reading = with_peaks(reading, told, None)
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    return attempt(run, {**params, "reading": reading.as_result(), **given}, check_mode=False)


@pytest.mark.parametrize(
    ("now", "peaks", "ours", "status", "said", "remedy"),
    [
        pytest.param(
            STEADY, {"llama/swap": 4455}, 1500, "ok",
            "fits, also when all are at their peaks: 4708 of 14913 MiB are left then.", "", id="S0 the draft",
        ),
        pytest.param(
            STEADY, {"llama/swap": 6996}, 1500, "ok",
            "fits, also when all are at their peaks: 2167 of 14913 MiB are left then.", "", id="S0b llama resident",
        ),
        pytest.param(
            STEADY, {"immich/ml": 10700, "llama/swap": 4455}, 1500, "warning",
            "fits only now: 9163 of 14913 MiB are left, but 3842 are missing when all are at their peaks.",
            "Cap immich/ml at 6858 MiB (its peak is 10700); or cap llama/swap at 613 MiB (its peak is 4455).",
            id="S0c immich uncapped",
        ),
        pytest.param(
            {"immich/ml": 10726, "frigate/frigate": 1695, "android/emulator": 150}, {"frigate/frigate": 1950}, 4455,
            "refused", "does not fit: of 14913 MiB 2113 are missing now, and 2368 when all are at their peaks.",
            "Cap immich/ml at 8358 MiB (its peak is 10726).", id="S1 2026-06-02, as llama",
        ),
        pytest.param(
            {"immich/ml": 10726, "frigate/frigate": 1695, "android/emulator": 150}, {"llama/swap": 4455}, 1500,
            "warning", "fits only now: 842 of 14913 MiB are left, but 3613 are missing when all are at their peaks.",
            "Cap immich/ml at 7113 MiB (its peak is 10726); or cap llama/swap at 842 MiB (its peak is 4455).",
            id="S1 2026-06-02, as ours",
        ),
        pytest.param(
            {"immich/ml": 12044, "frigate/frigate": 2231, "immich/worker": 372, "android/emulator": 214}, None, 1500,
            "refused", "does not fit: of 14913 MiB 1448 are missing now, and 1448 when all are at their peaks.",
            "Cap immich/ml at 10596 MiB (its peak is 12044); or cap frigate/frigate at 783 MiB (its peak is 2231).",
            id="S2 2026-08-31",
        ),
        pytest.param(
            {"ollama/ollama": 9216, "whisper/whisper": 5682}, None, 20, "refused",
            "does not fit: of 14913 MiB 5 are missing now, and 5 when all are at their peaks.",
            "Cap ollama/ollama at 9211 MiB (its peak is 9216); or cap whisper/whisper at 5677 MiB (its peak is 5682).",
            id="S3 two tenants",
        ),
        pytest.param(
            {"immich/ml": 3900, "others/others": 2300}, {"immich/ml": 9500}, 4000, "warning",
            "fits only now: 4713 of 14913 MiB are left, but 887 are missing when all are at their peaks.",
            "Cap immich/ml at 8613 MiB (its peak is 9500); or cap others/others at 1413 MiB (its peak is 2300).",
            id="S4 a neighbour that has grown",
        ),
        pytest.param(
            {"search/embeddings": 14900}, None, 1500, "refused",
            "does not fit: of 14913 MiB 1487 are missing now, and 1487 when all are at their peaks.",
            "Cap search/embeddings at 13413 MiB (its peak is 14900).", id="S5 one arena has the card",
        ),
        pytest.param(
            {"others/others": 6000}, None, 5798, "ok",
            "fits, also when all are at their peaks: 3115 of 14913 MiB are left then.", "", id="S6 ours at its peak",
        ),
        pytest.param(
            {"memory/server": 7314}, None, 1500, "ok",
            "fits, also when all are at their peaks: 6099 of 14913 MiB are left then.", "", id="S7 processes add up",
        ),
    ],
)  # fmt: skip
def test_incidents(
    now: dict[str, int], peaks: dict[str, int] | None, ours: int, status: str, said: str, remedy: str
) -> None:
    result = checked(now, peaks, ours_mib=ours)
    (finding,) = result["findings"]
    assert (finding["status"], finding["message"], finding["remedy"]) == (status, said, remedy)
    assert result.get("failed", False) is (status == "refused")


def test_s8_free_comes_from_the_card_not_from_those_who_are_seen() -> None:
    """A server that sees itself alone believes the card to be free: what belongs to nobody counts."""
    text = HEAD + process("ollama/ollama", 1000, "1") + fb("USED", 13000) + fb("FREE", 1913)
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    result = attempt(run, {**params, "reading": of_page(text).as_result(), "ours_mib": 2000}, check_mode=False)
    assert result["findings"][0]["message"] == (
        "does not fit: of 14913 MiB 87 are missing now, and 87 when all are at their peaks."
    )
    assert "of nobody: 12000 MiB" in result["findings"][0]["evidence"]


def test_the_larger_of_named_and_measured_counts_and_the_difference_is_told() -> None:
    named = [{"name": "frigate/frigate", "peak_mib": 1950}, {"name": "llama/swap", "peak_mib": 6996}]
    result = checked(STEADY, {"frigate/frigate": 2689}, ours_mib=1500, neighbours=named, headroom_mib=1428)
    assert (result["budgets"][0]["left"], result["findings"][0]["status"]) == (1428, "ok")
    assert (
        "frigate/frigate: 1950 MiB are named and 2689 measured: the larger number counts"
        in (result["findings"][0]["evidence"])
    )
    short = checked(STEADY, {"frigate/frigate": 2689}, ours_mib=1500, neighbours=named, headroom_mib=1429)
    assert short["findings"][0]["message"] == (
        "fits only now: 9163 of 14913 MiB are left, but 1 are missing when all are at their peaks, 1429 kept free."
    )


@pytest.mark.parametrize(
    ("peak", "given", "ours", "how"),
    [
        pytest.param(0, 0, 3119, "1545 for large-v3-turbo in int8 (at second hand of faster-whisper#1030), and 1574 "
                     "for batches of 8; an estimate, no T4 was measured", id="the table"),
        pytest.param(1900, 0, 1900, "its own measured peak", id="measured"),
        pytest.param(300, 0, 3119, "1545 for large-v3-turbo in int8 (at second hand of faster-whisper#1030), and 1574 "
                     "for batches of 8; an estimate, no T4 was measured", id="measured before the model was there"),
        pytest.param(1900, 1500, 1500, "as is set", id="the operator's number"),
    ],
)  # fmt: skip
def test_what_ours_takes(peak: int, given: int, ours: int, how: str) -> None:
    result = checked(STEADY, {"portal-stt/portal-stt": peak}, models=[TURBO], ours_mib=given)
    assert f"ours: {ours} MiB ({how})" in result["findings"][0]["evidence"]
    assert result["budgets"][0]["worst"] == 4250 + ours  # we are no neighbour of ours


def test_another_type_or_model_would_do() -> None:
    result = checked({"a/a": 9600, "b/b": 500}, models=["Systran/faster-whisper-large-v3"], compute_type="float16")
    assert result["findings"][0]["remedy"] == (
        "Cap a/a at 8318 MiB (its peak is 9600); or take compute type int8 (4527 MiB); or take compute type "
        "int8_float16 (4527 MiB); or take a model of the size large-v3-turbo (4111 MiB); or set "
        "ours_mib to what you have measured, in place of the estimate."
    )


def test_the_table_says_at_most_where_it_does_not_know_and_nothing_of_strangers() -> None:
    base = need(["Systran/faster-whisper-base"], "float16")
    assert base is not None
    assert (base.idle, base.how.startswith("at most 1158 for small in float16")) == (1158, True)
    assert (need(["nvidia/parakeet"], "int8"), need([], "int8"), smaller(["x"], "int8")) == (None, None, [])


@pytest.mark.parametrize(
    ("text", "given", "why"),
    [
        (HEAD, {"models": [TURBO]}, "who else sits there is not known"),
        (HEAD + process("a/a", 5, "1"), {"models": [TURBO]}, "how much memory the card has is not known"),
        (HEAD + process("a/a", 5, "1"), {"models": ["x/y"]}, "what it takes is not known for x/y in int8"),
    ],
)
def test_what_cannot_be_told_stops_nothing(text: str, given: dict[str, Any], why: str) -> None:
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    result = attempt(run, {**params, "reading": of_page(text).as_result(), **given}, check_mode=False)
    (finding,) = result["findings"]
    assert (finding["status"], finding["message"]) == ("warning", f"whether it fits cannot be told: {why}.")
    assert not result.get("failed")


NIGHT = [1964] * 10 + [4790] + [3426] * 10 + [4302] + [3548] * 10
RATCHET = [1958] * 20 + [2552] * 20 + [5478] * 20 + [5700] * 60 + [12044]


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        pytest.param([1950, 2100, 1950, 2100, 1950], "", id="flat"),
        pytest.param([0, 0, 6996, 6996, 0, 6996], "", id="loaded and unloaded"),
        pytest.param(
            NIGHT,
            "its floor rose from 1964 to 3548 MiB (1970-01-01 00:00 UTC to 1970-01-01 01:02 UTC), and it rose from "
            "1964 to 4790 MiB at once, 1970-01-01 00:20 UTC", id="one night",
        ),
        pytest.param(
            RATCHET,
            "its floor rose from 1958 to 5700 MiB (1970-01-01 00:00 UTC to 1970-01-01 04:00 UTC), and it rose from "
            "5700 to 12044 MiB at once, 1970-01-01 04:00 UTC", id="ratchet, and the jump within one interval",
        ),
    ],
)  # fmt: skip
def test_growth_is_steps_and_floors(levels: list[int], said: str) -> None:
    found = growth([(120.0 * index, mib) for index, mib in enumerate(levels)])
    assert (str(found) if found else "") == said


@pytest.mark.parametrize(
    ("now", "given", "first"),
    [
        (2000, {}, "ok {0}it takes 2000 MiB after speech, 2000 at the peak, within the 3119 reckoned with."),
        (3200, {}, "warning {0}it takes 3200 MiB after speech, 3200 at the peak: more than the 3119 reckoned with."),
        (2000, {"ours_mib": 1500},
         "warning {0}it takes 2000 MiB after speech, 2000 at the peak: more than the 1500 reckoned with."),
    ],
)  # fmt: skip
def test_after_speech(now: int, given: dict[str, int], first: str) -> None:
    history = [{"name": "immich/ml", "points": [[120 * index, mib] for index, mib in enumerate(RATCHET)]}]
    tenants = {**STEADY, "portal-stt/portal-stt": now}
    result = checked(tenants, {"immich/ml": 12044}, models=[TURBO], deployed=True, history=history, **given)
    lines = [f"{one['status']} {one['subject']}: {one['message']}" for one in result["findings"]]
    assert lines[0] == first.format("portal-stt/portal-stt in GPU memory: ")
    assert lines[1].startswith("warning portal-stt/portal-stt on Tesla T4 11111111: fits only now")
    assert lines[2].startswith("warning immich/ml in GPU memory: grows: its floor rose from 1958 to 5700 MiB")
    assert not result.get("failed")


@pytest.mark.parametrize(
    ("text", "right"),
    [("5000", "5k"), ("5120", "5120"), ("0", "0"), ("1000000", "1M"), ("5k", "5k"), ("1024Mi", "1Gi"), ("5e3", "5k")],
)
def test_a_count_is_written_as_it_comes_back(text: str, right: str) -> None:
    assert canonical_count(text) == right


@pytest.mark.parametrize("text", ["1500m", "-1", "5 k", ""])
def test_what_is_no_count(text: str) -> None:
    with pytest.raises(QuantityError):
        canonical_count(text)


def _pod(node: str, amount: str, namespace: str = "immich", app: str = "ml") -> dict[str, Any]:
    limits = {"resources": {"limits": {"example.org/gpumem": amount}}}
    return {
        "metadata": {"namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [limits, {}]},
    }


@pytest.mark.parametrize(
    ("wanted", "offered", "replicas", "status", "said"),
    [
        (1500, {"n": 14000}, 1, "ok", "the nodes have room for what the pod declares, 1500."),
        (9000, {"n": 14000}, 1, "refused",
         "the pod declares 9000, and no node has more than 8000 left: it would stay Pending."),
        (15000, {"n": 14000}, 1, "refused",
         "the pod declares 15000, and no node advertises more than 14000: it would stay Pending."),
        (1500, {"n": 0}, 1, "refused", "no GPU node advertises it: the pod would stay Pending."),
        (5000, {"n": 14000}, 2, "refused",
         "2 pods declare 5000 each, and the nodes have room for 1: the others stay Pending."),
    ],
)  # fmt: skip
def test_a_budget_that_the_scheduler_sees(
    wanted: int, offered: dict[str, int], replicas: int, status: str, said: str
) -> None:
    pods = [_pod("n", "5k"), _pod("n", "1000"), _pod("n", "1500", "portal-stt", "portal-stt"), _pod("", "9k")]
    held = taken(pods, "example.org/gpumem", ("portal-stt", "portal-stt"))
    found = judged("example.org/gpumem", wanted, offered, held, replicas)
    assert (found.status.value, found.message) == (status, said)
