# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""What is on an NFS host, read and not changed."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .dry_run import TOOLS, Run
from .export import EXPORTS, EXPORTS_D, Entry, ExportError, Table, parse_table, unescaped
from .files import Statement, host_names, is_mistyped, locate, statements
from .names import Names, is_name, resolve


@dataclass(frozen=True)
class HostFacts:
    """An NFS host, as far as an export depends on it.

    missing_tools: commands that a change needs and the host lacks. threads: of the kernel's server, 0 when it
    does not run. versions: as in /proc/fs/nfsd/versions (``+4``, ``-3``). answering: rpc.mountd, which answers
    the kernel's questions, runs. state: state directory of exportfs. state_free: bytes left there.
    table: what is served. known: statements of all export files but our own. ignored: files in
    /etc/exports.d that export something, and that exportfs does not read. unreadable: export files with the reason.
    immutable: which of our file and /etc/exports.d nobody can change. mounts: mountpoints.
    names: what the host's resolver says of the clients in the files and in the table.
    """

    is_root: bool
    missing_tools: tuple[str, ...]
    threads: int
    versions: tuple[str, ...]
    answering: bool
    state: str
    state_free: int
    table: Table
    known: tuple[Statement, ...]
    ignored: tuple[str, ...]
    unreadable: tuple[str, ...]
    immutable: tuple[str, ...]
    mounts: frozenset[str]
    names: Names

    def mount_of(self, path: str) -> str:
        """The mountpoint that holds the path."""
        while path not in self.mounts and path != "/":
            path = os.path.dirname(path)
        return path

    def where(self, entry: Entry) -> str:
        """Where the entry is declared, or that no file declares it."""
        return locate(entry, self.known, self.names)


def gather(run: Run, own_file: str, own_hosts: Iterable[Statement]) -> HostFacts:
    """The host's facts. own_file: left out of `known`; own_hosts: our statements, to resolve their names."""
    missing = tuple(tool for tool in TOOLS if not shutil.which(tool, path=TOOL_PATH))
    known, ignored, unreadable = _read_files(own_file)
    state = _state_directory(run) if not missing else "/var/lib/nfs"
    table = read_table(run) if not missing else ()
    listed = {entry.client for entry in table if is_name(entry.client)}
    names = resolve(host_names((*known, *own_hosts)) | listed)
    return HostFacts(
        is_root=os.geteuid() == 0,
        missing_tools=missing,
        threads=int(_proc("/proc/fs/nfsd/threads") or 0),
        versions=tuple(_proc("/proc/fs/nfsd/versions").split()),
        answering=_runs("rpc.mountd", "nfsv4.exportd"),
        state=state,
        state_free=_free(state),
        table=names.table(table),
        known=tuple(known),
        ignored=tuple(ignored),
        unreadable=tuple(unreadable),
        immutable=tuple(path for path in (own_file, EXPORTS_D) if _is_immutable(path)),
        mounts=_mounts(_proc("/proc/self/mountinfo")),
        names=names,
    )


_LARGEST = 2**24  # characters of an export file
TOOL_PATH = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


def read_table(run: Run) -> Table:
    """The export table as rpc.mountd answers the kernel from it. Raises ExportError when it cannot be read."""
    done = run(["exportfs", "-s"], "")
    if done.rc:
        raise ExportError(
            socket.gethostname(),
            f"The export table cannot be read: exportfs -s ended with {done.rc}.",
            "Make `exportfs -s` work on the host first.",
            evidence=tuple(done.err.splitlines()[:3]),
        )
    return parse_table(done.out)


def space_mib(path: str) -> tuple[int, int]:
    """MiB that a user may fill where the path is or will be, and MiB that already lie below it."""
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    disk = os.statvfs(there)
    used = 0
    if there == path:
        for folder, _, names in os.walk(path):
            for name in names:
                with suppress(FileNotFoundError):
                    used += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return disk.f_bavail * disk.f_frsize // 2**20, used // 2**20


def _read_files(own_file: str) -> tuple[list[Statement], list[str], list[str]]:
    known: list[Statement] = []
    ignored: list[str] = []
    unreadable: list[str] = []
    folder = Path(EXPORTS_D)
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    for file in (Path(EXPORTS), *files):
        if str(file) == own_file or file.name.startswith("."):
            continue
        read = file.parent != folder or file.suffix == ".exports"
        if file.exists() and not file.is_file():
            continue  # as exportfs does; a pipe would keep its reader waiting
        try:
            with file.open(encoding="utf-8", errors="surrogateescape") as opened:
                text = opened.read(_LARGEST)
        except FileNotFoundError as error:
            if read and file.is_symlink():
                unreadable.append(f"{file}: {error.strerror}")
        except OSError as error:
            if read:
                unreadable.append(f"{file}: {error.strerror}")
        else:
            if read:
                known += statements(str(file), text)
            elif is_mistyped(file.name, text):
                ignored.append(str(file))
    return known, ignored, unreadable


def _state_directory(run: Run) -> str:
    """Where exportfs keeps its table: nfs.conf may move it (exportfs.c read_exportfs_conf)."""
    for section in ("mountd", "exportd"):
        done = run(["nfsconf", "--get", section, "state-directory-path"], "")
        if done.rc == 0 and done.out.strip():
            return done.out.strip()
    return "/var/lib/nfs"


def _proc(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape").strip()
    except OSError:
        return ""


def _mounts(mountinfo: str) -> frozenset[str]:
    return frozenset(unescaped(line.split()[4]) for line in mountinfo.splitlines())


def _runs(*names: str) -> bool:
    return any(_proc(f"/proc/{pid}/comm") in names for pid in os.listdir("/proc") if pid.isdigit())


_GETFLAGS = 0x80086601  # FS_IOC_GETFLAGS of linux/fs.h
_IMMUTABLE = 0x10  # FS_IMMUTABLE_FL


def _is_immutable(path: str) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(fcntl.ioctl(handle, _GETFLAGS, b"\0" * 8)[0] & _IMMUTABLE)
    except OSError:
        return False
    finally:
        os.close(handle)


def _free(path: str) -> int:
    try:
        found = os.statvfs(path)
    except OSError:
        return 0
    return found.f_bfree * found.f_frsize
