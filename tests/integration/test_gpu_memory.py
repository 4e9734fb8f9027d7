"""Who sits in a card's memory: asked of a real Prometheus in each way that there is, and told by the plays."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._gpu import places, sources
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.cluster import Cluster
from ansible_collections.portal.stt.plugins.modules.gpu_memory_info import ARGUMENTS, run
from werkzeug import Request, Response

from lab import api, card, prometheus, simulated
from lab.certificates import API as API_SERVER
from lab.certificates import PKI
from lab.hub import MODEL
from lab.network import HOST
from tests.conftest import ROOT, Played, play, until
from tests.servers import certificate, web

TENANTS = 40
STEP = 120
DAYS = 7
PAGE_PORT, PORT = 9402, 9092
NAMESPACE = "measured"
LINE = "Service measured/prometheus:80"


def process(tenant: int, mib: int, at: float | None = None) -> str:
    return card.seat(f"team-{tenant}/app", mib, at)


def past(now: float) -> str:
    """A week of all tenants: 100 MiB and its own number each, and one jump of tenant 7, for one interval."""
    start, jump = int(now) - DAYS * 86400 + 600, int(now) - 86400
    lines = ["# TYPE gpu_pod_memory_used_bytes gauge\n"]
    for tenant in range(TENANTS):
        for at in range(start, int(now) - 900, STEP):
            high = tenant == 7 and jump <= at < jump + STEP
            lines.append(process(tenant, 6000 if high else 100 + tenant, at))
    return "".join(lines) + "# EOF\n"


@dataclass(frozen=True)
class Page:
    """What the exporter shows."""

    file: Path

    def show(self, text: str) -> None:
        self.file.write_text(text)


@contextmanager
def measured(folder: Path, text: str, before: str, page_port: int, port: int) -> Iterator[tuple[Page, str]]:
    """A page, and a Prometheus that scrapes it and remembers."""
    shown = Page(folder / "page")
    shown.show(text)
    with card.serve(HOST, page_port, shown.file) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with prometheus.running(folder, f"{HOST}:{page_port}", port, past=before) as address:
            several = "min(count_over_time(gpu_pod_memory_used_bytes[1m]))"
            until(lambda: scraped(address, several) >= 3, 60, (folder / "log").read_text)
            yield shown, address
        server.shutdown()


def scraped(address: str, query: str = "count(gpu_pod_memory_used_bytes)") -> int:
    try:
        answer = requests.get(f"{address}/api/v1/query", {"query": query}, timeout=5).json()
    except (requests.RequestException, ValueError):
        return -1
    return int(answer["data"]["result"][0]["value"][1]) if answer["data"]["result"] else 0


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str]]:
    """A Prometheus with a week of 40 tenants, which stands behind a Service, too."""
    everyone = "".join(process(tenant, 100 + tenant) for tenant in range(TENANTS))
    with measured(tmp_path_factory.mktemp("week"), everyone, past(time.time()), PAGE_PORT, PORT) as (page, address):
        prometheus.expose(NAMESPACE, "prometheus", 80, PORT)
        yield page, address


@pytest.fixture
def page(week: tuple[Page, str]) -> Page:
    return week[0]


@pytest.fixture
def url(week: tuple[Page, str]) -> str:
    return week[1]


@pytest.fixture(scope="module", autouse=True)
def node() -> Iterator[None]:
    simulated.replace(ROOT / "lab" / "nodes" / "t4.yml")
    yield
    simulated.replace(None)


def looked(**given: Any) -> dict[str, Any]:
    params = {name: option.get("default") for name, option in ARGUMENTS["argument_spec"].items()}
    params["timeout"] = 120  # other tests may run beside
    params |= {"kubeconfig": os.environ["K8S_AUTH_KUBECONFIG"]} if "host" not in given else {}
    sources_given = {name: {"scheme": "http", **one} for name, one in given.items() if isinstance(one, dict)}
    return attempt(run, {**params, **given, **sources_given}, check_mode=False)


def told(result: dict[str, Any]) -> list[str]:
    return [f"{one['status']} {one['subject']}: {one['message']}" for one in result["findings"]]


def test_a_week_of_forty_tenants(url: str) -> None:
    result = looked(prometheus={"url": url}, history=True)
    reading = result["reading"]
    assert (reading["known"], len(reading["seats"]), reading["step"]) == (True, TENANTS, 1)
    peaks = {seat["namespace"]: (seat["now"], seat["peak"]) for seat in reading["seats"]}
    assert peaks["team-0"] == (100, 100)
    assert peaks["team-7"] == (107, 6000)
    assert len(result["history"]) == TENANTS
    jump = next(one["points"] for one in result["history"] if one["name"] == "team-7/app")
    assert max(mib for _, mib in jump) == 6000  # one interval among a week's, and not lost between two points
    assert [one["status"] for one in result["findings"]] == ["ok"]


def test_it_is_asked_three_times(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = places.way

    def counted(*args: Any) -> places.Ask:
        ask = real(*args)

        def count(path: str, query: Mapping[str, str]) -> bytes:
            asked.append(path)
            return ask(path, query)

        return count

    monkeypatch.setattr(sources, "way", counted)
    looked(prometheus={"url": url}, history=True)
    assert asked == ["/api/v1/query", "/api/v1/query", "/api/v1/query_range"]


def test_what_is_no_api(url: str) -> None:
    result = looked(prometheus={"url": url, "path": "/nowhere"})
    assert [one["message"] for one in result["findings"]] == ["it answers with HTTP status 404."]


def test_what_prometheus_refuses_is_told_in_its_words(url: str) -> None:
    result = looked(prometheus={"url": url}, window="99999w")
    assert result["findings"][0]["message"].startswith("it refuses the query (HTTP status 4")


def test_a_page_that_becomes_empty_is_blind_and_not_idle(url: str, page: Page) -> None:
    before = page.file.read_text()
    page.show("# TYPE gpu_pod_memory_used_bytes gauge\n")
    try:
        until(lambda: scraped(url) == 0, 60, lambda: scraped(url))
        reading = looked(prometheus={"url": url})["reading"]
        assert (reading["known"], [doubt["kind"] for doubt in reading["doubts"]]) == (False, ["ended"])
    finally:
        page.show(before)
        until(lambda: scraped(url) == TENANTS, 60, lambda: scraped(url))


# ---- the ways

FORTY = "40 containers have 4780 MiB of GPU memory."


def answers_for_service() -> bool:
    """Whether the API server's proxy has learnt of it."""
    path = f"/api/v1/namespaces/{NAMESPACE}/services/prometheus:80/proxy/api/v1/query"
    said = api.call("GET", path, accept=(404, 503), query="up")
    return bool(isinstance(said, dict) and said["status"] == "success")


def test_through_the_api_servers_proxy(url: str) -> None:
    until(answers_for_service, 30, every=0.2)
    result = looked(prometheus={"service": f"{NAMESPACE}/prometheus:80"}, history=True)
    assert told(result) == [f"ok {LINE}: {FORTY}"]
    assert len(result["history"]) == TENANTS


@pytest.fixture
def guarded(url: str, tmp_path: Path) -> Iterator[tuple[Path, list[Request]]]:
    """A door before that Prometheus, as monitoring stacks have one: TLS, and nobody comes in without the token."""
    seen: list[Request] = []

    def door(request: Request) -> Response:
        seen.append(request)
        if request.headers.get("Authorization") != "Bearer geheim":
            return Response("Unauthorized", 401)
        answer = requests.get(f"{url}{request.path}", dict(request.args), timeout=30)
        return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

    tls, authority = certificate(tmp_path, f"guarded.{NAMESPACE}.svc")
    with web(door, host=HOST, port=9091, tls=tls):
        yield authority, seen


@pytest.fixture
def service(guarded: tuple[Path, list[Request]]) -> Iterator[str]:
    """A Service with a pod behind it, for which a port-forward to 9091 comes out at that door (lab/stages)."""
    core = f"/api/v1/namespaces/{NAMESPACE}"
    labels = {"app": "guarded"}
    ports = [{"name": "web", "port": 9091, "targetPort": 9091}]
    pod = {
        "metadata": {"name": "guarded", "labels": labels},
        "spec": {"nodeName": "t4", "containers": [{"name": "door", "image": "door"}]},
    }
    api.call(
        "POST", f"{core}/services", {"metadata": {"name": "guarded"}, "spec": {"selector": labels, "ports": ports}}
    )
    api.call("POST", f"{core}/pods", pod)
    until(lambda: api.call("GET", f"{core}/pods/guarded")["status"].get("phase") == "Running", 30, every=0.2)
    yield f"{NAMESPACE}/guarded:9091"
    api.call("DELETE", f"{core}/pods/guarded", gracePeriodSeconds="0")
    api.call("DELETE", f"{core}/services/guarded")


def test_by_port_forward_where_it_wants_a_token(service: str, guarded: tuple[Path, list[Request]]) -> None:
    """The API server's proxy would take the token away."""
    place = {"service": service, "scheme": "https", "token": "geheim", "ca_cert": str(guarded[0]), "tenant": "home"}
    result = looked(prometheus=place, history=True)
    assert told(result) == [f"ok Service {service}: {FORTY}"]
    assert [one.path for one in guarded[1]] == ["/api/v1/query", "/api/v1/query", "/api/v1/query_range"]
    assert {one.headers["X-Scope-OrgID"] for one in guarded[1]} == {"home"}


def test_by_port_forward_to_one_whose_certificate_nobody_knows(
    service: str, guarded: tuple[Path, list[Request]]
) -> None:
    """The token is not sent to it."""
    result = looked(prometheus={"service": service, "scheme": "https", "token": "geheim"})
    assert "certificate verify failed" in result["findings"][0]["message"]
    assert guarded[1] == []


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"token": "geheim"}, FORTY),
        ({"token": "geheim", "tenant": "home"}, FORTY),
        ({"token": "wrong"}, "it answers with HTTP status 401."),
        ({}, "it answers with HTTP status 401."),
    ],
)
def test_by_its_own_address(
    guarded: tuple[Path, list[Request]], tmp_path: Path, given: dict[str, str], said: str
) -> None:
    """With a token, a certificate authority and a tenant."""
    tls, authority = certificate(tmp_path, HOST)

    def door(request: Request) -> Response:
        kept = {"Authorization": request.headers.get("Authorization", "")}
        answer = requests.get(
            f"https://{HOST}:9091{request.path}", dict(request.args), headers=kept, timeout=30, verify=False
        )
        return Response(answer.content, answer.status_code, content_type=answer.headers["Content-Type"])

    with web(door, host=HOST, tls=tls) as address:
        result = looked(prometheus={"url": f"https://{address}", "ca_cert": str(authority), **given})
        assert [one["message"] for one in result["findings"]] == [said]
        stranger = looked(prometheus={"url": f"https://{address}", **given})
    assert "its certificate is signed by nobody that is known here" in stranger["findings"][0]["message"]


# ---- an account without rights


@pytest.fixture(scope="module")
def account() -> Iterator[str]:
    """The token of an account that may do nothing."""
    core = "/api/v1/namespaces/default/serviceaccounts"
    api.call("POST", core, {"metadata": {"name": "poor"}}, accept=(409,))
    yield api.call("POST", f"{core}/poor/token", {"spec": {"expirationSeconds": 3600}})["status"]["token"]
    api.call("DELETE", f"{core}/poor")


@pytest.fixture
def may() -> Iterator[Callable[..., None]]:
    """Gives the account a right in the whole cluster."""
    given = "/apis/rbac.authorization.k8s.io/v1/clusterrole"

    def give(*resources: str) -> None:
        rule = {"apiGroups": [""], "resources": list(resources), "verbs": ["get", "list"]}
        api.call("POST", f"{given}s", {"metadata": {"name": "poor"}, "rules": [rule]})
        who = {"kind": "ServiceAccount", "namespace": "default", "name": "poor"}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "poor"}
        api.call("POST", f"{given}bindings", {"metadata": {"name": "poor"}, "roleRef": role, "subjects": [who]})

    yield give
    for kind in ("s", "bindings"):
        api.call("DELETE", f"{given}{kind}/poor", accept=(404,))


@pytest.fixture
def requested(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the API server that were asked for."""
    paths: list[str] = []
    real = Cluster.request

    def ask(self: Cluster, method: str, path: str, **given: Any) -> bytes:
        paths.append(path)
        return real(self, method, path, **given)

    monkeypatch.setattr(Cluster, "request", ask)
    return paths


def poor(token: str, **given: Any) -> dict[str, Any]:
    return looked(host=API_SERVER, api_key=token, ca_cert=str(PKI / "ca.crt"), **given)


def test_an_account_that_may_not_list_services(account: str, requested: list[str]) -> None:
    result = poor(account)
    (finding,) = result["findings"]
    assert finding["message"].startswith("services is forbidden: User ")
    assert finding["remedy"] == (
        "Set prometheus, exporter or dcgm to a Prometheus or an exporter, or to none; or give the account the right to "
        "list services."
    )
    assert (finding["status"], result.get("failed", False), requested) == ("warning", False, ["/api/v1/services"])


def test_an_account_that_may_not_use_the_proxy(
    account: str, may: Callable[..., None], requested: list[str], url: str
) -> None:
    """Several Services look like sources: the first refusal is enough."""
    may("services")
    until(lambda: "may not" in str(poor(account)) or "no way to it" in str(poor(account)), 20, every=0.2)
    requested.clear()
    result = poor(account)
    (finding,) = result["findings"]
    assert finding["remedy"] == "Give the account the right to get services/proxy there, or name the source's url."
    assert (finding["status"], len(requested)) == ("warning", 2)


def test_several_look_like_a_prometheus(requested: list[str]) -> None:
    """One is asked, the one with the better name; the other is named."""
    prometheus.expose("other", "prometheus-operated", 9090, PORT)
    try:
        result = looked()
        assert told(result) == ["ok Service monitoring/prometheus-server:80: 4 containers have 5730 MiB of GPU memory."]
        assert result["findings"][0]["evidence"][-1].startswith("not asked: Service ")
        assert len(requested) == 3
    finally:
        api.call("DELETE", "/api/v1/namespaces/other")


# ---- the plays

RATCHET = [1958] * 20 + [2552] * 20 + [5478] * 20 + [5700] * 59


def ran(playbook: str, namespace: str, **variables: Any) -> Played:
    """A play against the simulated cluster only."""
    given = {
        "speaches_namespace": namespace,
        "speaches_volume": {"name": f"{namespace}-models", "server": "10.77.0.2", "driver": ""},
        "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
        **variables,
    }
    return play(f"playbooks/{playbook}.yml", "-l", "lab", "-e", json.dumps(given))


def said_of(played: Played) -> str:
    return " ".join(played.output.replace("→", " ").split())


def test_preflight_of_the_operators_card() -> None:
    """As inventory/lab has it; 4708 MiB of 14913 are left, not 6 GiB of 16."""
    played = ran("preflight", "portal-stt")
    assert played.rc == 0, played.output
    text = said_of(played)
    assert "√ gpu.memory Service monitoring/prometheus-server:80: 4 containers have 5730 MiB of GPU memory." in text
    assert "fits, also when all are at their peaks: 4708 of 14913 MiB are left then." in text


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, str, dict[str, Any]]]:
    """A card whose immich has grown by steps for a week; and the variables by which the plays ask."""
    now = int(time.time())
    lines = ["# TYPE gpu_pod_memory_used_bytes gauge\n"]
    every = 7 * 86400 // len(RATCHET)
    for index, mib in enumerate(RATCHET):
        start = now - 7 * 86400 + 600 + index * every
        last = min(start + every, now - 900)
        lines += [card.seat("immich/immich-machine-learning", mib, at) for at in range(start, last, STEP)]
    steady = card.page({"immich/immich-machine-learning": 5700, "frigate/frigate": 1695, "android/emulator": 150})
    with measured(tmp_path_factory.mktemp("incident"), steady, "".join(lines) + "# EOF\n", 9403, 9093) as (page, url):
        yield page, url, {"speaches_gpu_memory": {"prometheus": {"url": url}, "ours_mib": 1500}}


def shown(page: Page, url: str, tenants: Mapping[str, int]) -> None:
    """The page shows them, and Prometheus has seen it."""
    page.show(card.page(tenants))
    total = sum(tenants.values()) * card.MIB
    until(lambda: scraped(url, "sum(gpu_pod_memory_used_bytes)") == total, 30, lambda: scraped(url), every=0.3)
    until(lambda: scraped(url, "sum(nvidia_tesla_t4_DCGM_FI_DEV_FB_USED)") * card.MIB == total, 30, every=0.3)


def test_preflight_of_2_june(incident: tuple[Page, str, dict[str, Any]]) -> None:
    """llama-swap wanted 4455 MiB: 2113 too few, and it is immich's name that has to be told."""
    page, url, variables = incident
    shown(page, url, {"immich/immich-machine-learning": 10726, "frigate/frigate": 1695, "android/emulator": 150})
    variables = {**variables, "speaches_gpu_memory": {**variables["speaches_gpu_memory"], "ours_mib": 4455}}
    played = ran("preflight", "june", **variables, speaches_vram_headroom_mib=0, speaches_neighbours=[])
    assert played.rc != 0
    text = said_of(played)
    assert "gpu.budget june/portal-stt on Tesla T4 11111111 in t4: does not fit: of 14913 MiB 2113 are missing" in text
    assert "Cap immich/immich-machine-learning at 8613 MiB (its peak is 10726)" in text


def test_preflight_and_verify_of_31_august(incident: tuple[Page, str, dict[str, Any]]) -> None:
    """52 MiB were left, after a week in which immich grew by steps."""
    page, url, variables = incident
    given = {**variables, "speaches_model": MODEL, "speaches_neighbours": [], "speaches_model_source": "seeded"}
    deployed = ran("deploy", "august", **given)
    assert deployed.rc == 0, deployed.output
    tenants = {
        "immich/immich-machine-learning": 12044, "frigate/frigate": 2231, "immich/worker": 372, "android/emulator": 214,
    }  # fmt: skip
    shown(page, url, tenants)
    before = ran("preflight", "august", **given, speaches_vram_headroom_mib=0)
    text = said_of(before)
    assert before.rc != 0
    assert "does not fit: of 14913 MiB 1448 are missing now" in text  # 52 of 1500
    assert "Cap immich/immich-machine-learning at 10596 MiB (its peak is 12044)" in text
    after = ran("verify", "august", **given, speaches_verify={"requests": 2, "require_warm": False, "max_wer": 1})
    text = said_of(after)
    assert (
        "‼ gpu.growth immich/immich-machine-learning in GPU memory: grows: its floor rose from 1958 to 5700 MiB" in text
    )
    assert "at once" in text
    assert "the sources name no process of it" in text
    ran("teardown", "august", **given)
