# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where the cluster is and who we are there: kubernetes.core's options, its environment, a kubeconfig.

kubernetes.core and the client library read them; what is wrong with them is told here, before they are read.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from .._here import here
from .cluster import ClusterError

if TYPE_CHECKING:
    from kubernetes.client import Configuration

PLUGIN_SECONDS = 30.0
"""A credential plugin of a kubeconfig (``users[].user.exec``) has ended by then, or is killed."""

ACCESS_SECONDS = 2 * PLUGIN_SECONDS
"""All that a kubeconfig names has been read and asked by then: files, identity providers, plugins."""

KUBECONFIG_BYTES = 8 * 1024 * 1024
KUBECONFIG_VALUES = 200_000

T = TypeVar("T")

_REMEDY = "Set kubeconfig (or K8S_AUTH_KUBECONFIG) and context, or host and api_key, for this inventory host."
_lock = threading.Lock()  # the client library keeps what it last read in a place that all share


@dataclass(frozen=True)
class Entry:
    """What a kubeconfig says: the context, its cluster and user."""

    context: str
    cluster: Mapping[str, Any]
    user: Mapping[str, Any]

    @property
    def plugin(self) -> str:
        """The credential plugin's command, empty without one."""
        plugin = self.user.get("exec")
        return str(plugin.get("command", "")) if isinstance(plugin, Mapping) else ""


def configure(given: Mapping[str, Any]) -> tuple[Configuration, Mapping[str, Any]]:
    """The access that kubernetes.core's options name, and further headers. Raises ClusterError."""
    import kubernetes.client
    from ansible_collections.kubernetes.core.plugins.module_utils.k8s import client

    def read() -> tuple[Entry | None, Configuration, Mapping[str, Any]]:
        auth = client._create_auth_spec(None, **given)
        entry = _kubeconfig(auth)
        return entry, client._create_configuration(auth), client._create_headers(None, **given)

    with _lock, _nothing_kept(kubernetes.client.Configuration), _bounded_plugins() as complaints:
        try:
            entry, access, headers = _in_time(read)
        except ClusterError:
            raise
        except Exception as exc:  # the client library checks little of what it reads
            raise _unusable("the cluster", f"no access is configured: {_one_line(exc)}.") from exc
    if entry and entry.plugin and not _has_credentials(access):
        said = _one_line(next(iter(complaints), "it said nothing"))
        raise ClusterError(
            f"kubeconfig, context {entry.context}",
            f"its credential plugin {entry.plugin} gave no credentials: {said}.",
            "Run that command by hand, as the user that runs Ansible: it may want a login first.",
        )
    _check(access)
    # The hook would run the plugin again, without an end, once its token has expired; a 401 brings us back here.
    access.refresh_api_key_hook = None
    return access, headers


def _in_time(read: Callable[[], T]) -> T:
    """What `read` returns; left to itself when it takes too long. An identity provider or a pipe may never answer."""
    ended: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def run() -> None:
        try:
            ended.put((read(), None))
        except Exception as exc:
            ended.put((None, exc))

    threading.Thread(target=run, daemon=True, name="access").start()
    try:
        result, error = ended.get(timeout=ACCESS_SECONDS)
    except Empty:
        raise _unusable(
            "the cluster",
            f"the access to it is not complete after {ACCESS_SECONDS:g} s: something that the kubeconfig names (an "
            "identity provider, a file) does not answer.",
            "Look at the user of that context in the kubeconfig, or give host and api_key.",
        ) from None
    if error is not None:
        raise error
    return cast(T, result)


def forget() -> None:
    """Removes the files into which the client library has written certificates and keys.

    It does so at the end of a Python process; a process that Ansible forked ends in another way.
    """
    loader = sys.modules.get("kubernetes.config.kube_config")
    if loader is not None:
        with suppress(OSError):
            loader._cleanup_temp_files()


def _kubeconfig(auth: dict[str, Any]) -> Entry | None:
    """What the kubeconfig says that is going to be read, if one is. It is then named in `auth`, too: the library asks
    the environment for it only once, when it is imported."""
    if auth.get("host") and any(
        all(auth.get(name) for name in names)
        for names in (("api_key",), ("username", "password"), ("cert_file", "key_file"))
    ):
        return None
    given = auth.get("kubeconfig")
    if not given:
        if not auth.get("context") and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return None  # in a pod, which has its own account
        given = auth["kubeconfig"] = os.environ.get("KUBECONFIG") or "~/.kube/config"
    return _entry(_merged(given), auth.get("context"))


def _merged(given: Any) -> dict[str, Any]:
    """The kubeconfig given as data, or as a path or several that a colon separates: the first to say a thing wins."""
    if isinstance(given, Mapping):
        return _shaped("kubeconfig", given)
    if not isinstance(given, str):
        raise _unusable("kubeconfig", "it is neither a path nor a dictionary.")
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": [], "current-context": ""}
    paths = [Path(one).expanduser() for one in given.split(os.pathsep) if one]
    there = [path for path in paths if path.exists()] if len(paths) > 1 else paths
    for path in there or paths:
        read = _read(path)
        merged["current-context"] = merged["current-context"] or read["current-context"]
        for part in ("clusters", "contexts", "users"):
            merged[part] += read[part]
    return merged


def _read(path: Path) -> dict[str, Any]:
    import yaml

    subject = f"kubeconfig {path.name} in {path.parent}"
    try:
        if not path.is_file() and path.exists() and not path.is_dir():  # a pipe may have no writer
            raise _unusable(subject, "it is a pipe or a device, not a file.")
        with path.open("rb") as file:
            text = file.read(KUBECONFIG_BYTES + 1)
    except FileNotFoundError:
        raise _unusable(subject, f"there is no such file {here().place}.") from None
    except IsADirectoryError:
        raise _unusable(subject, "it is a folder, not a file.") from None
    except OSError as exc:
        raise _unusable(subject, f"it cannot be read: {exc.strerror}.") from exc
    if len(text) > KUBECONFIG_BYTES:
        raise _unusable(subject, "it is larger than 8 MiB: that is no kubeconfig.")
    try:
        content = yaml.safe_load(text.decode())
    except UnicodeDecodeError:
        raise _unusable(subject, "it is not text: that is no kubeconfig.") from None
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        problem = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "malformed"
        raise _unusable(f"{subject}{where}", f"it is not YAML: {problem}.") from None
    except RecursionError:
        raise _unusable(subject, "it is nested too deeply: that is no kubeconfig.") from None
    except ValueError as exc:  # a date that is none
        raise _unusable(subject, f"it is not YAML: {_one_line(exc)}.") from None
    if content is None:
        raise _unusable(subject, "it is empty.")
    if _unfolds(content):
        raise _unusable(subject, "its YAML aliases unfold to more than any kubeconfig holds.")
    return _shaped(subject, content)


def _unfolds(content: Any) -> bool:
    """Whether there are more values in it than can be meant, each alias counted as often as it is used."""
    left, count = [content], 0
    while left:
        one = left.pop()
        inner = list(one.values()) if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        count += 1 + len(inner)
        if count > KUBECONFIG_VALUES:
            return True
        left += inner
    return False


def _shaped(subject: str, content: Any) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise _unusable(subject, "it is not a kubeconfig: not a map of clusters, contexts and users.")
    shaped: dict[str, Any] = {"current-context": content.get("current-context") or ""}
    for part in ("clusters", "contexts", "users"):
        entries = content.get(part) or []
        if not isinstance(entries, list) or not all(isinstance(one, Mapping) and one.get("name") for one in entries):
            raise _unusable(subject, f"it is not a kubeconfig: {part} is not a list of things with names.")
        shaped[part] = entries
    return shaped


def _entry(config: Mapping[str, Any], wanted: str | None) -> Entry:
    context = str(wanted or config["current-context"])
    names = ", ".join(str(one["name"]) for one in config["contexts"]) or "none"
    if not context:
        raise _unusable("kubeconfig", f"it has no current context; contexts in it: {names}.", _pick("context"))
    found = _named(config["contexts"], context, "context")
    if found is None:
        raise _unusable("kubeconfig", f"it has no context {context}; contexts in it: {names}.", _pick("context"))
    cluster = _named(config["clusters"], found.get("cluster"), "cluster")
    if cluster is None or not isinstance(cluster.get("server"), str):
        said = f"its context {context} names the cluster {found.get('cluster')}, which is not in it with a server."
        raise _unusable("kubeconfig", said, "Correct the kubeconfig, or choose another context.")
    user = _named(config["users"], found.get("user"), "user")
    if user is None and found.get("user"):
        said = f"its context {context} names the user {found.get('user')}, who is not in it."
        raise _unusable("kubeconfig", said, "Correct the kubeconfig, or choose another context.")
    return Entry(context, cluster, user or {})


def _named(entries: list[Any], name: Any, kind: str) -> Mapping[str, Any] | None:
    found = next((one.get(kind) or {} for one in entries if one["name"] == name), None)
    return found if isinstance(found, Mapping) else None


def _pick(option: str) -> str:
    return f"Set {option} (or K8S_AUTH_{option.upper()}) to one that is in it."


def _check(access: Configuration) -> None:
    """What would otherwise come as an exception with the first request."""
    try:
        parts = urlsplit(str(access.host or ""))
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good:
        shown = str(access.host).rpartition("@")[2]
        raise _unusable("the cluster", f"its address is not a URL such as https://192.168.1.10:6443: {shown}.")
    for what, path in (
        ("certificate authority", access.ssl_ca_cert),
        ("client certificate", access.cert_file),
        ("client key", access.key_file),
    ):
        if path and not os.access(path, os.R_OK):
            raise _unusable(
                "the cluster", f"the file with its {what} cannot be read: {path}.", "Correct the path, or its rights."
            )


def _has_credentials(access: Configuration) -> bool:
    return bool(access.api_key or access.cert_file or access.username)


@contextmanager
def _nothing_kept(configuration: type[Configuration]) -> Iterator[None]:
    """Neither credentials of a cluster asked before in this process, nor this one's for a later one."""
    configuration.set_default(None)
    try:
        yield
    finally:
        configuration.set_default(None)


class _Plugin(subprocess.Popen):  # type: ignore[type-arg]
    """A credential plugin, which ends in time together with what it has started."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"stdin": None, **kwargs, "process_group": 0})

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:  # noqa: A002
        try:
            return super().communicate(input, PLUGIN_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, 9)
            super().communicate()
            raise TimeoutError(f"it had not ended after {PLUGIN_SECONDS:g} s") from None


class _Collect(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def _bounded_plugins() -> Iterator[list[str]]:
    """Credential plugins have an end; yields what the client library says of them, which it only logs."""
    from kubernetes.config import exec_provider, kube_config

    collect, root = _Collect(), logging.getLogger()
    bounded = types.SimpleNamespace(Popen=_Plugin, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)
    users = [one for one in (exec_provider, kube_config) if hasattr(one, "subprocess")]
    before = [one.subprocess for one in users]
    root.addHandler(collect)
    try:
        for one in users:
            one.subprocess = bounded
        yield collect.lines
    finally:
        root.removeHandler(collect)
        for one, module in zip(users, before, strict=True):
            one.subprocess = module


def _one_line(said: object) -> str:
    return str(said).strip().split("\n")[0].rstrip(".")[:300]


def _unusable(subject: str, message: str, remedy: str = _REMEDY) -> ClusterError:
    return ClusterError(subject, message, remedy)
