"""What plays leave to each other: bounded, whole, and not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.parsing.dataloader import DataLoader
from ansible_collections.portal.stt.plugins.filter.runs import handed, kept_reports
from ansible_collections.portal.stt.plugins.module_utils._findings import Finding, Status
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Reading, Seat
from ansible_collections.portal.stt.plugins.module_utils._hand_over import REPORT_BYTES, hand_over
from ansible_collections.portal.stt.plugins.module_utils._rollout.underway import underway

from tests.jobs import dumped

DIGEST = f"sha256:{'ab' * 32}"


def finding(status: Status, check: str = "cuda", message: str = "is so.") -> dict[str, Any]:
    return Finding(check, status, "node a", message).as_result()


FINE, KNOWN, UNTOLD, REFUSED = map(finding, (Status.OK, Status.WARNING, Status.UNKNOWN, Status.REFUSED))
READING = Reading(
    seats=(
        Seat("immich", "machine-learning", ("ml-7d9f-x2x",), 512, 2048, "GPU-1"),
        Seat("llama-cpp", "llama-swap", ("llama-1", "llama-2"), 4096),
    ),
    known=True,
).as_result()
SEATS = [
    {"name": "llama-cpp/llama-swap", "card": "", "mib": 4096, "peak_mib": None},
    {"name": "immich/machine-learning", "card": "GPU-1", "mib": 512, "peak_mib": 2048},
]
ENDED = Finding("run", Status.REFUSED, "deploy", "did not come to its end.", "See the job's own output.").as_result()


@pytest.mark.parametrize(
    ("results", "verdict", "digest", "seats", "summary", "findings"),
    [
        pytest.param([], "refused", "", None, "1 refused", [ENDED], id="nothing done"),
        pytest.param([{"findings": []}], "ok", "", None, "nothing was looked at", [], id="nothing found"),
        pytest.param(
            [{"findings": [FINE], "results": [{"image": {"digest": DIGEST}}]},
             {"findings": [KNOWN], "reading": READING}],
            "warning", DIGEST, SEATS, "1 fine, 1 to know", [KNOWN, FINE], id="digest and seats",
        ),
        pytest.param(
            [{"findings": [FINE, UNTOLD], "image": {"digest": "latest"}, "reading": READING | {"known": False}}],
            "unknown", "", None, "1 fine, 1 cannot tell", [UNTOLD, FINE], id="no digest, no seats",
        ),
        pytest.param(
            [{"findings": [UNTOLD]}, {"findings": [REFUSED]}],
            "refused", "", None, "1 cannot tell, 1 refused", [REFUSED, UNTOLD], id="the worst first",
        ),
        pytest.param([{"findings": [FINE]}, {}], "refused", "", None, "1 fine, 1 refused", [ENDED, FINE], id="no end"),
        pytest.param(
            [{"findings": [REFUSED]}, {}], "refused", "", None, "1 refused", [REFUSED], id="no end, and why"
        ),
    ],
)  # fmt: skip
def test_hand_over(
    results: list[dict[str, Any]], verdict: str, digest: str, seats: object, summary: str, findings: list[object]
) -> None:
    report = {"summary": summary, "findings": findings, "cut": ""}
    expected: dict[str, object] = {
        "play": "deploy",
        "verdict": verdict,
        "digest": digest,
        "seats": seats,
        "report": report,
    }
    assert hand_over("deploy", results) == expected


def test_seats_are_bounded() -> None:
    many = tuple(Seat("n" * 1000, "c", (), number) for number in range(5000))
    seats = hand_over("verify", [{"findings": [], "reading": Reading(seats=many, known=True).as_result()}])["seats"]
    assert [one["mib"] for one in seats] == list(range(4999, 4949, -1))
    assert len(json.dumps(seats)) < REPORT_BYTES / 2


def test_a_report_is_cut_with_a_word_and_what_is_refused_stays() -> None:
    many = [finding(Status.OK, message=f"{number} {'x' * 1000}") for number in range(100)]
    report = hand_over("preflight", [{"findings": [*many, REFUSED]}])["report"]
    assert len(json.dumps(report)) < REPORT_BYTES
    assert report["findings"][0] == REFUSED
    left = 101 - len(report["findings"])
    assert 30 < left < 60
    assert report["cut"] == f"{left} of 101 findings are left out: the job's own output has them."
    assert report["summary"] == "100 fine, 1 refused"
    again = handed(hand_over("preflight", [{"findings": [*many, REFUSED]}]))["report"]
    assert (again["summary"], again["cut"]) == (report["summary"], report["cut"])


@pytest.mark.parametrize(
    ("play", "result", "is_good"),
    [
        ("verify", {"findings": [FINE]}, True),
        ("verify", {"findings": [KNOWN]}, True),
        ("verify", {"findings": [UNTOLD]}, False),
        ("verify", {}, False),
        ("deploy", {"findings": [FINE]}, False),
    ],
)
def test_a_workflow_is_good_when_its_last_play_is(play: str, result: dict[str, Any], is_good: bool) -> None:
    """What is here where a job was killed is from the job before, and no proof of anything."""
    assert handed(hand_over(play, [result]))["is_good"] is is_good


GOOD = hand_over("verify", [{"findings": [FINE]}])


def test_a_verdict_that_its_findings_do_not_bear_out_is_none() -> None:
    assert not handed({**GOOD, "report": hand_over("verify", [{"findings": [UNTOLD]}])["report"]})["is_good"]


def test_what_goes_through_awx_comes_back(tmp_path: Path) -> None:
    """AWX writes artifacts with !unsafe, which ansible-core 2.19 and newer reads as YAML without quotes: "" as null."""
    plain = Finding("a", Status.OK, "12", "is so.", "", ("", "7", "2026-11-27")).as_result()
    given = hand_over("verify", [{"findings": [plain, KNOWN], "reading": READING}])
    (tmp_path / "extravars").write_text(dumped({"portal_stt": given}))
    read = DataLoader().load_from_file(str(tmp_path / "extravars"))["portal_stt"]
    assert read["digest"] is None  # else this shows nothing
    assert handed(read) == {**given, "is_good": True}


def seat(**values: object) -> dict[str, object]:
    return {"name": "a/b", "card": "", "mib": 1, "peak_mib": None, **values}


HOSTILE = "s\x1b[2J\x1b]0;owned\x07"
SEEN = "s\\x1b[2J\\x1b]0;owned\\x07"


def test_what_is_handed_over_moves_no_cursor() -> None:
    found = {
        "check": f"{HOSTILE}\na", "status": "ok", "subject": f"{HOSTILE}\nok: [lab]", "message": "m\u202eevil\nok",
        "remedy": HOSTILE, "evidence": [HOSTILE, "1\r\n2", None], HOSTILE: "unknown",
    }  # fmt: skip
    assert handed(
        {
            "play": "verify", "verdict": "ok", "digest": HOSTILE, "seats": [seat(name=HOSTILE, card=f"{HOSTILE}\n")],
            "report": {"findings": [found], "summary": f"{HOSTILE}\nok: [lab]", "cut": HOSTILE}, HOSTILE: "unknown",
        }
    ) == {
        "play": "verify",
        "verdict": "ok",
        "digest": "",
        "seats": [seat(name=SEEN, card=SEEN)],
        "report": {
            "findings": [
                {
                    "check": f"{SEEN} a",
                    "status": "ok",
                    "subject": f"{SEEN} ok: [lab]",
                    "message": "m\\u202eevil\nok",
                    "remedy": SEEN,
                    "evidence": [SEEN, "1\\r\n2", ""],
                }
            ],
            "summary": f"{SEEN} ok: [lab]",
            "cut": SEEN,
        },
        "is_good": True,
    }  # fmt: skip


def test_what_is_handed_over_is_bounded() -> None:
    """Also where each character becomes six."""
    many = [*[seat(name="\u202e" * 300, card="\u202e" * 300)] * 4, *[seat()] * 60]
    found = [finding(Status.OK, message="\u202e" * 4001) for _ in range(3)]
    given = handed({**GOOD, "digest": "d" * 1000, "seats": many, "report": {"findings": found, "summary": "x" * 5000}})
    assert given["digest"] == ""
    assert {len(one[of]) for one in given["seats"][:4] for of in ("name", "card")} == {253}
    assert {len(one["message"]) for one in given["report"]["findings"]} == {6 * 3999 + 1}
    assert len(given["seats"]) == 50
    assert len(given["report"]["summary"]) == 300
    assert len(json.dumps(given)) < 2 * REPORT_BYTES


@pytest.mark.parametrize(
    "given",
    [
        {},
        "{{ lookup('pipe', 'id') }}",
        [GOOD],
        {**GOOD, "play": "../verify"},
        {**GOOD, "verdict": "splendid"},
        {**GOOD, "report": "fine"},
        {**GOOD, "seats": 3},
        {**GOOD, "seats": [{"name": "a/b", "card": "", "mib": "all", "peak_mib": None}]},
        {**GOOD, "seats": [{"name": "a/b", "card": "", "mib": float("inf"), "peak_mib": None}]},
        *({**GOOD, "seats": [seat(mib=figure)]} for figure in (-5, 10**9 + 1, 10**400, float("nan"))),
        *({**GOOD, "seats": [seat(peak_mib=figure)]} for figure in (-1, 10**400)),
        {**GOOD, "report": {"findings": [{"check": "a"}]}},
        {**GOOD, "report": {"findings": [finding(Status.OK, message="x" * 1_000_000)]}},
    ],
)
def test_what_is_handed_over_is_not_believed(given: object) -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"^portal_stt: is not what a play of this collection hands over\. Run"
    ):
        handed(given)


def test_the_last_five_are_kept_as_data_and_as_pages() -> None:
    hostile = finding(Status.OK, message="<script>alert(1)</script>")
    given = hand_over("verify", [{"findings": [hostile]}])
    kept: dict[str, str] = {"notes.txt": "mine", "20260101T000000Z-x": "not one of ours"}
    for day in range(10, 17):
        kept = kept_reports(handed(given), kept, f"202611{day}T014106Z", "homelab")
    assert list(kept) == [f"202611{day}T014106Z-verify.{kind}" for day in range(12, 17) for kind in ("html", "json")]
    assert json.loads(kept["20261116T014106Z-verify.json"]) == given
    page = kept["20261116T014106Z-verify.html"]
    assert page.startswith("<!DOCTYPE html>")
    assert "homelab" in page
    assert "<script>" not in page


def test_what_is_kept_fits_into_a_configmap() -> None:
    given = hand_over("verify", [{"findings": [finding(Status.OK, message=f"{one} {'<' * 900}") for one in range(60)]}])
    kept: dict[str, str] = {}
    for day in range(10, 17):
        kept = kept_reports(handed(given), kept, f"202611{day}T014106Z")
    assert sum(map(len, kept.values())) < 1_000_000
    assert "20261116T014106Z-verify.html" in kept
    assert 2 < len(kept) < 10


def deployment(reason: str = "ReplicaSetUpdated", status: str = "True", seen: int = 2) -> dict[str, Any]:
    condition = {"type": "Progressing", "status": status, "reason": reason}
    return {
        "metadata": {"name": "portal-stt", "generation": 2},
        "spec": {"selector": {"matchLabels": {"app": "portal-stt"}}},
        "status": {"observedGeneration": seen, "conditions": [condition]},
    }


def pod(name: str = "portal-stt-1", app: str = "portal-stt", phase: str = "Pending", **more: Any) -> dict[str, Any]:
    conditions = [{"type": kind, "status": value} for kind, value in more.pop("conditions", {}).items()]
    metadata = {"name": name, "labels": {"app": app, "pod-template-hash": "x"}, **more.pop("metadata", {})}
    containers = [more] if more else []
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions, "containerStatuses": containers}}


JOB = {"metadata": {"name": "portal-stt-seed-0123456789"}, "status": {"active": 1}}
ROLLING = "Deployment portal-stt is rolled out: portal-stt-1 is starting"


@pytest.mark.parametrize(
    ("deployments", "pods", "jobs", "said"),
    [
        pytest.param([], [], [], [], id="nothing there"),
        pytest.param([], [], [JOB], ["Job portal-stt-seed-0123456789 puts models on the volume"], id="seed"),
        pytest.param([], [], [{**JOB, "status": {"succeeded": 1}}], [], id="seeded"),
        pytest.param([deployment()], [pod()], [], [ROLLING], id="no container yet"),
        pytest.param([deployment()], [pod(state={"waiting": {"reason": "ContainerCreating"}})], [], [ROLLING],
                     id="being made"),
        pytest.param([deployment()], [pod(phase="Running", state={"running": {}})], [], [ROLLING], id="loads"),
        pytest.param([deployment("NewReplicaSetAvailable", seen=1)], [pod()], [], [ROLLING], id="just declared"),
        pytest.param([deployment()], [pod(phase="Running", conditions={"Ready": "True"})], [], [], id="ready"),
        pytest.param([deployment("NewReplicaSetAvailable")], [pod()], [], [], id="complete, a pod comes back"),
        pytest.param([deployment("ProgressDeadlineExceeded", "False")], [pod()], [], [], id="out of time"),
        pytest.param([deployment()], [pod(conditions={"PodScheduled": "False"})], [], [], id="fits nowhere"),
        pytest.param([deployment()], [pod(state={"waiting": {"reason": "ImagePullBackOff"}})], [], [], id="no image"),
        pytest.param([deployment()], [pod(phase="Running", restartCount=1, state={"running": {}})], [], [],
                     id="crashed once"),
        pytest.param([deployment()], [pod(metadata={"deletionTimestamp": "now"})], [], [], id="goes away"),
        pytest.param([deployment()], [pod(app="other")], [], [], id="somebody else's"),
    ],
)  # fmt: skip
def test_whether_a_deploy_is_at_work(deployments: list[Any], pods: list[Any], jobs: list[Any], said: list[str]) -> None:
    assert underway(deployments, pods, jobs) == said
