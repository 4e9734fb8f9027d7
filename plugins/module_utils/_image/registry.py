# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Asks a registry for images and tags, with the oras library: its tokens, credential helpers, paging, proxies."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from .._findings import CollectionError, Finding, Status
from .oci import (
    CONFIG_TYPES,
    DOCKER_HUB,
    INDEX_TYPES,
    MANIFEST_TYPES,
    Image,
    Login,
    ManifestError,
    Reference,
    choose,
    credentials,
    hub_name,
    platforms,
    proposals,
    read_image,
    read_login,
    variants_of,
)

try:
    import oras.auth.base
    import oras.logger
    import oras.provider
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry
except ImportError as exc:
    MISSING: ImportError | None = exc
else:
    MISSING = None

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster

SECONDS = 20  # to connect, and between two bytes
_HUB_HOST = "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"  # Docker Hub's name in docker's own files and helpers
_BUSY = (429, 500, 502, 503, 504)


class RegistryError(CollectionError):
    """The registry did not answer as it should. `status` is 0 when it did not answer at all."""

    check = "image.registry"

    def __init__(
        self, subject: str, message: str, remedy: str, *, status: int = 0, evidence: tuple[str, ...] = ()
    ) -> None:
        super().__init__(subject, message, remedy, evidence=evidence)
        self.status = status


class TagMissingError(RegistryError):
    """The registry knows the repository, but not this tag or digest."""

    check = "image.tag"


@dataclass(frozen=True)
class Access:
    """How to come to a registry.

    docker_config: path of the docker configuration file that is read, empty for the user's own.
    secret: the docker configuration of a pull secret, which comes first.
    mirrors: registry name to the addresses to ask in its place, in order.
    plain_http: whether a registry without a mirror speaks HTTP.
    """

    docker_config: str = ""
    secret: Mapping[str, Any] = field(default_factory=dict)
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plain_http: bool = False


def mirror_addresses(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """The addresses to ask for each registry, in order; a single one may stand without a list.

    Raises RegistryError for what is no http:// or https:// address.
    """
    found = {str(name): [value] if isinstance(value, str) else list(value or ()) for name, value in given.items()}
    for name, addresses in found.items():
        for address in addresses:
            if not isinstance(address, str) or not re.fullmatch(r"https?://[^/?#]+(/[^?#]*)?", address):
                raise RegistryError(
                    f"mirrors of {name}",
                    f"{address!r} is no address of a registry.",
                    "Write it with its scheme: http://mirror.example.com:5000",
                )
    return found


def secret_config(cluster: Cluster, namespace: str, name: str) -> dict[str, Any]:
    """The docker configuration in a Secret of type kubernetes.io/dockerconfigjson or kubernetes.io/dockercfg.

    Raises ClusterError, or RegistryError when there is no such Secret, or none in it.
    """
    secret = cluster.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    make = f"kubectl create secret docker-registry {name} -n {namespace} --docker-server=… --docker-username=…"
    if secret is None:
        raise RegistryError(f"Secret {namespace}/{name}", "it is not there.", f"Make it with: {make}")
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            return _logins(json.loads(base64.b64decode(data[".dockerconfigjson"])))
        return _logins({"auths": json.loads(base64.b64decode(data[".dockercfg"]))})
    except (KeyError, ValueError) as exc:
        raise RegistryError(
            f"Secret {namespace}/{name}",
            f"it holds no docker configuration (type {secret.get('type', 'unknown')}).",
            f"Make it with: {make}",
        ) from exc


def docker_config(path: str) -> dict[str, Any]:
    """The docker configuration in a file; with an empty path in the user's own, which may be absent.

    Raises RegistryError for a file that cannot be read.
    """
    file = Path(path) if path else Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        return _logins(json.loads(file.read_bytes()))
    except (OSError, ValueError) as exc:
        if isinstance(exc, FileNotFoundError) and not path:
            return {}
        raise RegistryError(
            f"docker configuration {file}",
            f"it cannot be read: {getattr(exc, 'strerror', None) or exc}.",
            "Repair it (docker login writes it), or name another file.",
        ) from exc


def _logins(config: object) -> dict[str, Any]:
    """A docker configuration of the right shape. Raises ValueError for what is none."""
    if not isinstance(config, dict):
        raise ValueError("it is no JSON object")
    for name in ("auths", "credHelpers"):
        if not isinstance(config.get(name, {}), dict):
            raise ValueError(f"{name} is no JSON object")
    return config


def _ask_helper(name: str, server: str) -> Login | None:
    """What a credential helper has for a server. Raises RegistryError for an answer that is none."""
    try:
        auth = oras.auth.base.AuthBackend()._get_auth_from_creds_store(name, server)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        program = f"docker-credential-{name}"
        raise RegistryError(
            f"credential helper {program}",
            f"it has no usable answer for {server}: JSON with Username and Secret is expected.",
            f"See what it says: echo {server} | {program} get. Or give docker_config without it.",
        ) from exc
    return read_login({"auth": auth})


class Repository:
    """One repository at the first of its addresses that has it."""

    def __init__(self, reference: Reference, access: Access) -> None:
        """Raises RegistryError when the oras library is missing or the docker configuration cannot be read."""
        if MISSING:
            raise RegistryError(
                "controller",
                f"the Python library oras is missing: {MISSING}.",
                "Install it for the Python that runs the module: pip install 'oras>=0.2.43'",
            )
        oras.logger.setup_logger(quiet=True)
        self.reference = reference
        self._access = access
        self._clients: list[_Client] = []

    def image(self, platform: str, reference: Reference | None = None) -> Image:
        """The image of the repository's reference (or of another tag of it) for a platform.

        Raises RegistryError, TagMissingError (with the tags to take instead) or ManifestError.
        """
        reference = reference or self.reference
        *early, last = self._addresses()
        for address in early:
            try:
                return address.image(reference, platform)
            except RegistryError:
                continue  # down, without the image, or no registry: the next one is asked, as containerd does
        return last.image(reference, platform)

    def tags(self) -> list[str]:
        """All tags of the repository. Raises RegistryError."""
        *early, last = self._addresses()
        for address in early:
            try:
                return address.tags()
            except RegistryError:
                continue
        return last.tags()

    def variants(self, platform: str) -> tuple[list[Image], list[Finding]]:
        """The images of the same release and family, the reference's own first, and what kept others away.

        Some mirrors and tokens give images and no list of tags: there is no advice then, and that is all.
        """
        found: list[Image] = []
        lost: list[Finding] = []
        try:
            tags = self.tags()
        except RegistryError as exc:
            return [], [replace(exc.finding, status=Status.WARNING)]
        for tag in variants_of(self.reference.tag, tags):
            variant = replace(self.reference, tag=tag, digest="")
            try:
                found.append(self.image(platform, variant))
            except (RegistryError, ManifestError) as exc:
                lost.append(replace(exc.finding, status=Status.WARNING))
        return found, lost

    def _addresses(self) -> list[_Client]:
        if not self._clients:
            registry = self.reference.registry
            scheme = "http" if self._access.plain_http else "https"
            host = _HUB_HOST if registry == DOCKER_HUB else registry
            urls = self._access.mirrors.get(registry) or [f"{scheme}://{host}"]
            self._clients = [_Client(url, self.reference, self._access) for url in urls]
        return self._clients


class _Client:
    """The repository at one address."""

    def __init__(self, url: str, reference: Reference, access: Access) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._reference = reference
        self._access = access
        self._path = f"{parts.path.rstrip('/')}/{reference.repository}".lstrip("/")
        self._host = hub_name(parts.netloc)
        self._registry: Any = None
        self._refused: requests.Response | None = None

    def image(self, reference: Reference, platform: str) -> Image:
        try:
            manifest, digest = self._manifest(reference, reference.digest or reference.tag)
        except RegistryError as exc:
            raise self._missing(reference) if exc.status == 404 else exc from exc
        offered: dict[str, str] = {}
        manifest_digest = digest
        if _media_type(manifest) in INDEX_TYPES:
            offered = platforms(manifest)
            manifest_digest = choose(offered, platform, str(reference))
            manifest, manifest_digest = self._manifest(reference, manifest_digest)
        config = self._config(reference, manifest)
        image = read_image(reference, digest, manifest_digest, manifest, config, list(offered))
        if not offered:  # a single manifest: its config says what it is for
            choose({image.platform: digest}, platform, str(reference))
        return image

    def tags(self) -> list[str]:
        known: list[str] = []
        asked: set[str] = set()
        path = f"/v2/{self._path}/tags/list"
        while path not in asked:  # oras would end at an empty page, though more may follow
            asked.add(path)
            try:
                response = self._get(self._reference, path, {})
            except RegistryError as exc:
                if exc.status != 404 or known:
                    raise
                break
            known += map(str, _json(response, self._reference).get("tags") or ())
            # The same path again without a next page. A Link's host is left out: it may be known behind a proxy only.
            following = urlsplit(urljoin(path, response.links.get("next", {}).get("url", "")))
            path = f"{following.path}?{following.query}" if following.query else following.path
        if not known:
            raise TagMissingError(
                f"image {self._reference}",
                f"{self._url} has no repository {self._reference.repository}, or nothing in it.",
                "Check the repository's name.",
                status=404,
            )
        return known

    def _manifest(self, reference: Reference, wanted: str) -> tuple[dict[str, Any], str]:
        accepted = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
        response = self._get(reference, f"/v2/{self._path}/manifests/{wanted}", {"Accept": accepted})
        return _json(response, reference), _digest(response, reference, wanted)

    def _config(self, reference: Reference, manifest: Mapping[str, Any]) -> dict[str, Any]:
        config = manifest.get("config") or {}
        if _media_type(manifest) not in MANIFEST_TYPES or config.get("mediaType") not in CONFIG_TYPES:
            kind = config.get("mediaType") or _media_type(manifest) or "of no known type"
            raise ManifestError(
                f"image {reference}",
                f"this is no container image that a node can run ({kind}).",
                "Name an image in OCI or Docker (schema 2) format.",
            )
        response = self._get(reference, f"/v2/{self._path}/blobs/{config['digest']}", {})
        parsed = _json(response, reference)
        _digest(response, reference, config["digest"])
        return parsed

    def _get(self, reference: Reference, path: str, headers: dict[str, str]) -> requests.Response:
        client = self._connect()
        try:
            response: requests.Response = client.do_request(f"{self._url}{path}", "GET", headers=headers)
        except ValueError as exc:  # oras could not authenticate; the refused answer says why
            raise self._error(self._refused, reference) from exc
        except requests.RequestException as exc:
            raise self._unreachable(exc) from exc
        if response.status_code == 404:
            raise RegistryError(
                f"image {reference}",
                f"{self._url} has no {path}{_said(response)}.",
                "A part of the image is lost there: push it again, or take another tag.",
                status=404,
            )
        if response.status_code != 200:
            raise self._error(response, reference)
        return response

    def _connect(self) -> Any:
        """The oras client, with the kind of authentication that the registry asks for."""
        if self._registry is None:
            try:
                ping = self._session().get(f"{self._url}/v2/", timeout=SECONDS)
            except requests.RequestException as exc:
                raise self._unreachable(exc) from exc
            basic = ping.headers.get("WWW-Authenticate", "").lower().startswith("basic")
            login = self._login()
            if basic and login is None:
                raise self._error(ping, self._reference)
            if basic and login and login.identity_token:
                raise RegistryError(
                    f"registry {self._url}",
                    "its login is an identity token, and it wants user and password.",
                    f"Give docker_config or pull_secret with user and password for {self._host}.",
                )
            client = oras.provider.Registry(
                insecure=self._url.startswith("http://"), auth_backend="basic" if basic else "token"
            )
            # oras repeats every failure for two minutes; the session's own retries are enough.
            client.do_request = partial(oras.provider.Registry.do_request.__wrapped__, client)
            client.session = client.auth.session = self._session()
            client.auth._auth_config = {"auths": {}}  # ours to choose: see _login
            if login:
                client.auth.set_basic_auth(login.user, login.password)
            if login and login.identity_token:
                client.auth.request_token = partial(_exchange, client.session, login.identity_token)
            self._registry = client
        return self._registry

    def _session(self) -> requests.Session:
        session = requests.Session()
        retry = Retry(
            total=3,
            backoff_factor=0.5,
            status_forcelist=_BUSY,
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, _adapter(retry))
        session.hooks["response"].append(self._remember)
        return session

    def _remember(self, response: requests.Response, *_args: object, **_options: object) -> None:
        if response.status_code >= 400:
            self._refused = response

    def _login(self) -> Login | None:
        """The login for this address's own host: a mirror is not shown the image registry's password."""
        here = Reference(self._host, self._path, "")
        found = credentials(self._access.secret, here)
        if found:
            return found
        config = docker_config(self._access.docker_config)
        found = credentials(config, here)
        if found:
            return found
        server = _HUB_LOGIN if self._host == DOCKER_HUB else self._host
        helper = (config.get("credHelpers") or {}).get(server) or config.get("credsStore")
        return _ask_helper(str(helper), server) if helper else None

    def _unreachable(self, exc: Exception) -> RegistryError:
        cause = _root(exc)
        if isinstance(exc, requests.exceptions.SSLError):
            plain = "WRONG_VERSION_NUMBER" in cause or "record layer failure" in cause
            return RegistryError(
                f"registry {self._url}",
                "it does not speak TLS." if plain else f"its certificate is not accepted: {cause}.",
                "It is a plain-HTTP registry: set plain_http, or an http:// address in mirrors."
                if plain
                else "Give its CA to the Python that runs the module: environment REQUESTS_CA_BUNDLE=/path/ca.pem",
            )
        return RegistryError(
            f"registry {self._url}",
            f"it does not answer: {cause}.",
            "Check its name, the network and the proxy (HTTPS_PROXY, NO_PROXY) from the machine that runs this.",
        )

    def _error(self, response: requests.Response | None, reference: Reference) -> RegistryError:
        status = response.status_code if response is not None else 0
        said = _said(response)
        registry = f"registry {self._url}"
        if status in (401, 403):
            return RegistryError(
                f"image {reference}",
                f"{self._url} does not give access{said}: the repository is private, or does not exist (a registry "
                "does not tell which).",
                f"Check the name; for a private one give docker_config or pull_secret with a login for {self._host}.",
                status=status,
            )
        if status == 429:
            wait = response.headers.get("Retry-After", "") if response is not None else ""
            return RegistryError(
                registry,
                f"it limits the rate of requests{said}{f' (Retry-After: {wait})' if wait else ''}: the image was "
                "not looked at.",
                "Wait, or log in: registries give accounts a higher limit (docker_config, pull_secret).",
                status=status,
            )
        return RegistryError(
            registry,
            f"it failed with HTTP status {status}{said}." if status else "it gave no usable answer.",
            "Try again later; its operator's status page may know more.",
            status=status,
        )

    def _missing(self, reference: Reference) -> RegistryError:
        """What is there instead of a tag that is not."""
        remedy, evidence = "Check it where the image is published.", ""
        try:
            known = self.tags()
        except TagMissingError as exc:
            return exc
        except RegistryError as exc:
            evidence = f"its tags cannot be listed: {exc.message}"
        else:
            remedy = f"Tags that it has: {', '.join(proposals(reference.tag, known))} ({len(known)} in all)."
        return TagMissingError(
            f"image {reference}",
            f"{reference.registry}/{reference.repository} has no {reference.digest or f'tag {reference.tag}'}.",
            remedy,
            status=404,
            evidence=(evidence,) if evidence else (),
        )


def _exchange(session: requests.Session, identity_token: str, asked: Any) -> str | None:
    """An access token for an identity token, asked for as oras's parsed WWW-Authenticate header says.

    Source: distribution.github.io/distribution/spec/auth/oauth.
    """
    form = {
        "grant_type": "refresh_token",
        "refresh_token": identity_token,
        "client_id": "portal.stt",
        "service": asked.service,
        "scope": asked.scope,
    }
    answer = session.post(asked.realm, data=form)
    return answer.json().get("access_token") if answer.status_code == 200 else None


def _adapter(retry: Any) -> HTTPAdapter:
    """An adapter that never waits for ever: oras sets no time limit."""

    class Adapter(HTTPAdapter):
        def send(self, *args: Any, **options: Any) -> requests.Response:
            options["timeout"] = options.get("timeout") or SECONDS
            return super().send(*args, **options)

    return Adapter(max_retries=retry)


def _json(response: requests.Response, reference: Reference) -> dict[str, Any]:
    try:
        parsed = response.json()
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise RegistryError(
            f"image {reference}",
            f"{urlsplit(response.url).netloc} answered with something that is no JSON object.",
            "Is that address a registry? A captive portal or proxy answers like this.",
        )
    return parsed


def _digest(response: requests.Response, reference: Reference, wanted: str) -> str:
    """The digest of what was answered. Raises ManifestError when another one was wanted."""
    digest = f"sha256:{hashlib.sha256(response.content).hexdigest()}"
    if wanted.startswith("sha256:") and digest != wanted:
        raise ManifestError(
            f"image {reference}",
            f"the registry answered with content of digest {digest} for {wanted}.",
            "The registry or a proxy before it is broken: do not use this image.",
        )
    return digest


def _media_type(manifest: Mapping[str, Any]) -> str:
    """OCI lets a manifest leave out its mediaType: the members tell."""
    given = str(manifest.get("mediaType", ""))
    if given:
        return given
    if "manifests" in manifest:
        return INDEX_TYPES[0]
    return MANIFEST_TYPES[0] if "layers" in manifest else ""


def _said(response: requests.Response | None) -> str:
    """The registry's own words, in parentheses."""
    try:
        errors = response.json().get("errors") if response is not None else None
        texts = [f"{error.get('code', '')}: {error.get('message', '')}" for error in errors or ()]
    except (ValueError, AttributeError):
        return ""
    return f" ({'; '.join(texts)})" if texts else ""


def _root(exc: BaseException) -> str:
    """The innermost cause, in the words of the operating system or of TLS."""
    reason = getattr(exc, "reason", None)
    inner = (
        reason
        if isinstance(reason, BaseException)
        else next((arg for arg in exc.args if isinstance(arg, BaseException)), None)
    )
    if inner is not None:
        return _root(inner)
    said = str(exc.args[-1] if exc.args else exc).split(": ", 1)[-1]
    return re.sub(r"(Failed to establish a new connection: )?\[Errno -?\d+\] ", "", said).rstrip(".")
