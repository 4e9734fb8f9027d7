# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Which models at which revisions: wanted, served, planned, seeded; and what is read back about them, checked.

What comes from the cluster or a registry is looked at here for what it may be, before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._findings import CollectionError
from .settings import Model, Settings, text

MODELS = "portal-stt/models"
"""Annotation of the server's pods: ``MODEL@REVISION`` of each model, with blanks between."""

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
"""A commit of git, by sha1 or sha256. A local copy's revision is a sha1 of its content."""

_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?", re.ASCII)
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/\[\]-]*@sha(?:256:[0-9a-f]{64}|512:[0-9a-f]{128})")
_CHUNK = 1 << 20


class ReadBackError(CollectionError):
    """Something read back from the cluster or a registry that is not what it may be."""

    check = "run.readback"


# ---- what is read back


@dataclass(frozen=True)
class Serving:
    """The server as it is. revisions: model → revision, of those whose revision is known; ready: ready pods."""

    revisions: Mapping[str, str] = field(default_factory=dict)
    ready: int = 0


@dataclass(frozen=True)
class Found:
    """What the tasks have found, checked.

    image: the image's reference with its digest, empty before it is resolved.
    seeded: the models as the seed Job put them on the volume; empty where it has not said.
    planning: whether nothing is to be changed, so that no seed Job can have run for these settings.
    """

    image: str = ""
    serving: Serving = Serving()
    seeded: tuple[Model, ...] = ()
    planning: bool = False

    @classmethod
    def of(cls, raw: Mapping[str, Any], settings: Settings) -> Found:
        """Raises ReadBackError. raw: `image`, `deployed` (a list of Deployments), `seeded` (text) and `planning`."""
        return cls(
            image=pinned_image(raw.get("image")),
            serving=serving(raw.get("deployed") or (), settings),
            seeded=seeded(raw.get("seeded"), settings),
            planning=raw.get("planning") is True,
        )


def pinned_image(reference: Any) -> str:
    """An image's reference with a digest; empty for none. Raises ReadBackError."""
    named = text(reference)
    if named and not _PINNED.fullmatch(named):
        raise ReadBackError(
            "the image",
            f"its registry gives a reference that is none: {_shown(named)}.",
            "Look at what answers for the registry, or set [image] to a reference with its digest.",
        )
    return named


def serving(deployments: Iterable[Any], settings: Settings) -> Serving:
    """What the server's Deployment says, if there is one. Raises ReadBackError."""
    revisions: dict[str, str] = {}
    ready = 0
    for one in deployments:
        said = _at(one, "spec", "template", "metadata", "annotations", MODELS)
        for entry in text(said).split():
            model, at, revision = entry.partition("@")
            if not (at and _NAME.fullmatch(model) and (not revision or _COMMIT.fullmatch(revision))):
                raise ReadBackError(
                    f"Deployment {settings.namespace}/{settings.name}",
                    f"the annotation {MODELS} of its pods has {_shown(entry)}, which is no MODEL@COMMIT.",
                    f"Look who has written it, and remove it: kubectl -n {settings.namespace} edit deployment "
                    f"{settings.name}. The next run writes it anew.",
                )
            if revision:
                revisions[model] = revision
        counted = _at(one, "status", "readyReplicas")
        ready += counted if isinstance(counted, int) else 0
    return Serving(revisions, ready)


def seeded(message: Any, settings: Settings) -> tuple[Model, ...]:
    """The models that the seed Job's last words name, in the order of the settings; none for no words.

    Raises ReadBackError unless they are the models that are wanted, each at a commit, which is the wanted one where a
    commit is wanted. A revision may be empty: it is then not known, and the volume's own counts.
    """
    said = text(message)
    if not said:
        return ()
    revisions = _told(said, settings)
    for wanted in settings.models:
        if wanted.model not in revisions:
            raise _untrue(settings, f"{wanted.model} is not in it")
        found = revisions[wanted.model]
        if _COMMIT.fullmatch(wanted.revision) and found != wanted.revision:
            raise _untrue(settings, f"{wanted.model} is at {found or 'no revision'}, and {wanted.revision} is wanted")
    return tuple(replace(one, revision=revisions[one.model]) for one in settings.models)


def _told(message: str, settings: Settings) -> dict[str, str]:
    """Model → revision as the seed Job says."""
    try:
        entries = json.loads(message)["models"]
        told = [(entry["model"], entry["revision"]) for entry in entries]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _untrue(settings, f"it is not what the Job's script writes: {_shown(message)}") from None
    wanted = {one.model for one in settings.models}
    for model, revision in told:
        if not isinstance(model, str) or model not in wanted:
            raise _untrue(settings, f"it names a model that was not wanted: {_shown(model)}")
        if not isinstance(revision, str) or (revision and not _COMMIT.fullmatch(revision)):
            raise _untrue(settings, f"{model} has a revision that is no commit: {_shown(revision)}")
    return dict(told)


def _untrue(settings: Settings, what: str) -> ReadBackError:
    return ReadBackError(
        f"the seed Job of {settings.namespace}/{settings.name}",
        f"its result cannot be believed: {what}.",
        f"Look at the hub ([hub.endpoint]) and at who may write to Jobs, then have it run again: kubectl -n "
        f"{settings.namespace} delete jobs -l app.kubernetes.io/component=seed,app.kubernetes.io/part-of="
        f"{settings.name}",
    )


def _shown(value: Any) -> str:
    """What was read, on one line, in plain characters and cut short."""
    shown = json.dumps(value, default=lambda one: type(one).__name__)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


# ---- what is decided


def served(settings: Settings, found: Found) -> tuple[Model, ...]:
    """The models as they are served: another revision is seen in the diff, and restarts the server.

    At the revisions that the seed Job has put on the volume; where it has not said so, at those that are set. A plan,
    for which no new Job can have run, takes a revision that is not set from what serves.
    """
    if found.seeded:
        return found.seeded
    if not found.planning:
        return settings.models
    kept = found.serving.revisions
    return tuple(replace(one, revision=one.revision or kept.get(one.model, "")) for one in settings.models)


def pinned(settings: Settings, found: Found) -> tuple[Model, ...]:
    """Those of them whose revision the pods name; of the others the volume's own counts."""
    return tuple(one for one in served(settings, found) if one.revision) if settings.model_source != "hub" else ()


def seed_again(found: Found) -> bool:
    """Whether a seed Job that is done is done again: where nothing serves, the volume may have lost what it had."""
    return found.serving.ready == 0


def folder(model: str) -> str:
    """A model's name as the hub's cache has it, without ``models--``."""
    return model.replace("/", "--")


def digest(settings: Settings, value: str) -> str:
    """Tells one secret from another. Salted and cut short, so that nobody looks it up."""
    salted = f"{settings.namespace}/{settings.name}/{value}"
    return hashlib.sha256(salted.encode(errors="surrogatepass")).hexdigest()[:8]


def digests(settings: Settings, names: Iterable[str]) -> str:
    """As `digest`, of several values of the Secret by their keys; empty for none."""
    values = settings.secrets()
    chosen = {key: values[key] for key in sorted(names) if key in values}
    return digest(settings, json.dumps(chosen)) if chosen else ""


# ---- local copies


@dataclass(frozen=True)
class Copy:
    """A model's copy on the controller. digest: of its content, empty where there is nothing to read."""

    model: str
    path: str
    directory: bool
    digest: str = ""

    @property
    def imported(self) -> str:
        """Its name in the folder ``import`` of the export."""
        return folder(self.model) + ("" if self.directory else ".archive")


def copies(settings: Settings, *, read: bool = True) -> tuple[Copy, ...]:
    """The local copies that are asked for, as they are on this machine; nothing else is looked at.

    read: whether for their digests, too. Raises ReadBackError.
    """
    wanted = settings.models if settings.model_source == "local" else ()
    return tuple(_copy(one, read) for one in wanted if one.local)


def _copy(wanted: Model, read: bool) -> Copy:
    path = Path(wanted.local)
    try:
        return Copy(wanted.model, wanted.local, path.is_dir(), _content(path) if read else "")
    except (OSError, ValueError) as error:
        raise ReadBackError(
            f"the local copy {_shown(wanted.local)}",
            f"cannot be read: {getattr(error, 'strerror', None) or error}.",
            "Correct the path, or make it readable for the user that runs the play.",
        ) from error


def _content(path: Path) -> str:
    """sha256 over the file, or over the files of a folder with a model in it; empty for neither."""
    if path.is_file():
        files = [path]
    elif (path / "model.bin").is_file():
        files = sorted(one for one in path.iterdir() if one.is_file())
    else:
        return ""
    listing = "".join(f"{_sha256(one)}  {one.name}\n" for one in files)
    return hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
