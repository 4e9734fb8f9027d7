"""The ways to a source, and what Prometheus is asked: a server that answers as Prometheus or as an API server does."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.modules.gpu_memory_info import ARGUMENTS, run
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from .test_memory import CARD, HEAD, MIB, UUID, process

NOW = 1_800_000_000.0
API = "/api/v1/namespaces/monitoring/services/prometheus-server:80/proxy"
SEAT = {"__name__": "gpu_pod_memory_used_bytes", "namespace": "immich", "container": "ml", "pod": "ml-1", "pid": "1",
        "job": "gpu-pod-memory"}  # fmt: skip


def answered(kind: str, *result: dict[str, Any], **more: Any) -> Response:
    said = {"status": "success", "data": {"resultType": kind, "result": list(result)}, **more}
    return Response(json.dumps(said), content_type="application/json")


def asked(**given: Any) -> dict[str, Any]:
    spec = ARGUMENTS["argument_spec"]
    place = {"scheme": "http"}
    params = {name: option.get("default") for name, option in spec.items()}
    return {**params, **{key: {**place, **one} if isinstance(one, dict) else one for key, one in given.items()}}


def looked(**given: Any) -> dict[str, Any]:
    return attempt(run, asked(**given), check_mode=False)


def lines(result: dict[str, Any]) -> list[str]:
    return [f"{one['status']} {one['subject']}: {one['message']}" for one in result["findings"]]


@pytest.fixture
def queries() -> list[str]:
    return []


@pytest.fixture
def prometheus(httpserver: HTTPServer, queries: list[str]) -> Callable[[str], str]:
    """A Prometheus below a path; what it is asked is kept."""

    def serve(root: str) -> str:
        def query(request: Request) -> Response:
            wanted = request.args["query"]
            queries.append(wanted)
            if request.path.endswith("query_range"):
                points = [[NOW - 60, str(2150 * MIB)], [NOW, str(12044 * MIB)]]
                return answered("matrix", {"metric": {"namespace": "immich", "container": "ml"}, "values": points})
            if wanted.startswith("{"):
                points = [[NOW - age, str(2150 * MIB)] for age in (130, 10)]
                return answered("matrix", {"metric": SEAT, "values": points})
            peak = {"metric": {"namespace": "immich", "container": "ml"}, "value": [NOW, str(10700 * MIB)]}
            all_of_them = {"metric": {"of": "all"}, "value": [NOW, str(11000 * MIB)]}
            return answered("vector", peak, all_of_them, {"metric": {"of": "now"}, "value": [NOW, "1"]})

        for path in ("query", "query_range"):
            httpserver.expect_request(f"{root}/api/v1/{path}").respond_with_handler(query)
        return httpserver.url_for(root).rstrip("/")

    return serve


def test_prometheus_is_asked_three_times_at_most(prometheus: Callable[[str], str], queries: list[str]) -> None:
    url = prometheus("/prometheus")
    result = looked(prometheus={"url": url}, history=True)
    assert lines(result) == [f"ok {url}: 1 container has 2150 MiB of GPU memory."]
    assert [(one["now"], one["peak"]) for one in result["reading"]["seats"]] == [(2150, 10700)]
    assert (result["reading"]["step"], result["reading"]["peak_of_all"]) == (120, 11000)
    assert result["history"] == [{"name": "immich/ml", "points": [[NOW - 60, 2150], [NOW, 12044]]}]
    grouped = "sum by (namespace, container) (gpu_pod_memory_used_bytes)"
    assert queries[1:] == [
        f"max_over_time(({grouped})[7d:120s])"
        ' or label_replace(max_over_time((sum(gpu_pod_memory_used_bytes))[7d:120s]), "of", "all", "", "")'
        ' or label_replace(count(gpu_pod_memory_used_bytes), "of", "now", "", "")',
        f"max_over_time(({grouped})[605s:120s])",  # no peak is lost between two points
    ]


def test_through_the_api_server_with_its_credentials_and_not_ours(
    httpserver: HTTPServer, prometheus: Callable[[str], str]
) -> None:
    prometheus(API)
    cluster = {"host": httpserver.url_for("").rstrip("/"), "api_key": "of-the-cluster"}
    result = looked(prometheus={"service": "monitoring/prometheus-server:80", "tenant": "home"}, **cluster)
    assert lines(result) == ["ok Service monitoring/prometheus-server:80: 1 container has 2150 MiB of GPU memory."]
    request = httpserver.log[0][0]
    assert request.headers["Authorization"] == "Bearer of-the-cluster"
    assert request.headers["X-Scope-OrgID"] == "home"


def test_a_service_is_found_by_its_name(httpserver: HTTPServer, prometheus: Callable[[str], str]) -> None:
    prometheus(API)
    services = [
        {"metadata": {"namespace": "a", "name": "prometheus-node-exporter"}, "spec": {"ports": [{"port": 9090}]}},
        {"metadata": {"namespace": "monitoring", "name": "prometheus-server"}, "spec": {"ports": [{"port": 80}]}},
    ]
    httpserver.expect_request("/api/v1/services").respond_with_json(
        {"kind": "ServiceList", "metadata": {}, "items": services}
    )
    result = looked(host=httpserver.url_for("").rstrip("/"), api_key="x")
    assert lines(result) == ["ok Service monitoring/prometheus-server:80: 1 container has 2150 MiB of GPU memory."]


def test_nothing_that_is_found_is_told_and_stops_nothing(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/api/v1/services").respond_with_json({"kind": "List", "metadata": {}, "items": []})
    result = looked(host=httpserver.url_for("").rstrip("/"), api_key="x")
    assert not result.get("failed")
    assert lines(result) == [
        "warning GPU memory: who sits in it cannot be told: no Prometheus and no exporter is named, and none is found "
        "by its name."
    ]


def test_pages_tell_who_and_which_card(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/metrics").respond_with_data(HEAD + process("immich/ml", 5700, "1"))
    httpserver.expect_request("/dcgm").respond_with_data(CARD)
    url = httpserver.url_for("").rstrip("/")
    result = looked(exporter={"url": url}, dcgm={"url": f"{url}/dcgm"})
    reading = result["reading"]
    assert ([one["usable"] for one in reading["cards"]], [one["uuid"] for one in reading["cards"]]) == (
        [14913], [UUID.lower().removeprefix("gpu-")],
    )  # fmt: skip
    assert (reading["known"], [one["kind"] for one in reading["doubts"]]) == (True, ["no history"])


@pytest.mark.parametrize(
    ("response", "said"),
    [
        pytest.param(
            Response('{"status":"error","errorType":"bad_data","error":"parse error"}', 400),
            "it refuses the query (HTTP status 400, bad_data): parse error.", id="400",
        ),
        pytest.param(
            Response('{"status":"error","errorType":"execution","error":"many-to-many"}', 422),
            "it refuses the query (HTTP status 422, execution): many-to-many.", id="422",
        ),
        pytest.param(Response("404 page not found", 404), "it answers with HTTP status 404.", id="404"),
        pytest.param(Response("<html>login</html>", 200), "it answers with a page of HTML.", id="HTML"),
        pytest.param(
            Response("", 302, {"Location": "http://127.0.0.1:1/"}),
            "it sends requests elsewhere (HTTP status 302).", id="redirect",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("way", ["url", "service"])
def test_what_is_no_answer(httpserver: HTTPServer, way: str, response: Response, said: str) -> None:
    root = API if way == "service" else ""
    httpserver.expect_request(f"{root}/api/v1/query").respond_with_response(response)
    url = httpserver.url_for("").rstrip("/")
    place = {"url": url} if way == "url" else {"service": "monitoring/prometheus-server:80"}
    result = looked(prometheus=place, host=url, api_key="x")
    assert [one["message"] for one in result["findings"]] == [said]
    assert (result["findings"][0]["status"], result.get("failed", False)) == ("warning", False)


def test_a_token_goes_to_its_own_host_alone(httpserver: HTTPServer) -> None:
    elsewhere = Response("", 307, {"Location": httpserver.url_for("/other")})
    httpserver.expect_request("/api/v1/query").respond_with_response(elsewhere)
    result = looked(prometheus={"url": httpserver.url_for("").rstrip("/"), "token": "geheim"})
    assert [request.path for request, _ in httpserver.log] == ["/api/v1/query"]
    assert httpserver.log[0][0].headers["Authorization"] == "Bearer geheim"
    assert "geheim" not in json.dumps(result["findings"])


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"prometheus": {"service": "prometheus"}}, "option prometheus.service"),
        ({"prometheus": {"url": "ftp://x"}}, "option prometheus.url"),
        ({"exporter": {"url": "http://127.0.0.1", "token": "a b"}}, "option exporter"),
        ({"window": "7 days"}, "option window"),
    ],
)
def test_options_that_are_none(given: dict[str, Any], subject: str) -> None:
    result = looked(**given)
    assert (result["failed"], result["findings"][0]["subject"]) == (True, subject)
