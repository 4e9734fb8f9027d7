# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""The change of the live table: written, exported, compared; or all as it was.

A journal beside the file holds its previous content from before the first write until the comparison is done.
A run that is killed in between leaves it, and the next run exports again whatever the file says by then.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

from .dry_run import Complaint, Run, complaints
from .export import EXPORTS_D, ExportError, Table, difference
from .host import read_table
from .names import Names


@contextmanager
def one_at_a_time(
    path: str = "/etc", patience: float = 60.0, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold the host's export files for this run alone; waits for another run, at most `patience` seconds."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for waited in range(int(patience * 5) + 1):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if waited == int(patience * 5):
                    raise ExportError(
                        path,
                        f"Another run has been changing the exports for {patience:.0f} seconds.",
                        "Wait until it has ended, then run again; nothing was changed.",
                    ) from None
                sleep(0.2)
        yield
    finally:
        os.close(handle)


def read(path: str) -> str | None:
    """The file's text, None where there is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None


def journal_of(file: str) -> str:
    """Where the previous content waits while a change is under way; exportfs reads no hidden file."""
    return f"{EXPORTS_D}/.{os.path.basename(file)}.previous"


def was_interrupted(file: str) -> bool:
    """Whether an earlier run was killed in the middle of a change."""
    return os.path.lexists(journal_of(file)) or os.path.lexists(_draft_of(file))


def publish(
    run: Run,
    file: str,
    text: str | None,
    *,
    before: Table,
    expected: Table,
    own: Collection[tuple[str, str]],
    names: Names,
) -> Table:
    """The table as it is served after `file` holds `text` (None: after it is gone).

    before: the table as it was. expected: our entries as they have to be served.
    own: keys of entries that are ours to change; all others have to stay as they are. names: what clients mean.
    Raises ExportError after the previous content is back and exported again.
    """
    journal = read(journal_of(file))
    previous = (read(file) if journal is None else journal) or None
    made = not os.path.isdir(EXPORTS_D)
    try:
        if made:
            os.mkdir(EXPORTS_D, 0o755)
        _replace(journal_of(file), previous or "")
        _put(file, text)
    except OSError as error:
        with suppress(OSError):
            _put(file, previous)
        _forget(file, made)
        raise ExportError(
            file,
            f"The file could not be written: {error.strerror}. Nothing was changed.",
            "Look at the file system of /etc (full, read-only, immutable?) and run again.",
        ) from error
    done = run(["exportfs", "-ra"], "")
    try:
        after = names.table(read_table(run))
    except ExportError as error:
        _roll_back(run, file, previous, names, before=before, made=made, evidence=(error.message, *error.evidence))
    said = tuple(str(each) for each in complaints(done.err) if done.rc and _concerns(each, file, expected))
    missing = tuple(f"not served as intended: {entry}" for entry in expected if entry not in after)
    problems = (*difference(before, after, own=own).lines, *missing, *said)
    if problems:
        _roll_back(run, file, previous, names, before=before, made=made, evidence=problems)
    _forget(file, made=False)
    return after


def _concerns(complaint: Complaint, file: str, expected: Table) -> bool:
    """Whether exportfs complains about us, as that the file system of a new directory cannot be exported."""
    paths = {re.escape(entry.path) for entry in expected}
    return complaint.file == file or any(re.search(rf"(^|\s){path}([\s:]|$)", complaint.text) for path in paths)


def _roll_back(
    run: Run, file: str, previous: str | None, names: Names, *, before: Table, made: bool, evidence: tuple[str, ...]
) -> NoReturn:
    try:
        _put(file, previous)
    except OSError as error:
        raise ExportError(
            file,
            f"Serving this file went wrong, and its previous content could not be restored: {error.strerror}.",
            f"Restore it from {journal_of(file)}, then run `exportfs -ra`.",
            evidence=evidence,
        ) from error
    done = run(["exportfs", "-ra"], "")
    try:
        left = difference(before, names.table(read_table(run))).lines
    except ExportError as error:
        raise ExportError(
            file,
            "Serving this file went wrong; its previous content is back, and whether all is served as before cannot "
            "be seen.",
            error.remedy,
            evidence=(*evidence, *error.evidence),
        ) from error
    if left:
        raise ExportError(
            file,
            "Serving this file went wrong; its previous content is back, but these exports are not as before:",
            "Run `exportfs -ra` on the host and compare `exportfs -s`.",
            evidence=(*left, *(str(each) for each in complaints(done.err)), *evidence),
        )
    _forget(file, made)
    raise ExportError(
        file,
        "The kernel's table was not as intended with this file; its previous content is back and served as before.",
        "Correct what is named here and run again.",
        evidence=evidence,
    )


def _put(file: str, text: str | None) -> None:
    if text is None:
        with suppress(FileNotFoundError):
            os.unlink(file)
        _sync_directory()
    elif read(file) != text:
        _replace(file, text)


def _replace(file: str, text: str) -> None:
    """Write the file so that whoever looks, also after a power loss, sees all of the old or all of the new."""
    draft = _draft_of(file)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    with open(handle, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        out.write(text)
        out.flush()
        os.fchmod(handle, 0o644)
        os.fsync(handle)
    os.replace(draft, file)
    _sync_directory()


def _draft_of(file: str) -> str:
    return f"{EXPORTS_D}/.{os.path.basename(file).lstrip('.')}.draft"


def _sync_directory() -> None:
    handle = os.open(EXPORTS_D, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _forget(file: str, made: bool) -> None:
    for leftover in (_draft_of(file), _draft_of(journal_of(file)), journal_of(file)):
        with suppress(OSError):
            os.unlink(leftover)
    if made:
        with suppress(OSError):
            os.rmdir(EXPORTS_D)
