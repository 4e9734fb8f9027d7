"""What a page, a Prometheus or an inventory may say that is meant to hurt."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu import places, sources
from ansible_collections.portal.stt.plugins.module_utils._gpu.memory import Names
from ansible_collections.portal.stt.plugins.module_utils._gpu.samples import SourceError, answer
from ansible_collections.portal.stt.plugins.modules.gpu_memory_check import ARGUMENTS as CHECK
from ansible_collections.portal.stt.plugins.modules.gpu_memory_check import run as check
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.servers import answering, certificate, dripping, serving, silent

from .test_memory import HEAD, MIB, fb, matrix, of_page, process, seats, vector
from .test_memory_sources import NOW, SEAT, answered, lines, looked

SEATS = "gpu_pod_memory_used_bytes"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("1e308", False), ("+Inf", False), ("-Inf", False), ("-1", False), ("NaN", False), ("1e400", False),
        ("9223372036854775794", False), ("17592186044415", True), ("17592186044416", False), ("0", True),
    ],
)  # fmt: skip
def test_amounts_that_are_none(value: str, kept: bool) -> None:
    labels = {key: text for key, text in SEAT.items() if key != "__name__"}
    inner = ",".join(f'{key}="{text}"' for key, text in labels.items())
    reading = of_page(f"{HEAD}{SEATS}{{{inner}}} {value}\n" + process("a/a", 5, "1"))
    assert set(seats(reading)) == ({"immich/ml", "a/a"} if kept else {"a/a"})
    assert ("no amount" in {doubt.kind for doubt in reading.doubts}) is not kept


@pytest.mark.parametrize("at", ["1e308", "-1", "1e400", "Infinity", "9" * 400, "null", '"x"', "[]"])
@pytest.mark.parametrize("value", ['"1"', "9" * 400, "null", "[]"])
def test_points_that_are_none(at: str, value: str) -> None:
    body = (
        '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"x"},"value":['
        + at
        + ","
        + value
        + "]}]}}"
    )
    with pytest.raises(SourceError, match="something that is no sample"):
        answer(body.encode(), "p")


def test_a_name_from_outside_does_not_get_into_a_query() -> None:
    evil = f'x"}} or vector(1) or {{a="_{SEATS}'
    found = answer(vector(({**SEAT, "__name__": evil}, 5), (SEAT, 7)), "p", Names().wanted)
    assert [one.name for one in found.series] == [SEATS]


@pytest.mark.parametrize(
    ("given", "subject"),
    [
        ({"metrics": {"seats": ['x"} or vector(1)']}}, "option metrics.seats"),
        ({"metrics": {"used": ["a.b"]}}, "option metrics.used"),
        ({"labels": {"namespace": ["a) (x"]}}, "option labels.namespace"),
        ({"prometheus": {"url": "http://user:geheim@127.0.0.1"}}, "option prometheus.url"),
        ({"prometheus": {"url": "http://[::1"}}, "option prometheus.url"),
        ({"prometheus": {"url": "http://127.0.0.1:99999"}}, "option prometheus.url"),
        ({"prometheus": {"url": "http://127.0.0.1/?q=1"}}, "option prometheus.url"),
        ({"prometheus": {"url": "http://127.0.0.1", "path": "/a/../../secrets"}}, "option prometheus.path"),
        ({"prometheus": {"url": "http://127.0.0.1", "path": "/a b"}}, "option prometheus.path"),
        ({"prometheus": {"service": "a/b:80/../../../secrets"}}, "option prometheus.service"),
        ({"prometheus": {"url": "http://127.0.0.1", "tenant": "a\r\nX: y"}}, "option prometheus"),
    ],
)
def test_options_that_would_reach_elsewhere(given: dict[str, Any], subject: str) -> None:
    result = looked(metrics={}, labels={}) if not given else looked(**given)
    assert (result["failed"], result["findings"][0]["subject"]) == (True, subject)
    assert "geheim" not in json.dumps(result)


def test_ten_thousand_tenants() -> None:
    text = HEAD + "".join(process(f"team-{one}/app", 1, str(one)) for one in range(10_000))
    reading = of_page(text + fb("USED", 12000) + fb("FREE", 2913))
    params = {name: option.get("default") for name, option in CHECK["argument_spec"].items()}
    result = attempt(check, {**params, "reading": reading.as_result(), "ours_mib": 1500}, check_mode=False)
    (finding,) = result["findings"]
    assert "9988 more: 9988 MiB now, 9988 at their peaks" in finding["evidence"]
    assert len(finding["evidence"]) == 16
    assert result["budgets"][0]["left"] == 1413


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e"


def test_text_from_outside_controls_no_terminal(httpserver: HTTPServer) -> None:
    """Labels, warnings, an error's words: all of it is shown escaped."""
    series = {**SEAT, "namespace": "unknown", "process_name": HOSTILE}

    def said(request: Request) -> Response:
        if request.args["query"].startswith("{"):
            return answered("matrix", {"metric": series, "values": [[NOW, str(MIB)]]}, warnings=[HOSTILE])
        return Response(json.dumps({"status": "error", "errorType": HOSTILE, "error": HOSTILE}), 422)

    httpserver.expect_request("/api/v1/query").respond_with_handler(said)
    result = looked(prometheus={"url": httpserver.url_for("").rstrip("/")})
    assert not {"\x1b", "\x07", "\u202e"} & set("".join(lines(result)))
    assert "refuses the query" in lines(result)[0]


# ---- answers without an end


@pytest.fixture
def asked() -> Callable[..., str]:
    """What is said of a Prometheus at a port, with a second of patience."""

    def ask(port: int, **given: Any) -> str:
        result = looked(prometheus={"url": f"http://127.0.0.1:{port}", **given}, timeout=1)
        (finding,) = result["findings"]
        assert (finding["status"], result.get("failed", False)) == ("warning", False)
        return str(finding["message"])

    return ask


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def endless(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(HEADERS + b"\r\n")
    while not over.is_set():
        connection.sendall(b" " * (1 << 20))


def test_gigabytes(asked: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ANSWER_BYTES", 4 << 20)
    with serving(endless) as port:
        assert asked(port) == "its answer is larger than 4 MiB."


def test_a_small_answer_that_unpacks_to_gigabytes(asked: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ANSWER_BYTES", 4 << 20)
    bomb = gzip.compress(b" " * (64 << 20))
    head = HEADERS + b"Content-Encoding: gzip\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(bomb)

    def behave(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(head + bomb)

    with serving(behave) as port:
        assert asked(port) == "its answer is larger than 4 MiB."


def test_one_that_says_nothing(asked: Callable[..., str]) -> None:
    with serving(silent) as port:
        assert "within 1 s" in asked(port) or "for 1 s" in asked(port)


def test_one_that_says_a_byte_now_and_then(asked: Callable[..., str]) -> None:
    with serving(dripping(HEADERS + b"Content-Length: 1000000\r\n\r\n")) as port:
        assert asked(port) == "it has not answered within 1 s."


@pytest.mark.parametrize("depth", [100_000])
def test_brackets_without_an_end(asked: Callable[..., str], depth: int) -> None:
    with serving(answering(200, b"[" * depth)) as port:
        assert asked(port) == "its answer is not JSON."


def test_a_redirect_gets_no_token(httpserver: HTTPServer, asked: Callable[..., str]) -> None:
    with serving(answering(200, b"{}")) as port:
        elsewhere = Response("", 302, {"Location": f"http://127.0.0.1:{port}/"})
        httpserver.expect_request("/api/v1/query").respond_with_response(elsewhere)
        assert asked(httpserver.port, token="geheim") == "it sends requests elsewhere (HTTP status 302)."


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    tls, _ = certificate(tmp_path)
    (tmp_path / "ca.pem").write_text("nothing")
    with serving(answering(200, b"{}"), tls) as port:
        for file, said in (
            ("ca.pem", "ca_cert cannot be used: "),
            ("none.pem", "ca_cert cannot be used: No such file"),
        ):
            result = looked(prometheus={"url": f"https://127.0.0.1:{port}", "ca_cert": str(tmp_path / file)})
            assert result["findings"][0]["message"].startswith(said)
            assert result["findings"][0]["status"] == "warning"


def test_a_proxy_of_the_environment_is_taken(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by the other ways out of the cluster."""
    httpserver.expect_request("/api/v1/query").respond_with_response(Response("{}", 200))
    monkeypatch.setenv("http_proxy", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("no_proxy", "")
    looked(prometheus={"url": "http://metrics.invalid:9090"})
    assert [request.headers["Host"] for request, _ in httpserver.log] == ["metrics.invalid:9090"]


# ---- series that are there twice


def peaks(*labels: dict[str, str]) -> list[str]:
    """What is asked where these series are there now."""
    queries: list[str] = []

    def ask(path: str, query: Any) -> bytes:
        queries.append(query["query"])
        given: list[tuple[dict[str, str], list[tuple[float, object]]]] = [
            ({**SEAT, **one}, [(NOW, MIB)]) for one in labels
        ]
        return matrix(*given) if len(queries) == 1 else vector(({"of": "now"}, 1))

    sources.prometheus(ask, Names(), "p", "7d")
    return queries


EACH = f"sum by (namespace, container) (max by (namespace, container, pod, pid) ({SEATS}))"


@pytest.mark.parametrize(
    ("labels", "grouped"),
    [
        pytest.param([{}, {"pid": "2"}], f"sum by (namespace, container) ({SEATS})", id="two processes"),
        pytest.param([{}, {"job": "other"}], EACH, id="two jobs"),
        pytest.param([{"replica": "a"}, {"replica": "b"}], EACH, id="two Prometheus behind one door"),
    ],
)
def test_who_is_there_twice_counts_once(labels: list[dict[str, str]], grouped: str) -> None:
    assert peaks(*labels)[1].startswith(f"max_over_time(({grouped})[7d:")


def test_peaks_that_are_no_amounts_are_told() -> None:
    def ask(path: str, query: Any) -> bytes:
        if query["query"].startswith("{"):
            return matrix((SEAT, [(NOW, MIB)]))
        return vector(({"namespace": "immich", "container": "ml"}, 1e30), ({}, 900 * MIB), ({"of": "now"}, 1))

    reading, _ = sources.prometheus(ask, Names(), "p", "7d")
    assert [(seat.now, seat.peak) for seat in reading.seats] == [(1, 1)]
    assert [doubt.kind for doubt in reading.doubts if doubt.about == "seats"] == ["no amount", "nobody before"]


# ---- what is found by its name


def service(namespace: str, name: str, port: int = 9090) -> dict[str, Any]:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"ports": [{"port": port}]}}


def served(httpserver: HTTPServer, *services: dict[str, Any], **pages: Any) -> list[str]:
    """The paths that are asked for of an API server with these Services, all of whose sources know nothing."""
    listed = {"kind": "ServiceList", "metadata": pages, "items": list(services)}
    httpserver.expect_request("/api/v1/services").respond_with_json(listed)
    found = looked(host=httpserver.url_for("").rstrip("/"), api_key="x")
    assert [one["status"] for one in found["findings"]] == ["warning"]
    return [request.path for request, _ in httpserver.log]


def test_a_big_cluster_is_looked_through_within_limits(httpserver: HTTPServer) -> None:
    """However many Services there are: two requests, of 2500 each."""
    assert served(httpserver, **{"continue": "more"}) == ["/api/v1/services"] * 2
    assert [request.args.get("limit") for request, _ in httpserver.log] == ["2500"] * 2


def test_one_that_knows_nothing_of_gpus_is_not_the_last(httpserver: HTTPServer) -> None:
    empty = answered("matrix")
    for place in ("monitoring/services/prometheus-k8s", "istio-system/services/prometheus", "x/services/prometheus"):
        httpserver.expect_request(f"/api/v1/namespaces/{place}:9090/proxy/api/v1/query").respond_with_response(empty)
    services = [
        service("istio-system", "prometheus"),
        service("monitoring", "prometheus-k8s"),
        service("x", "prometheus"),
    ]
    asked = served(httpserver, *services)
    assert len(asked) == 3  # the list and two of three, a request each


def test_none_asks_nothing_and_says_nothing(httpserver: HTTPServer) -> None:
    result = looked(source="none", host=httpserver.url_for("").rstrip("/"))
    assert (result["findings"], result["reading"]["source"], httpserver.log) == ([], "", [])
