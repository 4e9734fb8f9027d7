# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Files that root puts on an export, where its clients may write at the same time.

Each folder is reached by descriptors that refuse symlinks, and a file is written under a name of its own before it
takes its place: nobody leads us elsewhere between the look and the copy, and what stood there is never written into.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .directories import Change, Directory, apply, opened, plan
from .export import ExportError
from .publish import one_at_a_time

_FOLDER, _FILE = 0o755, 0o644
_PARTIAL = ".portal-stt-"
_PATIENCE_S = 600
_CHUNK = 1 << 20
_IN_THE_WAY = "Remove it, look who may write to the share, and run again."


@dataclass(frozen=True)
class Wanted:
    """A file as it is wanted: its path in the export, sha256, and where its content lies, empty for not here yet."""

    path: str
    digest: str
    source: str = ""

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


@dataclass(frozen=True)
class Share:
    """An export, and the numeric user and group to whom the files in it belong."""

    path: str
    owner: int
    group: int


def listed(source: Path, to: str) -> list[tuple[Path, Wanted]]:
    """The file, or the files of a folder, each with what it becomes at the path `to` of an export. Raises ExportError.

    Links are followed here: a folder of the hub's cache consists of them.
    """
    try:
        found = [(source, to)]
        if source.is_dir():
            found = [(one, f"{to}/{one.name}") for one in sorted(source.iterdir()) if one.is_file()]
        return [(one, Wanted(path, _digest(one))) for one, path in found]
    except OSError as error:
        raise ExportError(
            str(source),
            f"cannot be read: {error.strerror}.",
            "Correct the path, or make it readable for the user that runs the play.",
        ) from error


def missing(share: Share, files: Sequence[Wanted], *, to_come: bool = False) -> tuple[list[Change], list[Wanted]]:
    """The folders to make or correct, and the files that are not there as they are wanted.

    to_come: the export itself may not be there yet. Raises ExportError for a symlink or anything else in their place
    that is neither folder nor file.
    """
    folders = _folders(share, files)
    if to_come and not os.path.lexists(share.path):
        return [Change(folder, None) for folder in folders], list(files)
    changes = plan(folders)
    new = {change.wanted.path for change in changes if change.before is None}
    needed: list[Wanted] = []
    for folder, inside in _by_folder(share, files):
        if folder in new:
            needed += inside
            continue
        with opened(folder) as handle:
            needed += [file for file in inside if not _is_there(handle, share, file)]
    return changes, needed


def put(share: Share, files: Sequence[Wanted]) -> tuple[list[Change], list[Wanted]]:
    """What was `missing`, and is there now; one run at a time, of which a later one completes an earlier.

    Raises ExportError, as `missing` does, and for what cannot be written.
    """
    with opened(share.path):  # is no symlink
        pass
    with one_at_a_time(share.path, _PATIENCE_S):
        changes, needed = missing(share, files)
        apply(changes)
        for folder, inside in _by_folder(share, needed):
            with opened(folder) as handle:
                _sweep(handle)
                for file in inside:
                    _write(handle, share, file)
    return changes, needed


def _folders(share: Share, files: Sequence[Wanted]) -> list[Directory]:
    """The folders below the export, each after its parent."""
    names = {str(parent) for file in files for parent in Path(file.path).parents} - {"."}
    return [Directory(f"{share.path}/{name}", share.owner, share.group, _FOLDER) for name in sorted(names)]


def _by_folder(share: Share, files: Sequence[Wanted]) -> Iterator[tuple[str, list[Wanted]]]:
    for folder, inside in groupby(sorted(files, key=lambda file: file.path), key=lambda file: file.folder):
        yield f"{share.path}/{folder}".rstrip("/"), list(inside)


def _is_there(folder: int, share: Share, file: Wanted) -> bool:
    path = f"{share.path}/{file.path}"
    try:
        handle = os.open(file.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise ExportError(path, f"{path} cannot be read: {error.strerror}.", _IN_THE_WAY) from error
        with suppress(OSError):
            target = os.readlink(file.name, dir_fd=folder)
            said = f"{path} is a symlink to {target}; a symlink is never followed, it could lead out of the share."
            raise ExportError(path, said, _IN_THE_WAY) from error
        return False  # it has gone meanwhile
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ExportError(path, f"{path} is in the way: it is no file.", _IN_THE_WAY)
        as_wanted = (share.owner, share.group, _FILE)
        if (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) != as_wanted:
            return False
        with os.fdopen(handle, "rb", closefd=False) as found:
            return hashlib.file_digest(found, "sha256").hexdigest() == file.digest
    finally:
        os.close(handle)


def _write(folder: int, share: Share, file: Wanted) -> None:
    partial = f"{_PARTIAL}{uuid.uuid4().hex}"
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
        with os.fdopen(handle, "wb") as target, open(file.source, "rb") as source:
            digest = hashlib.sha256()
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                target.write(chunk)
            target.flush()
            os.fchown(handle, share.owner, share.group)
            os.fchmod(handle, _FILE)
            os.fsync(handle)
        if digest.hexdigest() != file.digest:
            raise ExportError(
                f"{share.path}/{file.path}",
                "its content has changed while it was copied.",
                "Let the copy on the controller be written to its end, and run again.",
            )
        os.rename(partial, file.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        raise ExportError(
            f"{share.path}/{file.path}",
            f"The file could not be written: {error.strerror}.",
            "Look at the file system (full, read-only?) and who else writes there, then run again.",
        ) from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=folder)


def _sweep(folder: int) -> None:
    """Removes what a run that was killed has left of ours."""
    for name in os.listdir(folder):
        if name.startswith(_PARTIAL):
            with suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
