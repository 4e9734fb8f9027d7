"""Each way to say which cluster and who one is there, honoured by each plugin that talks to a cluster."""

from __future__ import annotations

import importlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.portal.stt.plugins.module_utils._findings import attempt
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.access import configure
from kubernetes.config import incluster_config

from tests.conftest import ROOT

NODE = {"name": "gpu-1", "allocatable": 1, "problems": ["no_labels"]}
CLIP = str(ROOT / "roles/verify/files/clips/en.wav")
PLUGINS: dict[str, dict[str, Any]] = {
    "gpu_node_info": {},
    "gpu_node_probe": {"nodes": [NODE], "namespace": "n", "image": "i"},
    "k8s_job": {
        "definition": {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "n"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}},
        }
    },
    "k8s_rollout": {"namespace": "n", "name": "d", "timeout": 5},
    "oci_image_info": {"image": "127.0.0.1:1/a/b:c", "pull_secret": {"name": "s", "namespace": "n"}},
    "transcription_check": {"model": "a/b", "clips": [{"path": CLIP, "text": "light"}]},
}  # fmt: skip
Way = Callable[[str, Path, pytest.MonkeyPatch], dict[str, Any]]


class Cluster(ThreadingHTTPServer):
    """An address at which whoever asks is turned away, and remembered: token and target of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TurnAway)
        self.asked: list[tuple[str | None, str]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _TurnAway(BaseHTTPRequestHandler):
    def answer(self) -> None:
        server = self.server
        assert isinstance(server, Cluster)
        server.asked.append((self.headers["Authorization"], self.path))
        body = json.dumps({"kind": "Status", "code": 403, "message": "no", "reason": "Forbidden"}).encode()
        self.send_response(403)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = answer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cluster]:
    for name in list(os.environ):
        if name.startswith(("K8S_AUTH_", "KUBE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    server = Cluster()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def kubeconfig(address: str, folder: Path, name: str = "config") -> str:
    entry = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "sesame"}}],
    }  # fmt: skip
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(entry))
    return str(path)


def by_options(address: str, _: Path, __: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"host": address, "api_key": "sesame"}


def by_variables(address: str, _: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """As AWX's own credential sets them."""
    patch.setenv("K8S_AUTH_HOST", address)
    patch.setenv("K8S_AUTH_API_KEY", "sesame")
    return {}


def by_file(address: str, folder: Path, _: pytest.MonkeyPatch) -> dict[str, Any]:
    return {"kubeconfig": kubeconfig(address, folder)}


def by_named_file(address: str, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """As our credential type does."""
    patch.setenv("K8S_AUTH_KUBECONFIG", kubeconfig(address, folder))
    return {}


def by_kubectls_file(address: str, folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setenv("KUBECONFIG", kubeconfig(address, folder))
    return {}


def by_default_file(address: str, folder: Path, _: pytest.MonkeyPatch) -> dict[str, Any]:
    kubeconfig(address, folder / "home" / ".kube")
    return {}


def through_a_proxy(address: str, _: Path, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    patch.setenv("K8S_AUTH_PROXY", address)
    return {"host": "http://cluster.invalid", "api_key": "sesame"}


WAYS: list[Way] = [by_options, by_variables, by_file, by_named_file, by_kubectls_file, by_default_file, through_a_proxy]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PLUGINS)
def test_each_plugin_honours_each_way(
    name: str, way: Way, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"ansible_collections.portal.stt.plugins.modules.{name}")
    given = {**PLUGINS[name], **way(cluster.address, tmp_path, monkeypatch)}
    checked = ArgumentSpecValidator(**module.ARGUMENTS).validate(given)
    assert checked.error_messages == []
    result = attempt(module.run, checked.validated_parameters, check_mode=False)
    assert cluster.asked, result
    assert {token for token, _ in cluster.asked} == {"Bearer sesame"}
    assert all(target.startswith("http://cluster.invalid/") for _, target in cluster.asked) is (way is through_a_proxy)


def test_a_pod_has_its_own_account(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An execution environment in a container group, without a credential."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("sesame")
    (tmp_path / "ca.crt").write_text((ROOT / "tests/fixtures/ca.pem").read_text())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    loader = incluster_config.InClusterConfigLoader
    monkeypatch.setattr(incluster_config, "InClusterConfigLoader", lambda **given: loader(
        **{**given, "token_filename": str(tmp_path / "token"), "cert_filename": str(tmp_path / "ca.crt")}
    ))  # fmt: skip
    access, _ = configure({})
    assert access.host == "https://10.0.0.1:443"
    assert "sesame" in str(access.api_key)
    assert access.ssl_ca_cert == str(tmp_path / "ca.crt")
