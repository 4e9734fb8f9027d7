# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Raw requests to the Kubernetes API, authenticated as kubernetes.core does it.

The typed client takes ten times as long over a long list (5,000 nodes), and kubernetes.core's client needs
discovery, has no time limit on a connection and can neither attach a body to a service proxy nor resume a
watch. So: kubernetes.core's options and authentication, the client library's connection pool, our requests.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from .._findings import CollectionError

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from kubernetes.client import Configuration

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0


class ClusterError(CollectionError):
    """The API server answered with an error, or did not answer.

    status: HTTP status, 0 without an answer.
    reason: the API's machine-readable reason (``NotFound``, ``Conflict``, ``Expired``), or empty.
    body: the API's Status object, or empty.
    """

    check = "cluster.api"

    def __init__(
        self,
        subject: str,
        message: str,
        remedy: str,
        *,
        status: int = 0,
        reason: str = "",
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(subject, message, remedy)
        self.status = status
        self.reason = reason
        self.body = body or {}


class Cluster:
    """A Kubernetes API server. `configure` returns the access, anew each time: tokens expire."""

    def __init__(self, configure: Callable[[], tuple[Configuration, Mapping[str, Any]]]) -> None:
        self._configure = configure
        self._load()

    def _load(self) -> None:
        from kubernetes.client import ApiClient

        self._configuration, self._extra_headers = self._configure()
        self.url: str = self._configuration.host.rstrip("/")
        self._pool = ApiClient(self._configuration).rest_client.pool_manager

    def client(self) -> Any:
        """The client library's own ApiClient, for what plain requests cannot do: streams."""
        from kubernetes.client import ApiClient

        client = ApiClient(self._configuration)
        client.default_headers.update(self._extra_headers)
        return client

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object at an API path such as ``/api/v1/nodes``. Raises ClusterError."""
        answer: dict[str, Any] = json.loads(self.request("GET", path, query=query))
        return answer

    def find(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        """As `get`, but None when nothing is there (404)."""
        try:
            return self.get(path, query)
        except ClusterError as exc:
            if exc.status == 404:
                return None
            raise

    def apply(
        self,
        path: str,
        manifest: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Server-side apply of one object; returns it as stored.

        Raises ClusterError: status 409 when another manager owns a field.
        """
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        if dry_run:
            query["dryRun"] = "All"
        body = self.request(
            "PATCH",
            path,
            query=query,
            body=json.dumps(manifest).encode(),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        answer: dict[str, Any] = json.loads(body)
        return answer

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = READ_SECONDS,
    ) -> bytes:
        """The answer's body. `timeout`: seconds without a byte. Raises ClusterError unless the status is 2xx."""
        response = self._send(method, path, query, body, headers, timeout)
        try:
            return bytes(response.read())
        except Exception as exc:
            raise self._unreachable(exc) from exc
        finally:
            response.release_conn()

    def watch(
        self,
        path: str,
        query: Mapping[str, Any] | None = None,
        *,
        resource_version: str = "",
        timeout: float = 300,
    ) -> Iterator[dict[str, Any]]:
        """Events ``{"type", "object"}`` of one watch request; the server ends it after `timeout` seconds.

        Raises ClusterError: status 410 when `resource_version` is too old, 0 when the connection broke.
        """
        asked = {
            **(query or {}),
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(timeout))),
        }
        if resource_version:
            asked["resourceVersion"] = resource_version
        response = self._send("GET", path, asked, None, None, timeout + 10)
        pending = b""
        try:
            for chunk in response.stream(65536, decode_content=True):
                *lines, pending = (pending + chunk).split(b"\n")
                for line in filter(None, lines):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise self._refusal(path, int(event["object"].get("code", 0)), event["object"])
                    yield event
        except ClusterError:
            raise
        except Exception as exc:
            raise self._unreachable(exc) from exc
        finally:
            response.close()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        timeout: float,
        *,
        again: bool = True,
    ) -> Any:
        from urllib3 import Timeout

        url = f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=self._headers(headers),
                timeout=Timeout(connect=CONNECT_SECONDS, read=timeout),
                retries=False,
                preload_content=False,
            )
        except Exception as exc:
            raise self._unreachable(exc) from exc
        if response.status == 401 and again:
            response.release_conn()
            self._load()
            return self._send(method, path, query, body, headers, timeout, again=False)
        if not 200 <= response.status < 300:
            raise self._refusal(path, response.status, _status_object(response.read()))
        return response

    def _headers(self, headers: Mapping[str, str] | None) -> Any:
        from urllib3 import HTTPHeaderDict
        from urllib3.util import make_headers

        sent = HTTPHeaderDict({"Accept": "application/json", "User-Agent": "portal.stt", **(headers or {})})
        for name, value in self._extra_headers.items():
            for one in value if isinstance(value, list) else [value]:
                sent.add(name, one)
        token = self._configuration.auth_settings().get("BearerToken")
        if token and token["value"]:
            sent["Authorization"] = token["value"]
        elif self._configuration.username:
            password = self._configuration.password or ""
            sent.extend(make_headers(basic_auth=f"{self._configuration.username}:{password}"))
        return sent

    def _unreachable(self, exc: Exception) -> ClusterError:
        reason = getattr(exc, "reason", None) or exc
        return ClusterError(
            f"API server {self.url}",
            f"it does not answer: {reason}.",
            "Check that the address is right and reachable from this machine (kubeconfig or K8S_AUTH_*).",
        )

    def _refusal(self, path: str, status: int, body: dict[str, Any]) -> ClusterError:
        message = body.get("message") or f"HTTP status {status} for {path}"
        remedy = _REMEDIES.get(status, "")
        return ClusterError(
            f"API server {self.url}",
            f"{message.rstrip('.')}.",
            remedy,
            status=status,
            reason=str(body.get("reason", "")),
            body=body,
        )


_REMEDIES = {
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Give the account this right, as playbooks/rbac.yml does, or use another account.",
    429: "The API server asks for patience: try again in a minute.",
}


def label_selector(labels: Mapping[str, str]) -> str:
    """A map of labels in the text form of a request's labelSelector."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"message": body.decode(errors="replace").strip()[:500]}


def connect(module: AnsibleModule) -> Cluster:
    """The cluster that the module's kubernetes.core auth options, `K8S_AUTH_*` or the kubeconfig name.

    Nothing is sent yet. Raises ClusterError when a library is missing or no access is configured.
    """
    try:
        import kubernetes.config
        import yaml
        from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client
    except ImportError as exc:
        raise ClusterError(
            "controller",
            f"the kubernetes.core collection or its Python library is missing: {exc}.",
            "Install both: ansible-galaxy collection install kubernetes.core; pip install kubernetes.",
        ) from exc
    given = {name: module.params.get(name) for name in AUTH_ARG_SPEC}

    def configure() -> tuple[Configuration, Mapping[str, Any]]:
        try:
            access = client._create_configuration(client._create_auth_spec(None, **given))
        except (kubernetes.config.ConfigException, OSError, ValueError, yaml.YAMLError) as exc:
            raise ClusterError(
                "the cluster",
                f"no access is configured: {str(exc).rstrip('.')}.",
                "Set kubeconfig (or K8S_AUTH_KUBECONFIG) and context, or host and api_key, for this inventory host.",
            ) from exc
        return access, client._create_headers(None, **given)

    return Cluster(configure)
