"""Set-ups of public threads, with the answer that a careful human would give."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu.growth import growth
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Names, Reading, completed, merged, read
from ansible_collections.portal.stt.plugins.module_utils._gpu.samples import Series, Told, answer, page
from ansible_collections.portal.stt.plugins.module_utils._gpu.sources import Looked, told
from ansible_collections.portal.stt.plugins.modules.gpu_memory_check import ARGUMENTS, run

from .test_memory import HEAD, MIB, UUID, fb, kinds, line, matrix, of_page, pod, process, seats, vector

SHARED = {"name": "gpu-1", "product": "Tesla-T4", "memory_mib": 15360, "gpus": 1, "replicas": 100,
          "sharing": "time-slicing"}  # fmt: skip
WHOLE = {**SHARED, "replicas": 1, "sharing": "none"}


def checked(reading: Reading, **given: Any) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    return attempt(run, {**params, "reading": reading.as_result(), "ours_mib": 1500, **given}, check_mode=False)


def said(result: dict[str, Any]) -> list[str]:
    return [f"{one['status']} {one['message']}" for one in result["findings"]]


def lines(looked: Looked, reading: Reading) -> list[str]:
    return [f"{one.status.value} {one.message}" for one in told(looked, reading)]


def two(*series: tuple[str, str, int]) -> Reading:
    """FB_USED of one card as two jobs tell it: (job, pod, MiB)."""
    labels = {"__name__": "DCGM_FI_DEV_FB_USED", "UUID": UUID, "gpu": "0"}
    given: list[tuple[dict[str, str], list[tuple[float, object]]]] = [
        ({**labels, "job": job, "instance": job, **(pod(name) if name else {})}, [(1000.0, mib)])
        for job, name, mib in series
    ]
    return read(answer(matrix(*given), "p", Names().wanted), Names(), "p", now=1000)


@pytest.mark.parametrize(
    ("series", "known", "expected", "doubts"),
    [
        pytest.param(
            [("operator", "", 13000), ("own", "android", 13000)], False, {}, ["one pod"],
            id="of two exporters one names a pod: that is not a pod beside the card's own series",
        ),
        pytest.param(
            [("operator", "", 13000), ("operator", "a", 9000), ("own", "b", 13000)], True, {"a/a": 9000}, [],
            id="the one that tells both is the one that knows",
        ),
        pytest.param([("operator", "", 13000), ("own", "", 12990)], False, {}, [], id="both name nobody"),
    ],
)  # fmt: skip
def test_two_exporters_on_one_node(
    series: list[tuple[str, str, int]], known: bool, expected: dict[str, int], doubts: list[str]
) -> None:
    """gpu-operator's exporter beside a chart's own."""
    reading = two(*series)
    assert (reading.known, seats(reading), kinds(reading)) == (known, expected, doubts)
    assert reading.cards[0].used in (13000, 12990)


def test_a_reserve_that_is_called_used_is_nobodys_and_not_counted_twice() -> None:
    """dcgm-exporter#136, gpu-operator#348: a card without a process has 447 MiB in use."""
    reading = completed(of_page(HEAD + process("a/a", 1000, "1") + fb("USED", 1447) + fb("FREE", 13913)), [SHARED])
    (card,) = reading.cards
    assert (card.usable and card.usable.mib, card.in_use, reading.unattributed(card)) == (14913, 1000, 0)
    assert checked(reading)["budgets"][0]["left"] == 14913 - 1000 - 1500


def test_a_pod_sees_less_than_the_host() -> None:
    """HAMi#952: 35122 MiB inside, 36336 outside: the rest is somebody's context, and counts."""
    text = line("hami_vgpu_memory_used_bytes", 35122 * MIB, device_uuid=UUID, vdevice_index="0", **pod("vllm"))
    reading = of_page(text + fb("USED", 36336) + fb("FREE", 44744))
    assert (seats(reading), reading.unattributed(reading.cards[0])) == ({"vllm/vllm": 35122}, 1214)


def test_slots_of_dead_processes() -> None:
    """HAMi#2310, #128: a container is said to hold what it held; the card itself knows better."""
    text = line("hami_vgpu_memory_used_bytes", 9000 * MIB, device_uuid=UUID, vdevice_index="0", **pod("done"))
    assert kinds(of_page(text + fb("USED", 3) + fb("FREE", 14910))) == ["disagree"]


def test_a_partial_answer_is_told() -> None:
    """Thanos says it with warnings beside `success`, VictoriaMetrics with isPartial. The data are kept."""
    labels = {"__name__": "gpu_pod_memory_used_bytes", "namespace": "a", "container": "a", "pod": "a-0"}
    body = vector((labels, 5 * MIB)).replace(b'"success"', b'"success", "isPartial": true, "warnings": ["store down"]')
    reading = read(answer(body, "p"), Names(), "p")
    assert (seats(reading), [one.message for one in reading.doubts]) == (
        {"a/a": 5}, ["it warns: store down.", "it warns: its answer is partial."],
    )  # fmt: skip


# ---- cards that are not shared


def test_a_card_of_its_own_has_no_neighbours() -> None:
    """A pod's name at the whole card is right there, and no word of chance is said."""
    text = fb("USED", 9000, **pod("somebody")) + fb("FREE", 5913)
    reading = completed(of_page(text), [WHOLE])
    looked = Looked(reading)
    assert lines(looked, reading) == ["ok no card is shared: the pod that has one has it alone."]
    result = checked(reading)
    assert said(result) == ["ok fits, also when all are at their peaks: 13413 of 14913 MiB are left then."]
    assert "the card is not shared: whoever has it, has it alone" in result["findings"][0]["evidence"]
    assert said(checked(reading, ours_mib=15000)) == [
        "refused does not fit: of 14913 MiB 87 are missing now, and 87 when all are at their peaks."
    ]
    assert said(checked(reading, deployed=True)) == []


def test_where_nothing_measures_it_a_card_of_its_own_is_reckoned() -> None:
    reading = completed(Reading(), [WHOLE])
    assert lines(Looked(named=False), reading) == []
    assert said(checked(reading)) == ["ok fits, also when all are at their peaks: 13413 of 14913 MiB are left then."]


def test_where_nothing_measures_a_shared_card_one_line_says_so() -> None:
    reading = completed(Reading(), [SHARED])
    assert lines(Looked(named=False), reading) == [
        "warning who sits in it cannot be told: no Prometheus and no exporter is named, and none is found by its name."
    ]
    assert said(checked(reading)) == []
    assert said(checked(reading, deployed=True)) == []
    named = checked(reading, neighbours=[{"name": "a/a", "peak_mib": 2000}])
    assert said(named) == ["ok fits, also when all are at their peaks: 11413 of 14913 MiB are left then."]


# ---- several cards


def test_a_full_card_of_several_is_to_know_and_stops_nothing() -> None:
    full, empty = UUID, "GPU-2"
    text = "".join(
        fb("USED", used).replace(UUID, uuid) + fb("FREE", 14913 - used).replace(UUID, uuid)
        + fb("USED", used, **pod(name, vgpu="1")).replace(UUID, uuid)
        for uuid, used, name in ((full, 14800, "a"), (empty, 500, "b"))
    )  # fmt: skip
    reading = of_page(text)
    assert [one.split()[0] for one in said(checked(reading))] == ["warning", "ok"]
    assert not checked(reading).get("failed")
    assert [one.split()[0] for one in said(checked(reading, replicas=2))] == ["refused", "ok"]


def test_cards_of_other_nodes_are_not_ours() -> None:
    text = fb("USED", 14800, Hostname="big").replace(UUID, "GPU-9") + fb("USED", 5, Hostname="gpu-1")
    assert [card.node for card in completed(of_page(text), [SHARED]).cards] == ["gpu-1"]
    strangers = text.replace('"gpu-1"', '"dcgm-exporter-x"')  # an exporter that names its own pod
    assert len(completed(of_page(strangers), [SHARED]).cards) == 2


def test_a_page_behind_a_service_is_one_nodes() -> None:
    reading = of_page(HEAD + process("a/a", 5, "1"))
    doubtful = Reading(**{**vars(reading), "doubts": ()})
    from ansible_collections.portal.stt.plugins.module_utils._gpu.sources import of_page as asked

    body = (HEAD + process("a/a", 5, "1")).encode()
    several = completed(asked(lambda path, query: body, Names(), "exporter"), [SHARED, {**SHARED, "name": "gpu-2"}])
    assert (several.known, kinds(several)) == (False, ["no history", "one node"])
    assert completed(doubtful, [SHARED]).known is True


# ---- growth


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        pytest.param([150, 6996, 150, 150, 6996, 150, 7010, 150], "", id="a model that is loaded and let go, always"),
        pytest.param(
            [1964, 12044, 1964, 1964], "it rose from 1964 to 12044 MiB at once, 1970-01-01 00:02 UTC",
            id="once, and restarted since",
        ),
        pytest.param(
            [500, 2600, 500, 2600, 500, 5000, 4900, 4900, 4900],
            "its floor rose from 500 to 4900 MiB (1970-01-01 00:00 UTC to 1970-01-01 00:16 UTC), and it rose from 500 "
            "to 5000 MiB at once, 1970-01-01 00:10 UTC", id="more than it usually takes",
        ),
    ],
)  # fmt: skip
def test_what_is_usual_is_no_growth(levels: list[int], said: str) -> None:
    found = growth([(120.0 * index, mib) for index, mib in enumerate(levels)])
    assert (str(found) if found else "") == said


# ---- a card that tells of nobody


def test_where_nobody_is_named_what_is_free_now_is_told() -> None:
    """dcgm-exporter#307 on a T4: no verdict, and yet not nothing."""
    reading = completed(of_page(fb("USED", 13000, **pod("android")) + fb("FREE", 1913)), [SHARED])
    (finding,) = checked(reading, ours_mib=3119)["findings"]
    assert (finding["status"], finding["message"]) == (
        "warning", "whether it fits cannot be told: who else sits there is not known.",
    )  # fmt: skip
    assert finding["evidence"] == [
        "Tesla T4 11111111 in gpu-1: 1913 MiB are free now, and 3119 are wanted where it does not run yet"
    ]


def test_two_sources_that_know_half_each() -> None:
    """nvidia_gpu_exporter knows the card, the pods' exporter the tenants."""
    card = line("nvidia_smi_memory_used_bytes", 5753 * MIB, uuid="1") + line(
        "nvidia_smi_memory_free_bytes", 9160 * MIB, uuid="1"
    )
    both = merged(of_page(HEAD + process("immich/ml", 5000, "1")), of_page(card))
    assert (both.known, seats(both), both.unattributed(both.cards[0])) == (True, {"immich/ml": 5000}, 753)


def test_a_process_whose_name_nobody_found() -> None:
    """nvidiagpubeat writes [NotFound] for a process of another pid namespace."""
    series = Series("nvidia_smi_compute_app_used_memory_bytes", {"pid": "1", "process_name": "[NotFound]"},
                    ((0.0, 10.0 * MIB),))  # fmt: skip
    reading = read(Told((series,)), Names(), "p")
    assert (reading.nobody, kinds(reading)) == ((("[NotFound]", 10),), ["nobody"])


def test_windows_line_ends_are_no_fault() -> None:
    assert seats(read(page((HEAD + process("a/a", 5, "1")).replace("\n", "\r\n").encode(), "e"), Names(), "e")) == {
        "a/a": 5
    }
