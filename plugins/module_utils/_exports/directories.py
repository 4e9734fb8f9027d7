# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The directories of an export: owner, group and mode, without ever following a symlink.

Each directory is reached from the root by descriptors that refuse symlinks, so that nobody who can write on
the share can lead us elsewhere between the look and the change. What lies inside is never touched.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .export import ExportError

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Directory:
    """A directory as it is wanted: absolute path, numeric owner and group, permission bits."""

    path: str
    owner: int
    group: int
    mode: int


@dataclass(frozen=True)
class Change:
    """A directory that has to be made or corrected; `before` is None where it does not exist."""

    wanted: Directory
    before: Directory | None
    has_acl: bool = False

    @property
    def lines(self) -> tuple[str, str]:
        """The state before and after, for a diff."""
        before = _line(self.before) if self.before else f"{self.wanted.path} absent\n"
        return before, _line(self.wanted)


def _line(directory: Directory) -> str:
    return f"{directory.path} {directory.owner}:{directory.group} {directory.mode:04o}\n"


def plan(wanted: Sequence[Directory]) -> list[Change]:
    """What has to change, in order. Raises ExportError for a symlink, a file in the way, a missing parent."""
    changes: list[Change] = []
    coming: set[str] = set()
    for directory in wanted:
        change = _change(directory, coming)
        if change:
            changes.append(change)
            if change.before is None:
                coming.add(directory.path)
    return changes


def _change(wanted: Directory, coming: set[str]) -> Change | None:
    if os.path.dirname(wanted.path) in coming:
        return Change(wanted, None)
    with opened(os.path.dirname(wanted.path)) as parent:
        try:
            handle = _enter(parent, wanted.path)
        except FileNotFoundError:
            return Change(wanted, None)
    try:
        found = os.fstat(handle)
        has_acl = _has_acl(handle)
    finally:
        os.close(handle)
    before = Directory(wanted.path, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    if has_acl:  # the group bits of the mode are then the mask of the ACL, which is the administrator's
        wanted = Directory(wanted.path, wanted.owner, wanted.group, before.mode)
    return Change(wanted, before, has_acl) if before != wanted else None


def apply(changes: Sequence[Change]) -> None:
    """Make the changes; a call that fails leaves the directories as they were."""
    begun: list[Change] = []
    try:
        for change in changes:
            begun.append(change)
            _apply(change)
    except ExportError:
        undo(begun)
        raise
    except OSError as error:
        undo(begun)
        raise ExportError(
            change.wanted.path,
            f"The directory could not be made or corrected: {error.strerror}. Nothing was exported.",
            "Look at the file system (full, read-only, immutable?) and run again.",
        ) from error


def _apply(change: Change) -> None:
    wanted = change.wanted
    with opened(os.path.dirname(wanted.path)) as parent:
        if change.before is None:
            os.mkdir(os.path.basename(wanted.path), wanted.mode, dir_fd=parent)
        handle = _enter(parent, wanted.path)
    try:
        if change.before is None or (change.before.owner, change.before.group) != (wanted.owner, wanted.group):
            os.fchown(handle, wanted.owner, wanted.group)
        inherited = change.before is None and _has_acl(handle)  # the parent's default ACL has had its say at mkdir
        if not inherited and (change.before is None or change.before.mode != wanted.mode):
            os.fchmod(handle, wanted.mode)
    finally:
        os.close(handle)


def undo(changes: Sequence[Change]) -> None:
    """Owner, group and mode as before; directories that did not exist go, unless one holds something by now."""
    for change in reversed(changes):
        with suppress(OSError, ExportError):
            if change.before is not None:
                _apply(Change(change.before, change.wanted))
                continue
            with opened(os.path.dirname(change.wanted.path)) as parent:
                os.rmdir(os.path.basename(change.wanted.path), dir_fd=parent)


def delete(path: str) -> None:
    """Remove a directory with all that is in it. Raises ExportError for what cannot be removed, as a mountpoint."""
    try:
        with opened(os.path.dirname(path)) as parent:
            os.close(_enter(parent, path))
            shutil.rmtree(os.path.basename(path), dir_fd=parent)
    except OSError as error:
        raise ExportError(
            path,
            f"It is no longer exported, but not all of it could be deleted: {error.strerror}.",
            "Look at what is left (immutable, in use?) and run again.",
        ) from error


def exists(path: str) -> bool:
    """Whether the directory is there. Raises ExportError for a symlink on the way or a file in its place."""
    try:
        with opened(os.path.dirname(path)) as parent:
            os.close(_enter(parent, path))
    except FileNotFoundError:
        return False
    return True


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of an existing directory. Raises ExportError for a symlink or a missing part."""
    handle = os.open("/", _OPEN)
    reached = ""
    try:
        for part in path.split("/"):
            if not part:
                continue
            reached = f"{reached}/{part}"
            try:
                inner = _enter(handle, reached)
            except FileNotFoundError as error:
                raise ExportError(
                    reached,
                    f"The directory {reached} does not exist, so {path} cannot be entered.",
                    "Make it, or mount the disk that holds it, or correct the path.",
                ) from error
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _enter(parent: int, path: str) -> int:
    name = os.path.basename(path)
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        try:
            target = os.readlink(name, dir_fd=parent)
        except OSError:
            raise ExportError(
                path, f"{path} is a file where a directory is expected.", "Move it away, or correct the path."
            ) from error
        raise ExportError(
            path,
            f"{path} is a symlink to {target}; a symlink is never followed, it could lead out of the share.",
            "Name the directory itself, or replace the symlink with a directory.",
        ) from error


def _has_acl(handle: int) -> bool:
    try:
        return bool(os.getxattr(handle, "system.posix_acl_access"))
    except OSError:
        return False
