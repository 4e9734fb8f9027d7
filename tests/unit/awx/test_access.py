"""Each way to say which cluster and who one is there, honoured by each plugin that talks to a cluster."""

from __future__ import annotations

import base64
import importlib
import json
import os
import ssl
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from kubernetes.config import incluster_config
from werkzeug import Request, Response

from tests.conftest import ROOT
from tests.forward_proxy import Proxy, proxying
from tests.servers import certificate, unused, web

NODE = {"name": "gpu-1", "allocatable": 1, "problems": ["no_labels"]}
CLIP = str(ROOT / "roles/verify/files/clips/en.wav")
CONFIGMAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}
READING = {"source": "", "known": False, "at": 0, "step": 0, "cards": [], "seats": [], "nobody": [], "doubts": []}
PLUGINS: dict[str, dict[str, Any]] = {
    "gpu_memory_check": {"reading": READING, "resource": "example.com/mib", "quantity": "1"},
    "gpu_memory_info": {},
    "gpu_node_info": {},
    "gpu_node_probe": {"nodes": [NODE], "namespace": "n", "image": "i"},
    "k8s_apply": {"definition": [CONFIGMAP]},
    "k8s_job": {
        "definition": {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}},
        }
    },
    "k8s_read": {"namespace": "n", "objects": [{"kind": "Pod"}]},
    "k8s_remove": {"definition": [CONFIGMAP]},
    "k8s_rollout": {"namespace": "n", "name": "d", "timeout": 5},
    "oci_image_info": {"image": "127.0.0.1:1/a/b:c", "pull_secret": {"name": "s", "namespace": "n"}},
    "transcription_check": {"model": "a/b", "clips": [{"path": CLIP, "text": "light"}]},
}  # fmt: skip
TOKEN = "Bearer sesame"
PASSWORD = f"Basic {base64.b64encode(b'me:sesame').decode()}"


@dataclass
class Cluster:
    """An address at which whoever asks is turned away, and remembered: who, as whom, and under which name.

    name: what its certificate is for. authority: the file that has it, and a key for clients, too.
    """

    name: str
    port: int
    authority: Path
    folder: Path
    asked: set[tuple[str | None, str | None, str]] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"https://{self.name}:{self.port}"

    def kubeconfig(self, name: str = "config", **more: Any) -> str:
        """A file that leads here. cluster, user: further fields of these entries; contexts: further names in vain."""
        here = {"server": self.address, "certificate-authority": str(self.authority), **more.get("cluster", {})}
        contexts = [{"name": "x", "context": {"cluster": "c", "user": "u"}}]
        nowhere = {"name": "nowhere", "context": {"cluster": "nowhere", "user": "u"}}
        entry = {
            "apiVersion": "v1", "kind": "Config", "current-context": more.get("current", "x"),
            "clusters": [{"name": "nowhere", "cluster": {"server": "https://127.0.0.1:1"}},
                         {"name": "c", "cluster": here}],
            "contexts": [*contexts, nowhere],
            "users": [{"name": "u", "user": more.get("user", {"token": "sesame"})}],
        }  # fmt: skip
        path = self.folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(json.dumps(entry))
        return str(path)


@dataclass(frozen=True)
class Way:
    """given: options, once the environment is set. who: what has to be asked with. proxied: through which requests go.

    certified: whether clients have to show a certificate.
    """

    given: Callable[[Cluster, pytest.MonkeyPatch, Proxy, str], dict[str, Any]]
    who: str | None = TOKEN
    impersonated: str | None = None
    proxied: bool = False
    certified: bool = False


@pytest.fixture(scope="module")
def open_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxying(tmp_path_factory.mktemp("open")) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def closed_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxying(tmp_path_factory.mktemp("closed"), "me:sesame") as proxy:
        yield proxy


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[ssl.SSLContext, Path]]:
    return {name: certificate(tmp_path_factory.mktemp("tls"), name) for name in ("127.0.0.1", "cluster.invalid")}


@pytest.fixture
def nothing_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def environment(patch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        patch.setenv(name, str(value))


def by_options(cluster: Cluster, *_: Any) -> dict[str, Any]:
    return {"host": cluster.address, "api_key": "sesame", "ca_cert": str(cluster.authority)}


def by_variables(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    """As AWX's own credential sets them, with a certificate authority."""
    environment(patch, K8S_AUTH_HOST=cluster.address, K8S_AUTH_API_KEY="sesame", K8S_AUTH_VERIFY_SSL="True",
                K8S_AUTH_SSL_CA_CERT=cluster.authority)  # fmt: skip
    return {}


def unverified(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    """As it sets them without one."""
    environment(patch, K8S_AUTH_HOST=cluster.address, K8S_AUTH_API_KEY="sesame", K8S_AUTH_VERIFY_SSL="False")
    return {}


def by_password(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    environment(patch, K8S_AUTH_HOST=cluster.address, K8S_AUTH_USERNAME="me", K8S_AUTH_PASSWORD="sesame",
                K8S_AUTH_CA_CERT=cluster.authority)  # fmt: skip
    return {}


def by_certificate(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    environment(patch, K8S_AUTH_HOST=cluster.address, K8S_AUTH_CLIENT_CERT=cluster.authority,
                K8S_AUTH_CLIENT_KEY=cluster.authority, K8S_AUTH_SSL_CA_CERT=cluster.authority)  # fmt: skip
    return {}


def impersonating(cluster: Cluster, patch: pytest.MonkeyPatch, *rest: Any) -> dict[str, Any]:
    environment(patch, K8S_AUTH_IMPERSONATE_USER="somebody")
    return by_variables(cluster, patch)


def by_file(cluster: Cluster, *_: Any) -> dict[str, Any]:
    return {"kubeconfig": cluster.kubeconfig()}


def by_content(cluster: Cluster, *_: Any) -> dict[str, Any]:
    return {"kubeconfig": json.loads(Path(cluster.kubeconfig()).read_text())}


def by_context(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    environment(patch, K8S_AUTH_KUBECONFIG=cluster.kubeconfig(current="nowhere"), K8S_AUTH_CONTEXT="x")
    return {}


def by_named_file(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    """As our credential type does."""
    environment(patch, K8S_AUTH_KUBECONFIG=cluster.kubeconfig())
    return {}


def by_kubectls_file(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    environment(patch, KUBECONFIG=cluster.kubeconfig())
    return {}


def by_default_file(cluster: Cluster, *_: Any) -> dict[str, Any]:
    cluster.kubeconfig("home/.kube/config")
    return {}


def by_plugin(cluster: Cluster, *_: Any) -> dict[str, Any]:
    """A kubeconfig whose user is what a command says."""
    said = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "sesame"}}
    version = {"apiVersion": said["apiVersion"], "interactiveMode": "Never"}
    return {"kubeconfig": cluster.kubeconfig(user={"exec": {**version, "command": "echo", "args": [json.dumps(said)]}})}


def by_account(cluster: Cluster, patch: pytest.MonkeyPatch, *_: Any) -> dict[str, Any]:
    """Of its own pod: an execution environment in a container group, without a credential."""
    (cluster.folder / "token").write_text("sesame")
    loader, files = incluster_config.InClusterConfigLoader, (str(cluster.folder / "token"), str(cluster.authority))
    patch.setattr(incluster_config, "InClusterConfigLoader", lambda **given: loader(
        **{**given, "token_filename": files[0], "cert_filename": files[1]}
    ))  # fmt: skip
    environment(patch, KUBERNETES_SERVICE_HOST=cluster.name, KUBERNETES_SERVICE_PORT=cluster.port)
    return {}


def proxied_by_variable(cluster: Cluster, patch: pytest.MonkeyPatch, proxy: Proxy, _: str) -> dict[str, Any]:
    environment(patch, K8S_AUTH_PROXY=proxy.url)
    return by_variables(cluster, patch)


def proxied_by_option(cluster: Cluster, patch: pytest.MonkeyPatch, proxy: Proxy, nowhere: str) -> dict[str, Any]:
    environment(patch, K8S_AUTH_PROXY=nowhere)
    return {**by_file(cluster), "proxy": proxy.url}


def proxied_by_file(cluster: Cluster, _: pytest.MonkeyPatch, proxy: Proxy, __: str) -> dict[str, Any]:
    return {"kubeconfig": cluster.kubeconfig(cluster={"proxy-url": proxy.url})}


def proxied_as_all_is(cluster: Cluster, patch: pytest.MonkeyPatch, proxy: Proxy, _: str) -> dict[str, Any]:
    """As AWX's setting "Extra Environment Variables" does."""
    environment(patch, HTTPS_PROXY=proxy.url, NO_PROXY="localhost,.svc,10.0.0.0/8")
    return by_named_file(cluster, patch)


def proxied_in_lower_case(cluster: Cluster, patch: pytest.MonkeyPatch, proxy: Proxy, _: str) -> dict[str, Any]:
    environment(patch, https_proxy=proxy.url)
    return by_variables(cluster, patch)


def excepted(cluster: Cluster, patch: pytest.MonkeyPatch, _: Proxy, nowhere: str) -> dict[str, Any]:
    environment(patch, HTTPS_PROXY=nowhere, NO_PROXY=f"localhost,{cluster.name}")
    return by_named_file(cluster, patch)


def excepted_by_network(cluster: Cluster, patch: pytest.MonkeyPatch, _: Proxy, nowhere: str) -> dict[str, Any]:
    environment(patch, https_proxy=nowhere, no_proxy="127.0.0.0/8")
    return by_variables(cluster, patch)


def excepted_by_variable(cluster: Cluster, patch: pytest.MonkeyPatch, _: Proxy, nowhere: str) -> dict[str, Any]:
    environment(patch, K8S_AUTH_PROXY=nowhere, K8S_AUTH_NO_PROXY=cluster.name)
    return by_named_file(cluster, patch)


WAYS = {
    "options": Way(by_options),
    "AWX's credential": Way(by_variables),
    "AWX's credential, unverified": Way(unverified),
    "user and password": Way(by_password, PASSWORD),
    "client certificate": Way(by_certificate, None, certified=True),
    "impersonation": Way(impersonating, impersonated="somebody"),
    "kubeconfig": Way(by_file),
    "kubeconfig as data": Way(by_content),
    "context": Way(by_context),
    "our credential": Way(by_named_file),
    "KUBECONFIG": Way(by_kubectls_file),
    "~/.kube/config": Way(by_default_file),
    "credential plugin": Way(by_plugin),
    "in-cluster account": Way(by_account, "bearer sesame"),
    "K8S_AUTH_PROXY": Way(proxied_by_variable, proxied=True),
    "option proxy": Way(proxied_by_option, proxied=True),
    "proxy-url": Way(proxied_by_file, proxied=True),
    "HTTPS_PROXY": Way(proxied_as_all_is, proxied=True),
    "https_proxy": Way(proxied_in_lower_case, proxied=True),
    "NO_PROXY": Way(excepted),
    "no_proxy with a network": Way(excepted_by_network),
    "K8S_AUTH_NO_PROXY": Way(excepted_by_variable),
}


def test_each_plugin_that_talks_to_a_cluster_is_in_the_table() -> None:
    modules = {path.stem: module(path.stem) for path in (ROOT / "plugins/modules").glob("*.py")}
    asks = {
        name for name, one in modules.items() if "kubeconfig" in getattr(one, "ARGUMENTS", {}).get("argument_spec", {})
    }
    assert asks == PLUGINS.keys()


def module(name: str) -> Any:
    return importlib.import_module(f"ansible_collections.portal.stt.plugins.modules.{name}")


@pytest.mark.usefixtures("nothing_is_set")
@pytest.mark.parametrize("name", WAYS)
def test_each_plugin_honours_each_way(
    name: str,
    certificates: dict[str, tuple[ssl.SSLContext, Path]],
    open_proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind a proxy the cluster has a name that only the proxy knows."""
    way = WAYS[name]
    called = "cluster.invalid" if way.proxied else "127.0.0.1"
    context, authority = certificates[called]
    if way.certified:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority)
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    asked: dict[str, set[tuple[str | None, str | None, str | None]]] = {}
    with web(lambda request: turned_away(request, cluster), tls=context) as address, unused() as dead:
        cluster = Cluster(called, int(address.rpartition(":")[2]), authority, tmp_path)
        given = way.given(cluster, monkeypatch, open_proxy, f"http://127.0.0.1:{dead}")
        for plugin in PLUGINS:
            cluster.asked.clear()
            results = run(plugin, given)
            asked[plugin] = set(cluster.asked) or {(None, None, str(results))}
    expected = {(way.who, way.impersonated, f"{called}:{cluster.port}")}
    assert asked == dict.fromkeys(PLUGINS, expected)
    through = open_proxy.asked
    assert (f"CONNECT {called}:{cluster.port}" in through) is way.proxied


def turned_away(request: Request, cluster: Cluster) -> Response:
    cluster.asked.add((request.headers.get("Authorization"), request.headers.get("Impersonate-User"), request.host))
    status = {"kind": "Status", "apiVersion": "v1", "code": 403, "message": "no", "reason": "Forbidden"}
    return Response(json.dumps(status), 403, content_type="application/json")


def run(plugin: str, given: dict[str, Any]) -> Any:
    one = module(plugin)
    checked = ArgumentSpecValidator(**deepcopy(one.ARGUMENTS)).validate({**PLUGINS[plugin], **given})
    assert checked.error_messages == []
    return attempt(one.run, checked.validated_parameters, check_mode=False)


@pytest.mark.usefixtures("nothing_is_set")
@pytest.mark.parametrize(
    ("variables", "is_let_through"),
    [
        ({}, False),
        ({"K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "me:sesame"}, True),
        ({"K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH": "me:wrong"}, False),
    ],
)
def test_a_proxy_that_wants_a_password(
    variables: dict[str, str],
    is_let_through: bool,
    certificates: dict[str, tuple[ssl.SSLContext, Path]],
    closed_proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, authority = certificates["cluster.invalid"]
    with web(lambda request: turned_away(request, cluster), tls=context) as address:
        cluster = Cluster("cluster.invalid", int(address.rpartition(":")[2]), authority, tmp_path)
        environment(monkeypatch, K8S_AUTH_PROXY=closed_proxy.url, **variables)
        result = run("k8s_read", by_file(cluster))
    assert bool(cluster.asked) is is_let_through
    said = "no. Have" if is_let_through else "the proxy gives no way to it"
    assert said in result["msg"]
