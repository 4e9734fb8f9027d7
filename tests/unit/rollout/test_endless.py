"""An API server, or what stands in its place, that gives no sense: k8s_job and k8s_rollout end in their time, in words.

It is a stand-in on this machine; the modules talk to it over HTTP as to a real one.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.modules import k8s_job, k8s_rollout
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.modules import run_module

SECONDS = 1
GRACE = 4
"""How much later than its time a module may end: requests that are under way, pauses, a loaded machine."""
JOBS = "/apis/batch/v1/namespaces/n/jobs"
METADATA: dict[str, Any] = {
    "name": "seed-1",
    "namespace": "n",
    "uid": "u",
    "labels": {"part-of": "stt"},
    "managedFields": [{"manager": "portal-stt", "operation": "Apply"}],
}
MANIFEST: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "seed-1", "namespace": "n", "labels": {"part-of": "stt"}},
    "spec": {"template": {"spec": {}}},
}
Answer = Callable[[Request], Response]


def always(body: object, status: int = 200) -> Answer:
    text = body if isinstance(body, str) else json.dumps(body)
    return lambda _: Response(text, status)


def status(code: int) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "code": code}


def job(**content: Any) -> dict[str, Any]:
    made = {"creationTimestamp": "2026-11-24T05:00:00Z", "resourceVersion": "1"}
    return {**MANIFEST, "metadata": METADATA | made, "status": {}, **content}


def keeping(one: dict[str, Any], *, gone: bool = False) -> Answer:
    """A server on which this Job is and stays; gone: but for the Job, which is deleted as soon as it is made."""

    def answer(request: Request) -> Response:
        if request.args.get("watch"):
            time.sleep(0.2)
            return Response("")
        if request.method == "GET" and request.path == f"{JOBS}/seed-1":
            return Response(json.dumps(status(404)), 404) if gone else Response(json.dumps(one))
        if request.method == "GET":
            items = [one] if request.path == JOBS and not gone else []
            return Response(json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": items}))
        return Response(json.dumps(one))

    return answer


DONE = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-11-24T05:00:00Z"}
SENSELESS: dict[str, Answer] = {
    "html": always("<!doctype html><html>Sign in</html>"),
    "text": always("ok"),
    "a-number": always("3"),
    "a-list": always([]),
    "a-status-with-200": always(status(404)),
    "no-kind": always({"metadata": METADATA}),
    "another-kind": always({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": METADATA, "spec": {}}),
    "another-name": always(job(metadata=METADATA | {"name": "seed-2"})),
    "patience": always(status(429), 429),
    "unavailable": always(status(503), 503),
    "a-page-with-503": always("<html>", 503),
    "gone": always(status(410), 410),
    "elsewhere": always("", 302),
    "made-and-gone": keeping(job(), gone=True),
    "nothing-happens": keeping(job()),
    **{
        f"status-{name}": keeping(job(status=one))
        for name, one in {
            "conditions-text": {"conditions": "Complete"},
            "conditions-map": {"conditions": {"type": "Complete"}},
            "conditions-nulls": {"conditions": [None, 3, "x", []]},
            "condition-empty": {"conditions": [{}]},
            "condition-types": {"conditions": [{"type": [], "status": {}, "lastTransitionTime": 3}]},
            "no-time": {"conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": None}]},
            "no-such-time": {"conditions": [DONE | {"lastTransitionTime": "yesterday"}]},
            "time-without-zone": {"conditions": [DONE | {"lastTransitionTime": "2026-11-24T05:00:00"}]},
            "time-number": {"conditions": [DONE | {"lastTransitionTime": 1e400}]},
            "active-text": {"active": "many", "failed": [], "succeeded": {}},
        }.items()
    },
    "labels-null": keeping(job(metadata=METADATA | {"labels": None, "annotations": None})),
    "spec-null": keeping(job(spec=None)),
}


def asked(module: ModuleType, host: str, **options: Any) -> dict[str, Any]:
    return run_module(module, host=host, api_key="none", timeout=SECONDS, **options)


MODULES: dict[str, Callable[[str], dict[str, Any]]] = {
    "job": lambda host: asked(k8s_job, host, definition=MANIFEST),
    "job-again": lambda host: asked(k8s_job, host, definition=MANIFEST, again=True, sweep={"part-of": "stt"}),
    "job-planned": lambda host: asked(
        k8s_job, host, definition=MANIFEST, sweep={"part-of": "stt"}, _ansible_check_mode=True
    ),
    "rollout-of-a-job": lambda host: asked(k8s_rollout, host, namespace="n", job="seed-1"),
    "rollout": lambda host: asked(k8s_rollout, host, namespace="n", name="seed-1"),
}


FEW = ("another-kind", "html", "nothing-happens", "patience", "status-no-such-time")


@pytest.mark.parametrize(
    ("what", "module"),
    [(what, module) for module in MODULES for what in sorted(SENSELESS) if module == "job" or what in FEW],
)
def test_it_ends_in_its_time_and_says_why(httpserver: HTTPServer, what: str, module: str) -> None:
    httpserver.expect_request(re.compile(".*")).respond_with_handler(SENSELESS[what])
    start = time.monotonic()
    result = MODULES[module](httpserver.url_for("").rstrip("/"))
    took = time.monotonic() - start
    assert took < SECONDS + GRACE, result
    if not result.get("failed"):
        assert result["status"] in ("planned", "complete")
    else:
        assert result["msg"]
        assert "kubeconfig" not in result["msg"]
        assert "Traceback" not in result["msg"]
        assert result["findings"][-1]["status"] == "refused"
