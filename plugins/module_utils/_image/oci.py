# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""References, tags, indexes and configurations of container images: what can be said without asking a registry.

Reference grammar: github.com/distribution/reference. Index and config: opencontainers/image-spec.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from .._findings import CollectionError, Finding, Status
from .._text import plain

DOCKER_HUB = "docker.io"
INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)

DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_REGISTRY = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?")
_PRE = r"-?(?:rc|alpha|beta)(?:[.-]?\d+)?|[ab]\d+"
_PARTS = re.compile(rf"v?(?P<release>\d+(?:\.\d+)*)(?P<pre>{_PRE})?(?:-(?P<variant>[A-Za-z].*))?")
_COMMIT = re.compile(r"(?:(?:sha|git|commit)-[0-9a-f]{7,64}|[0-9a-f]{40})(?:-(?P<variant>.+))?")
_COMPAT = re.compile(r"cuda-compat-(\d{1,3})-(\d{1,3})")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]{8,20}(?:Z|[+-]\d\d:\d\d)")
# CUDA's libraries as Python packages, in the step of a Dockerfile that installs them.
_WHEEL = re.compile(r"\bnvidia-(?:cublas|cudnn|cuda-runtime|cuda-nvrtc|cufft)(?:-cu\d{1,2})?(?:[=~<>]=[0-9.]{1,30})?")
_ATTESTS = "vnd.docker.reference.type"  # annotation of a build's attestation, which is no image
_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "armhf": "arm",
    "armel": "arm",
}
_PLAIN_VARIANTS = {"amd64": "v1", "arm64": "v8", "arm": "v7"}  # what an architecture without a variant stands for
_ENTRIES_MOST = 4096


class ReferenceInvalidError(CollectionError):
    """The image reference cannot be read."""

    check = "image.reference"


class ManifestError(CollectionError):
    """The registry's answer is not what a node could run."""

    check = "image.manifest"


@dataclass(frozen=True)
class Reference:
    """An image reference with its defaults filled in, as docker does: docker.io, library/, latest."""

    registry: str
    repository: str
    tag: str
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


@dataclass(frozen=True)
class Tag:
    """A tag's parts: ``0.9.0-rc.3-cuda-12.6.3`` is release 0.9.0, pre -rc.3, variant cuda-12.6.3.

    A tag without a version (``latest-cuda``, ``sha-24f209c``) has an empty release.
    """

    text: str
    release: str
    pre: str
    variant: str

    @property
    def version(self) -> str:
        """What all variants of one release share: ``0.9.0-rc.3``."""
        return self.release + self.pre if self.release else self.text.removesuffix(self.variant).rstrip("-")

    @property
    def moving(self) -> bool:
        """Whether the tag names neither a full release nor a commit, so that another image may take its place."""
        return self.release.count(".") < 2 and not _COMMIT.fullmatch(self.text)

    @property
    def family(self) -> str:
        """``cuda`` of ``cuda-12.6.3``."""
        return re.split(r"[-.]?\d", self.variant, maxsplit=1)[0]

    @property
    def order(self) -> tuple[tuple[int, ...], bool, tuple[tuple[bool, int, str], ...], tuple[int, ...]]:
        """A key that sorts by release, then as semver does (alpha, beta, rc, final), then by the variant's version."""
        words = re.findall(r"\d{1,18}|[a-z]+", self.pre)
        pre = tuple((False, int(word), "") if word.isdigit() else (True, 0, word) for word in words)
        return _numbers(self.release), not self.pre, pre, _numbers(self.variant)


@dataclass(frozen=True)
class Image:
    """An image as its registry describes it, for one platform.

    digest: what to pin: the index's where there is one. manifest_digest: the platform's own manifest.
    platforms: all that the index offers (``linux/amd64``). size: compressed bytes to pull.
    cuda_version: as the environment says. cuda_compat: version of the forward-compatibility package in it, empty
    for none, None where neither environment nor history tells. cuda_wheels: CUDA's libraries that came in as Python
    packages, as far as the history names them (``nvidia-cublas-cu12==12.8.4.1``).
    """

    reference: str
    registry: str
    repository: str
    tag: str
    digest: str
    manifest_digest: str
    media_type: str
    platform: str
    platforms: tuple[str, ...]
    env: Mapping[str, str]
    user: str
    labels: Mapping[str, str]
    created: str
    size: int
    cuda_version: str
    cuda_compat: str | None
    cuda_wheels: tuple[str, ...] = ()

    @property
    def pinned(self) -> str:
        """The reference with the digest in place of the tag's promise."""
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.registry}/{self.repository}{tag}@{self.digest}"

    def as_result(self) -> dict[str, Any]:
        """The image as a module returns it."""
        return {
            **asdict(self),
            "pinned": self.pinned,
            "platforms": list(self.platforms),
            "env": dict(self.env),
            "labels": dict(self.labels),
            "cuda_wheels": list(self.cuda_wheels),
        }


@dataclass(frozen=True)
class Entry:
    """What an index lists: a digest, and the platform that it says it is for; empty where it does not say."""

    digest: str
    platform: str


@dataclass(frozen=True)
class Login:
    """User and password, or an identity token (an OAuth2 refresh token) in place of both."""

    user: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


def parse_reference(text: str) -> Reference:
    """The reference that docker and containerd understand by a text.

    Raises ReferenceInvalidError.
    """
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost") and _REGISTRY.fullmatch(first):
        registry, path = DOCKER_HUB if first == "index.docker.io" else first, rest
    else:
        registry, path = DOCKER_HUB, text
    match = _REFERENCE.fullmatch(path)
    port = registry.rpartition(":")[2]
    if not match or (":" in registry and port.isdecimal() and not 0 < int(port[:6]) < 65536):
        raise ReferenceInvalidError(
            f"image {plain(text)!r}",
            "this is no image reference.",
            "Write registry/repository:tag or registry/repository@sha256:…, all lower case before the tag.",
        )
    name = match["name"]
    if registry == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return Reference(registry, name, tag, match["digest"] or "")


def parse_tag(text: str) -> Tag:
    """A tag's parts; never fails: what has neither version nor commit is all variant."""
    commit = _COMMIT.fullmatch(text)
    if commit:
        return Tag(text, "", "", commit["variant"] or "")
    match = _PARTS.fullmatch(text)
    if match:
        return Tag(text, match["release"], match["pre"] or "", match["variant"] or "")
    moving = re.fullmatch(r"(?:latest|main|master|nightly|edge)(?:-(.+))?", text)
    return Tag(text, "", "", (moving[1] or "") if moving else text)


def proposals(wanted: str, tags: Iterable[str], count: int = 3) -> list[str]:
    """The tags most like one that does not exist, newest first: of its kind, then of its release."""
    asked = parse_tag(wanted)
    known = [parse_tag(tag) for tag in tags]
    numbered = [tag for tag in known if tag.release]
    alike = [tag for tag in numbered if tag.variant == asked.variant]
    family = [tag for tag in numbered if tag.family == asked.family]
    siblings = [tag for tag in numbered if asked.release and tag.version == asked.version]
    ranked: dict[str, None] = {}
    for group in (siblings, alike, family, known):
        closest = sorted(group, key=lambda tag: (tag.family == asked.family, tag.order, tag.text), reverse=True)
        ranked.update((tag.text, None) for tag in closest)
    return list(ranked)[:count]


def variants_of(wanted: str, tags: Iterable[str]) -> list[str]:
    """The published tags of the same release and family, the wanted one too; newest CUDA first, unversioned ahead.

    ``0.9.0-rc.3-cuda`` gives itself, ``…-cuda-12.6.3`` and ``…-cuda-12.4.1``.
    """
    asked = parse_tag(wanted)
    same = [
        tag
        for tag in map(parse_tag, tags)
        if tag.version == asked.version and tag.family == asked.family and tag.moving == asked.moving
    ]
    same.sort(key=lambda tag: (tag.text == wanted, not _numbers(tag.variant), tag.order), reverse=True)
    return [tag.text for tag in same]


def media_type(manifest: Mapping[str, Any]) -> str:
    """A manifest's media type. OCI lets it be left out: the members tell."""
    given = manifest.get("mediaType")
    if isinstance(given, str) and given:
        return given
    if "manifests" in manifest:
        return INDEX_TYPES[0]
    return MANIFEST_TYPES[0] if "layers" in manifest else ""


def is_image(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is that of a container image, not of a signature, a chart or an attestation."""
    config = manifest.get("config")
    return (
        media_type(manifest) in MANIFEST_TYPES
        and isinstance(config, Mapping)
        and config.get("mediaType") in CONFIG_TYPES
    )


def entries(index: Mapping[str, Any], reference: str) -> list[Entry]:
    """What of an index may be an image or an index of images: attestations and other things are left out.

    A platform may be missing (image-spec, image-index.md: OPTIONAL); `unknown` in it stands for no image.

    Raises ManifestError for an index that lists nothing that can be read.
    """
    listed = index.get("manifests")
    found: list[Entry] = []
    unread = 0
    for one in listed[:_ENTRIES_MOST] if isinstance(listed, list) else ():
        platform = one.get("platform") if isinstance(one, Mapping) else None
        digest = one.get("digest") if isinstance(one, Mapping) else None
        if not isinstance(digest, str) or not DIGEST.fullmatch(digest) or not isinstance(platform, Mapping | None):
            unread += 1
            continue
        annotations = one.get("annotations")
        attests = isinstance(annotations, Mapping) and _ATTESTS in annotations
        if attests or one.get("mediaType", "") not in ("", None, *INDEX_TYPES, *MANIFEST_TYPES):
            continue
        named = platform_of(platform or {})
        if "unknown" not in named.split("/"):
            found.append(Entry(digest, named))
    if not found and (unread or (listed and not isinstance(listed, list))):
        raise ManifestError(
            f"image {reference}",
            "its index has no entry that can be read.",
            "The registry or what pushed the image is broken: push it again, or take another tag.",
        )
    return found


def platform_of(entry: Mapping[str, Any]) -> str:
    """``linux/arm/v7`` of an index entry's platform or of an image's configuration; empty without operating system."""
    parts = [entry.get(name) for name in ("os", "architecture", "variant")]
    words = [part if isinstance(part, str) and _WORD.fullmatch(part) else "" for part in parts]
    return "/".join(word for word in words if word) if words[0] else ""


def fits(platform: str, wanted: str) -> int | None:
    """How well an image for a platform runs on a wanted one: 0 best; None for not at all.

    As containerd's platforms.Only has it: ``linux/arm64`` is ``linux/arm64/v8``, and an arm processor also runs the
    code of older ones.
    """
    has, needs = _normal(platform), _normal(wanted)
    if has[:2] != needs[:2] or not has[0]:
        return None
    if has[2] == needs[2]:
        return 0
    older = re.fullmatch(r"v([0-9])", has[2]), re.fullmatch(r"v([0-9])", needs[2])
    if not (older[0] and older[1]):
        return None
    distance = int(older[1][1]) - int(older[0][1])
    return distance if distance > 0 else None


def _normal(platform: str) -> tuple[str, str, str]:
    system, architecture, variant, *_ = (*platform.lower().split("/"), "", "")
    architecture = _ARCHITECTURES.get(architecture, architecture)
    return system, architecture, variant or _PLAIN_VARIANTS.get(architecture, "")


def unbuilt(wanted: str, offered: Iterable[str], reference: str) -> ManifestError:
    """What to say of an image that is not built for a platform."""
    known = [platform for platform in offered if platform]
    return ManifestError(
        f"image {reference}",
        f"it is not built for {wanted}, only for {', '.join(known[:20]) or 'no platform at all'}.",
        "Set [platform] to one of these, or take an image that is built for the nodes.",
    )


def read_image(
    reference: Reference,
    digest: str,
    manifest_digest: str,
    manifest: Mapping[str, Any],
    config: Mapping[str, Any],
    offered: Sequence[str],
) -> Image:
    """The image of a manifest and its config blob: of them what has the type that it should have."""
    settings = _mapping(config.get("config"))
    env = dict(entry.split("=", 1) for entry in _texts(settings.get("Env")) if "=" in entry)
    labels = {name: value for name, value in _mapping(settings.get("Labels")).items() if isinstance(value, str)}
    layers = [_mapping(layer).get("size") for layer in _list(manifest.get("layers"))]
    created = config.get("created")
    platform = platform_of(config)
    steps = _texts(_mapping(step).get("created_by") for step in _list(config.get("history")))
    return Image(
        reference=str(reference),
        registry=reference.registry,
        repository=reference.repository,
        tag=reference.tag,
        digest=digest,
        manifest_digest=manifest_digest,
        media_type=media_type(manifest),
        platform=platform,
        platforms=tuple(offered) or (platform,),
        env=env,
        user="".join(_texts([settings.get("User")])),
        labels=labels,
        created=created if isinstance(created, str) and _TIME.fullmatch(created) else "",
        size=sum(size for size in layers if type(size) is int and size > 0),
        cuda_version=env.get("CUDA_VERSION", ""),
        cuda_compat=_compat(env, steps),
        cuda_wheels=tuple(dict.fromkeys(wheel for step in steps for wheel in _WHEEL.findall(step))),
    )


def findings(image: Image, reference: Reference) -> list[Finding]:
    """What the operator should know of an image that was found."""
    subject = f"image {reference}"
    found = [Finding("image.digest", Status.OK, subject, f"is {image.digest} ({', '.join(image.platforms)}).")]
    tag = parse_tag(reference.tag)
    if not reference.digest and tag.moving:
        moves = (
            "may stand for a series of releases: a later one would overwrite it, and then it is no pin."
            if tag.release
            else "names no release: the next one will overwrite it, and it is no pin."
        )
        found.append(
            Finding(
                "image.tag",
                Status.WARNING,
                subject,
                f"{reference.tag} {moves}",
                f"Name a release (0.9.0-rc.3-cuda), or the digest: {image.pinned}",
            )
        )
    return found


def credentials(config: Mapping[str, Any], reference: Reference) -> Login | None:
    """The login that a docker configuration holds for a repository; the longest path wins, a plain host over a glob.

    Keys: ``ghcr.io``, ``https://ghcr.io/v1/``, ``registry:5000/team``, ``*.azurecr.io``. Hosts match as the kubelet
    has it (kubernetes pkg/credentialprovider/keyring.go).
    """
    found: list[tuple[int, bool, Login]] = []
    for key, entry in (config.get("auths") or {}).items():
        host, _, path = re.sub(r"^https?://", "", key).partition("/")
        path = re.sub(r"^v[12](/|$)", "", path).rstrip("/")
        login = read_login(entry)
        matches = not path or f"{reference.repository}/".startswith(f"{path}/")
        if login and matches and _same_host(hub_name(host), hub_name(reference.registry)):
            found.append((len(path), "*" not in host, login))
    return max(found, key=lambda one: one[:2])[2] if found else None


def read_login(entry: object) -> Login | None:
    """The login in one entry of a docker configuration; None for an entry without one that can be read."""
    if not isinstance(entry, Mapping):
        return None
    user, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if not user:
        try:
            user, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
        except (TypeError, ValueError):
            colon = ""
        user = user if colon else ""
    # Docker's helpers give an identity token as the password of the user <token>.
    token = str(entry.get("identitytoken") or (password if user == "<token>" else ""))
    if token:
        return Login(identity_token=token)
    return Login(user, password) if user else None


def hub_name(host: str) -> str:
    """The registry's name in references: Docker Hub's has several hosts."""
    return DOCKER_HUB if host in ("index.docker.io", "registry-1.docker.io") else host


def _same_host(key: str, host: str) -> bool:
    """Label by label, so that no ``*`` stands for a dot, and with the same port."""
    if key == host:
        return True
    (globs, _, wanted), (name, _, port) = key.partition(":"), host.partition(":")
    labels, names = globs.split("."), name.split(".")
    return wanted == port and len(labels) == len(names) and all(map(fnmatchcase, names, labels))


def _mapping(given: object) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {}


def _list(given: object) -> Sequence[Any]:
    return given if isinstance(given, list) else ()


def _texts(given: object) -> list[str]:
    return [one for one in given if isinstance(one, str)] if isinstance(given, Iterable) else []


def _compat(env: Mapping[str, str], steps: Sequence[str]) -> str | None:
    """The cuda-compat package of nvidia/cuda images: named by the environment up to 12.4, later by the history."""
    match = _COMPAT.search(" ".join([env.get("NV_CUDA_COMPAT_PACKAGE", ""), *steps]))
    if match:
        return f"{match[1]}.{match[2]}"
    # A history that shows how CUDA came in, without that package, shows that it is not there.
    return "" if any("cuda-cudart" in step for step in steps) else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d{1,18}", text))
