"""What exporters say of a card's memory, pitfall by pitfall. The pages are made here, in the shapes that exist."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._gpu.cards import usable
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import (
    Names,
    Reading,
    completed,
    merged,
    read,
    with_peaks,
)
from ansible_collections.portal.stt.plugins.module_utils._gpu.samples import SourceError, answer, page

MIB = 1024 * 1024
UUID = "GPU-11111111-2222-4333-8444-555555555555"
HEAD = "# HELP gpu_pod_memory_used_bytes GPU memory\n# TYPE gpu_pod_memory_used_bytes gauge\n"


def line(metric: str, value: object, **labels: str) -> str:
    inner = ",".join(f'{name}="{text}"' for name, text in labels.items())
    return f"{metric}{{{inner}}} {value}\n"


def process(tenant: str, mib: object, pid: str, **more: str) -> str:
    namespace, container = tenant.split("/")
    amount = mib * MIB if isinstance(mib, int) else mib
    labels = {"namespace": namespace, "pod": f"{container}-0", "container": container, "process_name": "x", "pid": pid}
    return line("gpu_pod_memory_used_bytes", amount, **labels, **more)


def fb(what: str, value: int, **labels: str) -> str:
    return line(f"DCGM_FI_DEV_FB_{what}", value, gpu="0", UUID=UUID, modelName="Tesla T4", **labels)


def pod(name: str, **more: str) -> dict[str, str]:
    return {"namespace": name, "container": name, "pod": f"{name}-0", **more}


def of_page(text: str) -> Reading:
    return read(page(text.encode(), "exporter"), Names(), "exporter")


def vector(*series: tuple[dict[str, str], object]) -> bytes:
    result = [{"metric": metric, "value": [1000.0, str(value)]} for metric, value in series]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def matrix(*series: tuple[dict[str, str], list[tuple[float, object]]]) -> bytes:
    result = [{"metric": one, "values": [[at, str(value)] for at, value in points]} for one, points in series]
    return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def kinds(reading: Reading) -> list[str]:
    return [doubt.kind for doubt in reading.doubts]


def seats(reading: Reading) -> dict[str, int]:
    return {seat.name: seat.now for seat in reading.seats}


CARD = fb("USED", 5753) + fb("FREE", 9160) + fb("RESERVED", 447)
IDLE = line("nvidia_smi_compute_apps", 0, uuid="a") + "nvidia_smi_compute_apps_last_collect_success 1\n"
WDDM = line("nvidia_smi_compute_apps", 21, uuid="a") + "nvidia_smi_compute_apps_last_collect_success 1\n"


@pytest.mark.parametrize(
    ("text", "known", "expected", "doubts"),
    [
        pytest.param(
            HEAD + process("memory/server", 3218, "1") + process("memory/server", 4096, "2"),
            True, {"memory/server": 7314}, [], id="a sample is a process: they are added up",
        ),
        pytest.param(
            HEAD + process("immich/ml", 2150, "1") + process("immich/worker", 372, "2"),
            True, {"immich/ml": 2150, "immich/worker": 372}, [], id="a namespace holds several tenants",
        ),
        pytest.param(HEAD, False, {}, ["blind"], id="an empty page is blind or idle"),
        pytest.param(HEAD + fb("USED", 5753), False, {}, ["blind"], id="and blind for sure where the card is in use"),
        pytest.param(HEAD + fb("USED", 3), True, {}, [], id="and idle where the card says so"),
        pytest.param(
            HEAD + process("immich/ml", 100, "1") + process("unknown/unknown", 46, "2"),
            True, {"immich/ml": 100}, ["nobody"], id="unknown is nobody",
        ),
        pytest.param(
            HEAD + line("gpu_pod_memory_used_bytes", 46 * MIB, container_id="host", pid="7"),
            True, {}, ["nobody"], id="an older exporter names no pods",
        ),
        pytest.param(
            HEAD + process("immich/ml", 100, "1") + process("immich/ml2", "NaN", "2"),
            True, {"immich/ml": 100}, ["no amount"], id="NaN is no amount",
        ),
        pytest.param(
            fb("USED", 5753, **pod("android")), False, {}, ["one pod"], id="the card's total at one pod's name",
        ),
        pytest.param(
            fb("USED", 15866, **pod("burn", vgpu="1")) + fb("USED", 15866, **pod("vllm", vgpu="3")),
            False, {}, ["copies"], id="copies of the card's total",
        ),
        pytest.param(
            fb("USED", 8123, **pod("a")) + fb("USED", 8100, **pod("b")), False, {}, ["owners"], id="names in turn",
        ),
        pytest.param(
            fb("USED", 4000) + fb("USED", 2150, **pod("immich", vgpu="1")) + fb("USED", 0, **pod("llama", vgpu="2")),
            True, {"immich/immich": 2150, "llama/llama": 0}, [], id="per pod beside the card's own: real",
        ),
        pytest.param(
            fb("USED", 10100) + fb("USED", 10056, **pod("a", vgpu="5")) + fb("USED", 10056, **pod("a", vgpu="19")),
            True, {"a/a": 10056}, [], id="a slot more is no process more",
        ),
        pytest.param(fb("USED", 13130, namespace="", pod="", container=""), False, {}, [], id="empty labels are none"),
        pytest.param(IDLE, True, {}, [], id="zero processes, told as such: idle"),
        pytest.param(WDDM, False, {}, ["no amounts"], id="processes whose amounts the driver does not tell"),
        pytest.param(IDLE.replace("success 1", "success 0"), False, {}, ["unread"], id="processes that were not read"),
        pytest.param(
            line("nvidia_smi_compute_app_used_memory_bytes", 538 * MIB, pid="1", process_name="ffmpeg", uuid="a")
            + line("nvidia_smi_memory_used_bytes", 11 * MIB, uuid="a"),
            True, {}, ["nobody"], id="processes without pods",
        ),
        pytest.param(
            HEAD + process("a/a", 11589, "1") + fb("USED", 11), True, {"a/a": 11589}, ["disagree"],
            id="sources that disagree",
        ),
        pytest.param(
            line("hami_vgpu_memory_used_bytes", 2012 * MIB, device_uuid=UUID, vdevice_index="0", **pod("cuda")),
            True, {"cuda/cuda": 2012}, [], id="HAMi",
        ),
        pytest.param(
            line("vGPU_device_memory_usage_in_bytes", 2012 * MIB, deviceuuid=UUID, vdeviceid="0", podname="a-0",
                 podnamespace="a", ctrname="c"),
            True, {"a/c": 2012}, [], id="HAMi before 2.9",
        ),
        pytest.param(
            HEAD + process("a/a", 10, "1") + fb("USED", 10) + fb("USED", 20).replace(UUID, "GPU-2"),
            False, {"a/a": 10}, ["which card"], id="two cards, and no exporter that tells which",
        ),
        pytest.param("up 1\n", False, {}, [], id="nothing that is known"),
    ],
)  # fmt: skip
def test_pitfalls(text: str, known: bool, expected: dict[str, int], doubts: list[str]) -> None:
    reading = of_page(text)
    assert (reading.known, seats(reading), kinds(reading)) == (known, expected, doubts)


@pytest.mark.parametrize(
    ("text", "used", "mib", "how"),
    [
        pytest.param(CARD, 5753, 14913, "used 5753 + free 9160", id="used and free"),
        pytest.param(fb("FREE", 15109), None, None, "", id="free alone does not make used 0"),
        pytest.param(CARD.replace("DCGM", "nvidia_tesla_t4_DCGM"), 5753, 14913, "used 5753 + free 9160", id="prefix"),
        pytest.param(
            "".join(
                line(f"nvidia_smi_memory_{what}_bytes", mib * MIB, uuid="a")
                for what, mib in (("total", 46068), ("used", 1235), ("free", 44225), ("reserved", 609))
            ),
            1235, 45460, "used 1235 + free 44225", id="nvidia_gpu_exporter",
        ),
        pytest.param(
            "".join(
                line(f"nvidia_smi_memory_{what}_bytes", mib * MIB, uuid="a")
                for what, mib in (("total", 15360), ("used", 6200), ("free", 9160), ("reserved", 447))
            ),
            6200, 14913, "total 15360 - reserved 447: what is called used holds the reserve", id="with the reserve",
        ),
        pytest.param(fb("USED", 9223372036854775794), None, None, "", id="blank of old versions"),
    ],
)  # fmt: skip
def test_what_a_card_gives_away(text: str, used: int | None, mib: int | None, how: str) -> None:
    card = next(iter(of_page(text).cards), None)
    found = (card.used, card.usable.mib if card.usable else None, card.usable.how if card.usable else "") if card else (
        None, None, "")  # fmt: skip
    assert found == (used, mib, how)


@pytest.mark.parametrize(
    ("product", "label", "mib", "measured", "how"),
    [
        ("Tesla-T4-SHARED", 15360, 14913, False,
         "the node's label 15360 - reserved 447 (DCGM, driver 590.48.01, ECC on)"),
        ("Tesla-T4", 15109, 15109, False,
         "the node's label 15109 - reserved 0 (gpu-operator#340: up to driver 470 no reserve is told)"),
        ("NVIDIA-L4", 23034, 22363, False,
         "the node's label 23034 - 671, an estimate: the largest share that is known of other cards"),
    ],
)  # fmt: skip
def test_without_measurement_the_table_says(product: str, label: int, mib: int, measured: bool, how: str) -> None:
    found = usable(product, total=None, used=None, free=None, reserved=None, label=label)
    assert found is not None
    assert (found.mib, found.measured, found.how) == (mib, measured, how)
    assert usable(product, total=None, used=None, free=None, reserved=None) is None


def test_slices_of_a_card_are_kept_apart_and_either_case_names_the_host() -> None:
    parts = {"GPU_I_PROFILE": "1g.6gb", "hostname": "node-1"}
    reading = of_page(fb("USED", 3, GPU_I_ID="3", **parts) + fb("USED", 11, GPU_I_ID="4", **parts))
    assert [(card.slice, card.used, card.node) for card in reading.cards] == [
        ("3 (1g.6gb)", 3, "node-1"),
        ("4 (1g.6gb)", 11, "node-1"),
    ]


EXPORTER = {"__name__": "DCGM_FI_DEV_FB_USED", "UUID": UUID, "job": "dcgm", "namespace": "monitoring",
            "pod": "dcgm-x", "container": "exporter"}  # fmt: skip


def test_exported_labels_name_the_tenant_and_plain_ones_never_do() -> None:
    tenant = {"exported_namespace": "immich", "exported_pod": "ml-1", "exported_container": "ml"}
    told = answer(vector((EXPORTER, 4000), ({**EXPORTER, **tenant}, 2150)), "prometheus")
    reading = read(told, Names(), "prometheus")
    assert (seats(reading), reading.known, reading.cards[0].used) == ({"immich/ml": 2150}, True, 4000)


def test_names_can_be_given() -> None:
    names = Names.of({"seats": ["vram_mib"]}, {"namespace": ["ns"], "container": ["app"]})
    told = page(line("vram_mib", 77, ns="a", app="b").encode(), "exporter")
    assert seats(read(told, names, "exporter")) == {"a/b": 77}


NOW = 10_000.0
SERVER = {"__name__": "gpu_pod_memory_used_bytes", "namespace": "a", "container": "a", "pod": "a-0", "instance": "one"}


def at(*times: float, mib: int = 100) -> list[tuple[float, object]]:
    return [(NOW - time, mib * MIB) for time in times]


@pytest.mark.parametrize(
    ("series", "expected", "doubts", "step"),
    [
        pytest.param([({**SERVER, "pid": "1"}, at(250, 130, 10))], {"a/a": 100}, [], 120, id="fresh"),
        pytest.param([({**SERVER, "pid": "1"}, at(540, 420))], {"a/a": 100}, ["stale"], 120, id="stale"),
        pytest.param(
            [({**SERVER, "pid": "1"}, at(250, 130, 10)), ({**SERVER, "pid": "2"}, at(370, 250, 130))],
            {"a/a": 100}, [], 120, id="a process that has ended does not count",
        ),
        pytest.param(
            [({**SERVER, "pid": "1"}, at(250, 130, 10)),
             ({**SERVER, "instance": "two", "container": "b", "pid": "2"}, at(580, 460))],
            {"a/a": 100}, ["vanished"], 120, id="a target that has gone is told",
        ),
        pytest.param(
            [({**SERVER, "pid": "1", "job": "x"}, at(130, 10)), ({**SERVER, "pid": "1", "job": "y"}, at(130, 10))],
            {"a/a": 100}, ["twice"], 120, id="scraped by two jobs",
        ),
    ],
)  # fmt: skip
def test_time_tells_what_is_there(series: list[Any], expected: dict[str, int], doubts: list[str], step: int) -> None:
    reading = read(answer(matrix(*series), "prometheus"), Names(), "prometheus", now=NOW)
    assert (seats(reading), kinds(reading), reading.step) == (expected, doubts, step)


def test_warnings_are_told() -> None:
    body = json.loads(vector((SERVER, 5 * MIB))) | {"warnings": ["No StoreAPIs matched for this query"]}
    told = answer(json.dumps(body).encode(), "prometheus")
    assert [one.message for one in read(told, Names(), "prometheus").doubts] == [
        "it warns: No StoreAPIs matched for this query."
    ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(HEAD + 'x{a="python -c "import y""} 1\n', "line 3 of its page is not in Prometheus' format, and "
                     "Prometheus drops such a page as a whole.", id="an unescaped quote"),
        pytest.param(HEAD + process("a/a", "[N/A]", "1"), "line 3 of its page is not in Prometheus' format, and "
                     "Prometheus drops such a page as a whole.", id="[N/A]"),
        pytest.param("<!doctype html><html>", "it answers with a page of HTML.", id="HTML"),
        pytest.param("x" * (8 * MIB + 1), "its page is larger than 8 MiB.", id="too large"),
    ],
)  # fmt: skip
def test_pages_that_are_none(body: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        page(body.encode(), "exporter")
    assert caught.value.message == said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<html>", "it answers with a page of HTML."),
        (b"404 page not found", "its answer is not JSON."),
        (b"[]", "its answer is not that of Prometheus' HTTP API."),
        (b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}',
         "its answer is neither a vector nor a matrix."),
        (b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":["x"]}]}}',
         "its answer holds something that is no sample."),
        (b'{"status":"error","errorType":"execution","error":"many-to-many"}',
         "it refuses the query (execution): many-to-many."),
    ],
)  # fmt: skip
def test_answers_that_are_none(body: bytes, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        answer(body, "prometheus")
    assert caught.value.message == said


def test_an_unknown_metric_is_success_and_says_nothing() -> None:
    reading = read(answer(vector(), "prometheus"), Names(), "prometheus")
    assert (reading.known, reading.seats, reading.cards) == (False, (), ())


def test_nothing_from_outside_controls_a_terminal() -> None:
    reading = of_page(HEAD + process("a\x1b[31m/b", 5, "1") + process("unknown/b", 6, "2\x1b"))
    assert "\x1b" not in repr(reading).replace("\\x1b", "")
    assert (reading.seats, sum(mib for _, mib in reading.nobody)) == ((), 11)


def test_two_sources_become_one_and_labels_complete_it() -> None:
    both = merged(of_page(HEAD + process("a/a", 5700, "1")), of_page(fb("USED", 5753, **pod("a")) + fb("FREE", 9160)))
    assert (kinds(both), both.known, both.unattributed(both.cards[0])) == ([], True, 53)
    nodes = [{"name": "node-1", "product": "Tesla-T4", "memory_mib": 15360, "gpus": 1}]
    labels = completed(of_page(HEAD + process("a/a", 5700, "1")), nodes)
    assert (labels.cards[0].node, labels.cards[0].usable.mib if labels.cards[0].usable else 0) == ("node-1", 14913)
    assert Reading.from_result(json.loads(json.dumps(both.as_result()))) == both


def test_peaks_are_those_of_the_idle_too() -> None:
    reading = with_peaks(of_page(HEAD + process("a/a", 500, "1")), {("a", "a", ""): 700, ("b", "b", ""): 900}, 1500)
    assert [(seat.name, seat.now, seat.peak) for seat in reading.seats] == [("b/b", 0, 900), ("a/a", 500, 700)]
