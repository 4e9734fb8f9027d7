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
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from .._findings import CollectionError

if TYPE_CHECKING:
    from kubernetes.client import Configuration

    from .transport import Guard


PATIENCE_S = 10
"""For so long at the most it is waited at a time where the API server asks for it."""


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    connect: seconds until a connection is there, all addresses of a name together. silence: seconds without a byte.
    whole: seconds for a request and its answer. answer: bytes of the answer, decompressed.
    """

    connect: float = 5.0
    silence: float = 60.0
    whole: float = 150.0
    answer: int = 128 * 1024 * 1024


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

    def __init__(
        self,
        configure: Callable[[], tuple[Configuration, Mapping[str, Any]]],
        limits: Limits = Limits(),
    ) -> None:
        self._configure = configure
        self.limits = limits
        self._lock = threading.Lock()
        self._under_way: dict[Guard, int] = {}
        self._load()

    def _load(self) -> None:
        from kubernetes.client import ApiClient

        from .transport import limited

        self._configuration, self._extra_headers = self._configure()
        self.url: str = _plain(self._configuration.host)
        self._pool = limited(ApiClient(self._configuration).rest_client.pool_manager)

    def client(self) -> Any:
        """The client library's own ApiClient, for what plain requests cannot do: streams."""
        from kubernetes.client import ApiClient

        client = ApiClient(self._configuration)
        client.default_headers.update(self._extra_headers)
        return client

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object at an API path such as ``/api/v1/nodes``. Raises ClusterError.

        Its ``metadata`` is a map, and so are ``spec`` and ``status`` if there are any; a list has ``items``.
        """
        answer = self._json(self.request("GET", path, query=query), path)
        return self._checked(answer, path)

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
        stored = self._json(body, path)
        if not _is_object(stored):
            raise self._strange(path, "it is no Kubernetes object")
        return stored

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The answer's body. Raises ClusterError unless the status is 2xx, and when a limit is passed.

        timeout: seconds without a byte, in place of the limit; the whole may take at least twice that.
        """
        limits = self.limits
        if timeout is not None:
            limits = Limits(limits.connect, timeout, max(limits.whole, 2 * timeout), limits.answer)
        with self._guard(limits.whole) as guard:
            response = self._send(guard, method, path, query, body, headers, limits)
            try:
                content = self._read(response, limits.answer, path)
                if guard.is_cut:  # where neither length nor chunks tell the end of the answer, that looks like it
                    raise ConnectionAbortedError
                return content
            except ClusterError:
                response.close()
                raise
            except Exception as exc:
                response.close()
                raise self._unreachable(exc, guard, limits) from exc
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
        """Events ``{"type", "object"}`` of one watch request; the server ends it after `timeout` seconds, or we do.

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
        limits = Limits(self.limits.connect, timeout + 10, timeout + 15, self.limits.answer)
        with self._guard(limits.whole) as guard:
            response = self._send(guard, "GET", path, asked, None, None, limits)
            pending = b""
            try:
                for chunk in response.stream(65536, decode_content=True):
                    *lines, pending = (pending + chunk).split(b"\n")
                    if len(pending) > limits.answer:
                        raise self._too_much(path, limits.answer)
                    for line in filter(None, lines):
                        yield self._event(line, path)
            except ClusterError:
                raise
            except Exception as exc:
                raise self._unreachable(exc, guard, limits) from exc
            finally:
                response.close()

    def hang_up(self) -> None:
        """Cuts the requests that other threads have under way: they end with a ClusterError, at once."""
        with self._lock:
            others = [guard for guard, thread in self._under_way.items() if thread != threading.get_ident()]
        for guard in others:
            guard.cut()

    def _guard(self, seconds: float) -> _Tracked:
        return _Tracked(self, seconds)

    def _send(
        self,
        guard: Guard,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: bytes | None,
        headers: Mapping[str, str] | None,
        limits: Limits,
        *,
        again: bool = True,
        patience: int = 5,
    ) -> Any:
        """again: load the access anew when it is not accepted. patience: so often it waits where it is asked to."""
        from urllib3 import Timeout

        url = f"{self.url}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        try:
            with guard.sending():
                response = self._pool.request(
                    method,
                    url,
                    body=body,
                    headers=self._headers(headers),
                    timeout=Timeout(connect=limits.connect, read=limits.silence),
                    retries=False,
                    redirect=False,
                    preload_content=False,
                )
        except Exception as exc:
            raise self._unreachable(exc, guard, limits) from exc
        if response.status == 401 and again:
            response.close()
            self._load()
            return self._send(guard, method, path, query, body, headers, limits, again=False, patience=patience)
        pause = _pause(response) if patience else None
        if pause is not None:
            response.close()
            time.sleep(pause)
            if not guard.is_cut:
                return self._send(guard, method, path, query, body, headers, limits, again=again, patience=patience - 1)
        if not 200 <= response.status < 300:
            raise self._refused(response, guard, path, limits)
        return response

    def _refused(self, response: Any, guard: Guard, path: str, limits: Limits) -> ClusterError:
        try:
            return self._refusal(path, response.status, _status_object(self._read(response, 1024 * 1024, path)))
        except ClusterError as error:
            return error
        except Exception as exc:
            return self._unreachable(exc, guard, limits)
        finally:
            response.close()

    def _read(self, response: Any, most: int, path: str) -> bytes:
        parts, size = [], 0
        for chunk in response.stream(1024 * 1024, decode_content=True):
            size += len(chunk)
            if size > most:
                raise self._too_much(path, most)
            parts.append(chunk)
        return b"".join(parts)

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

    def _json(self, body: bytes, path: str) -> dict[str, Any]:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            html = b"<html" in body[:2000].lower() or b"<!doctype" in body[:2000].lower()
            raise self._strange(path, "it is a page of HTML" if html else "it is not JSON") from None
        if not isinstance(answer, dict):
            raise self._strange(path, "it is not a JSON object")
        return answer

    def _checked(self, answer: dict[str, Any], path: str) -> dict[str, Any]:
        """The answer, if it is a Kubernetes object or, where the path is that of a list, a list of them."""
        if not isinstance(answer.get("kind"), str):
            raise self._strange(path, "it is no Kubernetes object")
        if _is_collection(path):
            if not answer["kind"].endswith("List"):
                raise self._strange(path, "it is no list of Kubernetes objects")
            items = answer.get("items") or []
            if not isinstance(items, list) or not all(map(_is_object, items)):
                raise self._strange(path, "its items are no Kubernetes objects")
            answer["items"] = items
            if not isinstance(answer.get("metadata"), dict):
                raise self._strange(path, "it is no list of Kubernetes objects")
        elif not (_is_object(answer) or answer["kind"].startswith("API")):  # discovery describes, and has no metadata
            raise self._strange(path, "it is no Kubernetes object")
        return answer

    def _event(self, line: bytes, path: str) -> dict[str, Any]:
        event = self._json(line, path)
        kind, thing = event.get("type"), event.get("object")
        if kind == "ERROR" and isinstance(thing, dict):
            code = thing.get("code")
            raise self._refusal(path, code if isinstance(code, int) else 0, thing)
        if not isinstance(kind, str) or not isinstance(thing, dict) or not _is_object(thing):
            raise self._strange(path, "it is no event of a watch")
        thing["metadata"]["resourceVersion"] = str(thing["metadata"].get("resourceVersion") or "")
        return event

    def _unreachable(self, exc: Exception, guard: Guard, limits: Limits) -> ClusterError:
        from .transport import AGAIN, why

        reason, remedy = why(exc, limits.connect, limits.silence)
        if guard.is_cut:
            reason, remedy = f"it has not answered completely after {limits.whole:g} s", AGAIN
        return ClusterError(f"API server {self.url}", f"{reason}.", remedy)

    def _too_much(self, path: str, most: int) -> ClusterError:
        said = f"its answer for {path} is larger than {most / 1024 / 1024:g} MiB."
        return ClusterError(f"API server {self.url}", said, "Look at what answers there.")

    def _strange(self, path: str, what: str) -> ClusterError:
        return ClusterError(
            f"API server {self.url}",
            f"its answer for {path} is not that of a Kubernetes API server: {what}.",
            "Check that the address is the API server's own: a proxy, a login page or another service may stand there.",
        )

    def _refusal(self, path: str, status: int, body: dict[str, Any]) -> ClusterError:
        said = body.get("message")
        plain = isinstance(said, str) and said.strip()[:1] not in ("", "<")
        message = str(said).strip() if plain else f"it answers with HTTP status {status} for {path}"
        remedy = _REMEDIES.get(status, "")
        if 300 <= status < 400:
            message = f"it sends requests for {path} elsewhere (HTTP status {status})"
            remedy = "Check that the address is the API server's own: a login page may stand before it."
        return ClusterError(
            f"API server {self.url}",
            f"{message.rstrip('.')}.",
            remedy,
            status=status,
            reason=str(body.get("reason", "")),
            body=body,
        )


class _Tracked:
    """A request's guard, known to its cluster while the request is under way."""

    def __init__(self, cluster: Cluster, seconds: float) -> None:
        from .transport import Guard

        self._cluster, self._guard = cluster, Guard(seconds)

    def __enter__(self) -> Guard:
        with self._cluster._lock:
            self._cluster._under_way[self._guard] = threading.get_ident()
        return self._guard.__enter__()

    def __exit__(self, *error: Any) -> None:
        with self._cluster._lock:
            self._cluster._under_way.pop(self._guard, None)
        self._guard.__exit__(*error)


_REMEDIES = {
    401: "The credentials are not accepted or have expired: renew the kubeconfig or token.",
    403: "Have an administrator run playbooks/rbac.yml with the same settings, or use another account.",
    429: "The API server asks for patience: try again in a minute.",
}


def label_selector(labels: Mapping[str, str]) -> str:
    """A map of labels in the text form of a request's labelSelector."""
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _pause(response: Any) -> int | None:
    """Seconds after which the API server asks to be asked again; None where it does not, or wants too much.

    It does so with status 429 and whole seconds in Retry-After (k8s.io/client-go rest/with_retry.go).
    """
    asked = response.headers.get("Retry-After", "")
    is_number = asked.isdecimal() and len(asked) < 10  # Python reads no number of thousands of digits
    return int(asked) if response.status == 429 and is_number and int(asked) <= PATIENCE_S else None


def _plain(url: str) -> str:
    """The address without a name and password in it."""
    parts = urlsplit(url.rstrip("/"))
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _is_collection(path: str) -> bool:
    """Whether an API path is that of a list: ``/api/v1/nodes``, ``/apis/apps/v1/namespaces/n/deployments``."""
    below = path.strip("/").split("/")[2 if path.startswith("/api/") else 3 :]
    if below[:1] == ["namespaces"] and len(below) > 2:
        below = below[2:]
    return len(below) == 1


def _is_object(value: Any) -> bool:
    """Whether it is shaped as one, so that nobody has to look again before reading its metadata."""
    if not isinstance(value, dict):
        return False
    metadata, parts = value.get("metadata"), [value.get(name) for name in ("spec", "status")]
    if not isinstance(metadata, dict) or not all(part is None or isinstance(part, dict) for part in parts):
        return False
    return all(metadata.get(name) is None or is_one(metadata[name]) for name, is_one in _METADATA.items())


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_owners(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


_METADATA: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"), _is_text),
    **dict.fromkeys(("labels", "annotations"), _is_texts),
    **dict.fromkeys(("ownerReferences", "managedFields"), _is_owners),
    "generation": lambda value: type(value) is int,
}
"""What stands in an object's metadata (apimachinery pkg/apis/meta/v1, ObjectMeta)."""


def _status_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        return parsed
    return {"message": body.decode(errors="replace").strip()[:500]}


def connect(params: Mapping[str, Any], limits: Limits = Limits()) -> Cluster:
    """The cluster that kubernetes.core's auth options in `params`, `K8S_AUTH_*` or the kubeconfig name.

    Nothing is sent yet. Raises ClusterError when a library is missing or no access is configured.
    """
    try:
        import kubernetes.config  # noqa: F401
        import urllib3  # noqa: F401
        import yaml  # noqa: F401
        from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
        from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client  # noqa: F401

        from .access import configure
    except ImportError as exc:
        raise ClusterError(
            "controller",
            f"the kubernetes.core collection or its Python library is missing: {exc}.",
            "Install both: ansible-galaxy collection install kubernetes.core; pip install kubernetes.",
        ) from exc
    given = {name: params.get(name) for name in AUTH_ARG_SPEC}
    return Cluster(lambda: configure(given), limits)
