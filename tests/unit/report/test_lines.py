"""What a person sees of the findings."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError, Finding, Status, fail
from ansible_collections.portal.stt.plugins.module_utils._report.lines import collect, render, verdict

FINE = Finding("image.digest", Status.OK, "registry/repo:1", "is sha256:aa.")
COVERED = Finding("nfs.covered", Status.WARNING, "/srv/a on pve", "is exported to everybody already.", "Narrow it.")
REFUSED = Finding(
    "cuda", Status.REFUSED, "node gpu-1", "driver 470 is too old.", "Take the other image.", ("cuda>=12.9",)
)


def test_render() -> None:
    assert [line.text for line in render("Preflight", [FINE, COVERED, REFUSED])] == [
        "Preflight",
        "---------",
        "√ image.digest  registry/repo:1: is sha256:aa.",
        "‼ nfs.covered   /srv/a on pve: is exported to everybody already.",
        "                → Narrow it.",
        "                  docs/checks.md#nfs-covered",
        "× cuda          node gpu-1: driver 470 is too old.",
        "                cuda>=12.9",
        "                → Take the other image.",
        "                  docs/checks.md#cuda",
        "1 fine, 1 to know, 1 refused",
    ]


def test_what_others_wrote_moves_no_cursor() -> None:
    error = CollectionError("pod \x1b[2J", "said \x07\u202egnp\nand \ud800.", "Look\r.", evidence=("a\tb", "ж é"))
    assert fail({}, error) == {
        "changed": False,
        "failed": True,
        "msg": "pod \\x1b[2J: said \\x07\\u202egnp\nand \\ud800.\n  a\\tb\n  ж é\nLook\\r.",
        "findings": [
            {
                "check": "run",
                "status": "refused",
                "subject": "pod \\x1b[2J",
                "message": "said \\x07\\u202egnp\nand \\ud800.",
                "remedy": "Look\\r.",
                "evidence": ["a\\tb", "ж é"],
            }
        ],
    }


def test_what_a_failure_says_forges_no_line_of_a_report() -> None:
    failure = {"failed": True, "msg": "boom \x1b[2J\nok: [lab]"}
    finding = Finding("a.check", Status.WARNING, "s\x1b]0;x\x07", "is so.", "Do\nthis.", ("one\ntwo", "\u202eevil"))
    assert [line.text for line in render("Verify", [*collect([failure]), finding])] == [
        "Verify",
        "------",
        "× run      a task: failed: boom \\x1b[2J\n           ok: [lab]",
        "           → See the task's own output above.",
        "             docs/checks.md#run",
        "‼ a.check  s\\x1b]0;x\\x07: is so.",
        "           one\n           two",
        "           \\u202eevil",
        "           → Do\n           this.",
        "             docs/checks.md#a-check",
        "1 to know, 1 refused",
    ]


@pytest.mark.parametrize(
    ("findings", "expected"),
    [
        ([FINE, COVERED], (False, "Preflight: 1 fine, 1 to know")),
        ([], (False, "Preflight: nothing was looked at")),
        (
            [FINE, REFUSED],
            (True, "Preflight: 1 fine, 1 refused, as reported above"),
        ),
        (
            [Finding("cuda", Status.UNKNOWN, "node gpu-2", "has no labels.")],
            (True, "Preflight: 1 cannot tell, as reported above"),
        ),
    ],
)
def test_verdict(findings: list[Finding], expected: tuple[bool, str]) -> None:
    assert verdict("Preflight", findings) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"findings": [FINE.as_result()]}, [FINE]),
        ({"findings": [FINE.as_result(), FINE.as_result()]}, [FINE]),
        ({"skipped": True, "findings": [FINE.as_result()]}, []),
        ({"changed": False}, []),
        ({"failed": False, "failed_when_result": False, "msg": "All is well."}, []),
        ({"results": [{"findings": [FINE.as_result()]}, {"findings": [COVERED.as_result()]}]}, [FINE, COVERED]),
        (
            {"unreachable": True, "msg": "Connection refused", "host": "pve"},
            [
                Finding(
                    "host.reachable",
                    Status.REFUSED,
                    "pve",
                    "Ansible cannot reach it: Connection refused",
                    "Check address, SSH user and key (ansible_host, ansible_user) with: ansible HOST -m ping",
                )
            ],
        ),
        (
            {"failed": False, "failed_when_suppressed_exception": "(traceback unavailable)", "msg": "boom"},
            [Finding("run", Status.REFUSED, "a task", "failed: boom", "See the task's own output above.")],
        ),
    ],
)
def test_collect(result: dict[str, Any], expected: list[Finding]) -> None:
    assert collect([result]) == expected


def test_error_in_words() -> None:
    error = CollectionError("pve", "disk is full.", "Free some space.", evidence=("0 B left", "1 GiB needed"))
    assert str(error) == "pve: disk is full.\n  0 B left\n  1 GiB needed\nFree some space."
    assert error.finding == Finding(
        "run", Status.REFUSED, "pve", "disk is full.", "Free some space.", ("0 B left", "1 GiB needed")
    )
