# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Asks a registry for images and tags, as a node's container runtime would: each question at its own address first.

What comes back is checked where it enters: size, JSON, digest, the grammar of digests and tags.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from .._findings import CollectionError, Finding, Status
from .._text import plain
from .auth import Challenge, Origin, RealmError, bearer, challenges, origin, same_place, token_service
from .oci import (
    DIGEST,
    DOCKER_HUB,
    INDEX_TYPES,
    MANIFEST_TYPES,
    TAG,
    Entry,
    Image,
    Login,
    ManifestError,
    Reference,
    credentials,
    entries,
    fits,
    hub_name,
    is_image,
    media_type,
    platform_of,
    proposals,
    read_image,
    read_login,
    unbuilt,
    variants_of,
)
from .transport import MISSING, Answer, Limits, TooLargeError, TooSlowError, Transport

if MISSING is None:
    import requests

if TYPE_CHECKING:
    from .._kubernetes.cluster import Cluster

_HUB_HOST = "registry-1.docker.io"
_HUB_LOGIN = "https://index.docker.io/v1/"  # Docker Hub's name in docker's own files and helpers
_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 5
_ROUNDS = 3  # of being asked for a login at one address
_MANIFEST_MOST = 4 * 1024**2  # what registries take at most (distribution-spec, "Pushing Manifests")
_CONFIG_MOST = 8 * 1024**2
_TOKEN_MOST = 1024**2
_PAGES_MOST, _TAGS_MOST = 1000, 200_000
_INDEX_DEPTH, _INDEX_READ = 4, 24  # indexes in each other, and manifests that are looked into to find a platform
_HELPER_SECONDS = 30
_UNKNOWN_CA = "Give its CA to the Python that runs the module: environment REQUESTS_CA_BUNDLE=/path/ca.pem"
_CERTIFICATE_REMEDIES = (
    ("has expired", "The registry's operator must renew it; where it is new, this machine's clock is wrong."),
    ("not yet valid", "Set this machine's clock right (timedatectl)."),
    (
        "certificate is not valid for",
        "Name the image by a name that the certificate is for, or have one made for this name (subjectAltName).",
    ),
)
_S3_ERROR = ("Code", "Message")


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
    limits: how long a registry is waited for.
    """

    docker_config: str = ""
    secret: Mapping[str, Any] = field(default_factory=dict)
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plain_http: bool = False
    limits: Limits = field(default_factory=Limits)


def mirror_addresses(given: Mapping[str, Any]) -> dict[str, list[str]]:
    """The addresses to ask for each registry, in order; a single one may stand without a list.

    Raises RegistryError for what is no http:// or https:// address.
    """
    found = {str(name): [value] if isinstance(value, str) else list(value or ()) for name, value in given.items()}
    for name, addresses in found.items():
        for address in addresses:
            if not _is_address(address):
                raise RegistryError(
                    f"mirrors of {name}",
                    f"{_without_login(address)!r} is no address of a registry.",
                    "Write it with its scheme and without a login: http://mirror.example.com:5000",
                )
    return found


def _is_address(given: object) -> bool:
    if not isinstance(given, str) or not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", given):
        return False
    try:
        return bool(origin(given))
    except ValueError:
        return False


def _without_login(given: object) -> str:
    return re.sub(r"//[^/@]*@", "//…@", str(given))


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
    """What a credential helper has for a server: nothing where it is not installed or says that it has none.

    Raises RegistryError for an answer that is none, or none in time.
    """
    program = f"docker-credential-{name}"
    why = "has no usable answer"
    try:
        if "/" in name:
            raise ValueError("a path")
        ran = subprocess.run(
            [program, "get"], input=server.encode(), capture_output=True, check=False, timeout=_HELPER_SECONDS
        )
        if ran.returncode:
            return None
        answer = json.loads(ran.stdout)
        if not answer["Username"] and not answer["Secret"]:
            return None
        login = read_login({"username": answer["Username"], "password": answer["Secret"]})
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        login, why = None, f"gives no answer within {_HELPER_SECONDS} s"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        login = None
    if login is None:
        raise RegistryError(
            f"credential helper {program}",
            f"it {why} for {server}: JSON with Username and Secret is expected.",
            f"See what it says: echo {server} | {program} get. Or give [docker_config] without it.",
        )
    return login


class Repository:
    """One repository at the first of its addresses that has it."""

    def __init__(self, reference: Reference, access: Access) -> None:
        """Raises RegistryError when the requests library is missing."""
        if MISSING:
            raise RegistryError(
                "controller",
                f"the Python library requests is missing: {MISSING}.",
                "Install it for the Python that runs the module: pip install requests",
            )
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
            transport = Transport(self._access.limits)
            self._clients = [_Client(url, self.reference, self._access, transport) for url in urls]
        return self._clients


class _Client:
    """The repository at one address.

    What goes out as Authorization is kept by origin: nothing that was meant for one is ever sent to another.
    """

    def __init__(self, url: str, reference: Reference, access: Access, transport: Transport) -> None:
        parts = urlsplit(url)
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._home = origin(self._url)
        self._reference = reference
        self._access = access
        self._transport = transport
        self._path = f"{parts.path.rstrip('/')}/{reference.repository}".lstrip("/")
        self._host = hub_name(parts.netloc)
        self._authorization: dict[Origin, str] = {}
        self._shown = False  # whether a login was

    def image(self, reference: Reference, platform: str) -> Image:
        try:
            manifest, digest = self._manifest(reference, reference.digest or reference.tag)
        except RegistryError as exc:
            raise self._missing(reference) if exc.status == 404 else exc from exc
        if media_type(manifest) not in INDEX_TYPES:
            config = self._config(reference, manifest)
            image = read_image(reference, digest, digest, manifest, config, [])
            # A config may name none (buildpacks/pack#2315), and nodes run such an image.
            named = "/" in image.platform or "rootfs" not in config
            if named and fits(image.platform, platform) is None:
                raise unbuilt(platform, [image.platform], str(reference))
            return image
        offered: dict[str, None] = {}
        found = self._in_index(reference, manifest, platform, offered, [_INDEX_READ], 1)
        if found is None:
            raise unbuilt(platform, offered, str(reference))
        chosen, manifest_digest, config = found
        offered.setdefault(platform_of(config), None)
        return read_image(reference, digest, manifest_digest, chosen, config, list(offered))

    def _in_index(
        self,
        reference: Reference,
        index: Mapping[str, Any],
        platform: str,
        offered: dict[str, None],
        left: list[int],
        depth: int,
    ) -> tuple[dict[str, Any], str, dict[str, Any]] | None:
        """Manifest, its digest and its config for a platform, as containerd finds them (core/images, Manifest).

        An entry's own platform comes first; where it has none, the config decides. offered: filled with the platforms
        that are met. left: how many manifests may still be looked into.
        """
        listed = entries(index, str(reference))
        offered.update((entry.platform, None) for entry in listed if entry.platform)
        for entry in _by_fitness(listed, platform):
            left[0] -= 1
            if left[0] < 0 or depth > _INDEX_DEPTH:
                raise ManifestError(
                    f"image {reference}",
                    f"its indexes lie more than {_INDEX_DEPTH} deep in each other, or have more than {_INDEX_READ} "
                    "entries without a platform.",
                    "Name the digest of one platform's image, or take another one.",
                )
            manifest, digest = self._manifest(reference, entry.digest)
            if media_type(manifest) in INDEX_TYPES:
                found = self._in_index(reference, manifest, platform, offered, left, depth + 1)
                if found:
                    return found
            elif entry.platform or is_image(manifest):
                config = self._config(reference, manifest)
                if entry.platform or fits(platform_of(config), platform) is not None:
                    return manifest, digest, config
                offered.setdefault(platform_of(config), None)
        return None

    def tags(self) -> list[str]:
        known: dict[str, None] = {}
        asked: set[str] = set()
        path = f"/v2/{self._path}/tags/list"
        while path not in asked and len(asked) < _PAGES_MOST and len(known) < _TAGS_MOST:
            asked.add(path)
            try:
                answer = self._get(self._reference, path, _MANIFEST_MOST)
            except RegistryError as exc:
                if exc.status != 404 or known:
                    raise
                break
            listed = _json(answer, self._reference).get("tags")
            if isinstance(listed, list):
                known.update((tag, None) for tag in listed if isinstance(tag, str) and TAG.fullmatch(tag))
            path = self._next_page(answer, path)
        if not known:
            raise TagMissingError(
                f"image {self._reference}",
                f"{self._url} has no repository {self._reference.repository}, or nothing in it.",
                "Check the repository's name.",
                status=404,
            )
        return list(known)

    def _next_page(self, answer: Answer, path: str) -> str:
        """The path of the page after this one; this one's again where there is none.

        A Link's host is left out: it may be known behind a proxy only. An empty page is not the last for that.
        """
        links = requests.utils.parse_header_links(answer.headers.get("Link", "")[:8192])
        url = next((str(link.get("url", "")) for link in links if link.get("rel") == "next"), "")
        try:
            following = urlsplit(urljoin(path, url))
        except ValueError:
            return path
        if not following.path.startswith("/v2/") or not following.path.endswith("/tags/list"):
            return path
        return f"{following.path}?{following.query}" if following.query else following.path

    def _manifest(self, reference: Reference, wanted: str) -> tuple[dict[str, Any], str]:
        accepted = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
        path = f"/v2/{self._path}/manifests/{wanted}"
        answer = self._get(reference, path, _MANIFEST_MOST, accepted, checked=bool(DIGEST.fullmatch(wanted)))
        return _json(answer, reference), _digest(answer, reference, wanted)

    def _config(self, reference: Reference, manifest: Mapping[str, Any]) -> dict[str, Any]:
        described = manifest.get("config")
        digest = described.get("digest") if isinstance(described, Mapping) else None
        if not is_image(manifest) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            kind = (described.get("mediaType") if isinstance(described, Mapping) else "") or media_type(manifest)
            raise ManifestError(
                f"image {reference}",
                f"this is no container image that a node can run ({plain(kind, 100) or 'of no known type'}).",
                "Name an image in OCI or Docker (schema 2) format.",
            )
        answer = self._get(reference, f"/v2/{self._path}/blobs/{digest}", _CONFIG_MOST, checked=True)
        _digest(answer, reference, digest)
        return _json(answer, reference)

    def _get(
        self, reference: Reference, path: str, most: int, accepted: str = "*/*", *, checked: bool = False
    ) -> Answer:
        """The answer at a path of the registry, wherever it sends on to.

        checked: the content's digest is known and looked at, so that it may come from anywhere.
        """
        answer = self._follow(f"{self._url}{path}", {"Accept": accepted}, most, checked=checked)
        if answer.status != 200 and origin(answer.url) != self._home:
            raise self._elsewhere(answer)
        if answer.status == 404:
            raise RegistryError(
                f"image {reference}",
                f"{self._url} has no {path}{_said(answer)}.",
                "A part of the image is lost there: push it again, or take another tag.",
                status=404,
            )
        if answer.status != 200:
            raise self._error(answer, reference)
        return answer

    def _follow(self, url: str, headers: Mapping[str, str], most: int, *, checked: bool) -> Answer:
        asked = [url]
        while True:
            answer = self._signed_in(url, headers, most)
            if answer.status not in _REDIRECTS:
                return answer
            url = self._next_hop(answer, asked, checked=checked)
            asked.append(url)

    def _next_hop(self, answer: Answer, asked: Sequence[str], *, checked: bool) -> str:
        here, said = origin(answer.url), answer.headers.get("Location", "")
        try:
            url = urljoin(answer.url, said)
            there = origin(url)
        except ValueError:
            raise self._astray(f"to {plain(said, 200)!r}, which is no address") from None
        if url in asked or len(asked) > _REDIRECTS_MAX:
            raise self._astray(f"in circles, last to {plain(said, 200)}")
        if here.scheme == "https" != there.scheme and not checked:
            raise self._astray(f"from HTTPS to {plain(said, 200)}, where anybody could change the answer")
        return url

    def _astray(self, where: str) -> RegistryError:
        return RegistryError(
            f"registry {self._url}",
            f"it sends on {where}: the image was not looked at.",
            "Repair the registry or the proxy before it; another address can be set in [mirrors].",
        )

    def _signed_in(self, url: str, headers: Mapping[str, str], most: int) -> Answer:
        """The answer, with a login where one is asked for and there is one for that place."""
        place = origin(url)
        tried = {self._authorization.get(place, "")}
        for _ in range(_ROUNDS):
            authorization = self._authorization.get(place, "")
            answer = self._send(url, {**headers, **({"Authorization": authorization} if authorization else {})}, most)
            if answer.status != 401:
                return answer
            authorization = self._answer(place, answer, tried)
            if not authorization:
                return answer
            tried.add(authorization)
            self._authorization[place] = authorization
        return answer

    def _answer(self, place: Origin, asking: Answer, tried: set[str]) -> str:
        """The Authorization that a 401 asks for and that was not tried; empty where there is none.

        Only the repository's own address is given its login, in the way that it asks for there.
        """
        login = self._login() if same_place(self._home, place) else None
        self._shown = self._shown or bool(login)
        refused: RealmError | None = None
        failed: RegistryError | None = None
        token_only = False
        for challenge in challenges(asking.headers.get("WWW-Authenticate", "")):
            authorization = ""
            if challenge.scheme == "bearer":
                try:
                    authorization = f"Bearer {self._token(token_service(challenge, place), challenge, login)}"
                except RealmError as exc:
                    refused = refused or exc
                except RegistryError as exc:
                    failed = failed or exc
            elif challenge.scheme == "basic" and login:
                token_only = token_only or bool(login.identity_token)
                authorization = "" if login.identity_token else _basic(login)
            if authorization and authorization not in tried:
                return authorization
        if failed:
            raise failed
        if refused:
            raise RegistryError(
                f"registry {self._url}",
                f"it asks for a token of a service that is not trusted: {refused}; nothing was sent there.",
                "The registry's operator must name it by an https:// address (realm in WWW-Authenticate).",
            )
        if token_only:
            raise RegistryError(
                f"registry {self._url}",
                "its login is an identity token, and it wants user and password.",
                f"Give [docker_config] or [pull_secret] with user and password for {self._host}.",
            )
        return ""

    def _token(self, service: str, challenge: Challenge, login: Login | None) -> str:
        """A token for pulling, asked for without a login where there is none.

        Source: distribution.github.io/distribution/spec/auth/token and …/oauth (identity tokens).
        """
        asked = {
            **({"service": challenge.parameters["service"]} if challenge.parameters.get("service") else {}),
            "scope": challenge.parameters.get("scope") or f"repository:{self._path}:pull",
        }
        if login and login.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": login.identity_token, "client_id": "portal.stt"}
            answer = self._at_service(service, {}, {**form, **asked})
        else:
            parts = urlsplit(service)
            query = urlencode([*parse_qsl(parts.query), *asked.items()])
            headers = {"Authorization": _basic(login)} if login else {}
            answer = self._at_service(parts._replace(query=query).geturl(), headers)
        if answer.status != 200:
            raise self._error(answer, self._reference)
        token = bearer(_parsed(answer.body))
        if not token:
            raise RegistryError(
                f"registry {self._url}",
                f"its token service {urlsplit(service).netloc} answered with no token.",
                "Try again later; its operator's status page may know more.",
            )
        return token

    def _at_service(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None) -> Answer:
        """A token service's answer; it may send on within itself (a slash at the end, HTTPS in place of HTTP)."""
        for _ in range(_REDIRECTS_MAX + 1):
            answer = self._send(url, headers, _TOKEN_MOST, form)
            if answer.status not in _REDIRECTS:
                return answer
            try:
                to = urljoin(url, answer.headers.get("Location", ""))
                within = same_place(origin(url), origin(to))
            except ValueError:
                within = False
            if not within:
                break
            url = to
        raise RegistryError(
            f"registry {self._url}",
            f"its token service {urlsplit(url).netloc} sends on to another address, which was not followed.",
            "The registry's operator must name the token service's own address (realm in WWW-Authenticate).",
        )

    def _send(self, url: str, headers: Mapping[str, str], most: int, form: Mapping[str, str] | None = None) -> Answer:
        try:
            return self._transport.send(url, headers, most, form)
        except TooSlowError as exc:
            raise self._no_answer(url, f"no whole answer came {exc}") from exc
        except TooLargeError as exc:
            raise self._no_answer(url, f"its answer is too large: {exc}") from exc
        except requests.RequestException as exc:
            raise self._unreachable(url, exc) from exc

    def _no_answer(self, url: str, why: str) -> RegistryError:
        return RegistryError(
            self._named(url),
            f"{why}.",
            "Check its name, the network and the proxy (HTTPS_PROXY, NO_PROXY) from the machine that runs this.",
        )

    def _named(self, url: str) -> str:
        """The server at a URL, for messages: the registry itself, or the one that it names or sends on to."""
        place = urlsplit(url)
        there = f"{place.scheme}://{place.netloc}"
        return f"registry {self._url}{'' if there == self._url else f' by way of {plain(there, 100)}'}"

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

    def _unreachable(self, url: str, exc: Exception) -> RegistryError:
        cause = plain(_root(exc))
        if isinstance(exc, requests.exceptions.SSLError):
            return self._untrusted(url, cause)
        return self._no_answer(url, f"it does not answer: {cause}")

    def _untrusted(self, url: str, cause: str) -> RegistryError:
        """What OpenSSL says of a registry's TLS (crypto/x509/x509_txt.c), with the remedy for that."""
        if "WRONG_VERSION_NUMBER" in cause or "record layer failure" in cause:
            return RegistryError(
                self._named(url),
                "it does not speak TLS.",
                "It is a plain-HTTP registry: set [plain_http], or an http:// address in [mirrors].",
            )
        why = re.sub(r".*certificate verify failed: | \(_ssl\.c:\d+\)", "", cause).rstrip(".")
        remedy = next((remedy for words, remedy in _CERTIFICATE_REMEDIES if words in why), _UNKNOWN_CA)
        return RegistryError(self._named(url), f"its certificate is not accepted: {why}.", remedy)

    def _error(self, answer: Answer, reference: Reference) -> RegistryError:
        status, said = answer.status, _said(answer)
        registry = f"registry {self._url}"
        if status in (401, 403) and self._shown:
            return RegistryError(
                f"image {reference}",
                f"{self._url} does not give access{said} with the login that is given for {self._host}: it is wrong or "
                "expired, may not read this repository, or there is none of this name.",
                f"Check the login in [docker_config] or [pull_secret] (docker login {self._host}), what it may read, "
                "and the name.",
                status=status,
            )
        if status in (401, 403):
            return RegistryError(
                f"image {reference}",
                f"{self._url} does not give access{said}: the repository is private, or does not exist (a registry "
                "does not tell which).",
                "Check the name; for a private one give [docker_config] or [pull_secret] with a login for "
                f"{self._host}.",
                status=status,
            )
        if status == 429:
            wait = plain(answer.headers.get("Retry-After", ""), 50)
            return RegistryError(
                registry,
                f"it limits the rate of requests{said}{f' (Retry-After: {wait})' if wait else ''}: the image was "
                "not looked at.",
                "Wait, or log in: registries give accounts a higher limit ([docker_config], [pull_secret]).",
                status=status,
            )
        return RegistryError(
            registry,
            f"it failed with HTTP status {status}{said}.",
            "Try again later; its operator's status page may know more.",
            status=status,
        )

    def _elsewhere(self, answer: Answer) -> RegistryError:
        """What is wrong where the registry sends on to: its storage as a rule, which knows no login of ours."""
        remedies = {
            401: "Name the image at that address, with a login for it: a login goes only where it is for.",
            404: "A part of the image is lost there: push it again, or take another tag.",
        }
        return RegistryError(
            self._named(answer.url),
            f"the registry sends on to there, and the answer is HTTP status {answer.status}{_said(answer)}.",
            remedies.get(
                answer.status,
                "Its operator must look at the storage behind it: a link that has expired is most often a wrong clock "
                "of the registry, one that is refused a wrong access key.",
            ),
            status=answer.status,
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


def _by_fitness(listed: Sequence[Entry], wanted: str) -> Iterator[Entry]:
    """The entries that may be for a platform: those that say so, the best first, then those that do not say."""
    ranked = [(rank, entry) for entry in listed if (rank := fits(entry.platform, wanted)) is not None]
    yield from (entry for _, entry in sorted(ranked, key=lambda one: one[0]))
    yield from (entry for entry in listed if not entry.platform)


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(f'{login.user}:{login.password}'.encode()).decode()}"


def _parsed(body: bytes) -> object:
    """The JSON value of a body; None where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _json(answer: Answer, reference: Reference) -> dict[str, Any]:
    parsed = _parsed(answer.body)
    if not isinstance(parsed, dict):
        raise RegistryError(
            f"image {reference}",
            f"{plain(urlsplit(answer.url).netloc, 100)} answered with something that is no JSON object.",
            "Is that address a registry? A captive portal or proxy answers like this.",
        )
    return parsed


def _digest(answer: Answer, reference: Reference, wanted: str) -> str:
    """The digest of what was answered. Raises ManifestError when another one was wanted."""
    algorithm = wanted.partition(":")[0] if DIGEST.fullmatch(wanted) else "sha256"
    digest = f"{algorithm}:{hashlib.new(algorithm, answer.body).hexdigest()}"
    if DIGEST.fullmatch(wanted) and digest != wanted:
        raise ManifestError(
            f"image {reference}",
            f"the registry answered with content of digest {digest} for {wanted}.",
            "The registry or a proxy before it is broken: do not use this image.",
        )
    return digest


def _said(answer: Answer) -> str:
    """The registry's own words, in parentheses."""
    parsed = _parsed(answer.body)
    errors = parsed.get("errors") if isinstance(parsed, dict) else None
    if not isinstance(errors, list):
        # S3 and what speaks like it (docs.aws.amazon.com/AmazonS3, "Error responses")
        fields = [re.search(rf"<{name}>([^<]{{1,300}})</{name}>".encode(), answer.body[:4096]) for name in _S3_ERROR]
        words = [plain(field[1].decode(errors="replace"), 200) for field in fields if field]
        return f" ({': '.join(words)})" if words else ""
    texts = [
        plain(f"{one.get('code', '')}: {one.get('message', '')}") for one in errors[:3] if isinstance(one, Mapping)
    ]
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
