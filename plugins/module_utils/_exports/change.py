# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""An export made as intended: look, judge, and only then change."""

from __future__ import annotations

import posixpath
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from .._findings import Finding, Status
from . import directories
from . import publish as publishing
from .directories import Change, Directory
from .dry_run import Parsed, Run, Scene, dry_run
from .export import Export, ExportError, Table, check_intent, check_place, client_of
from .files import statements
from .host import HostFacts, gather, read_table, space_mib
from .judge import Judge, Trial


@dataclass(frozen=True)
class Intent:
    """What is wanted on the host. delete_data: the path again, where its content shall go as well."""

    export: Export
    present: bool
    directories: tuple[Directory, ...] = ()
    when_covered: str = "declare"
    allow_world: bool = False
    required_mountpoint: str = ""
    needed_mib: int = 0
    server_pending: bool = False
    delete_data: str = ""


@dataclass(frozen=True)
class Outcome:
    """What was found and done; `error` is set when the intent was refused or failed."""

    changed: bool = False
    findings: tuple[Finding, ...] = ()
    exports: Table = ()
    diff: tuple[dict[str, str], ...] = field(default=())
    error: ExportError | None = None


def intent_of(params: Mapping[str, Any]) -> Intent:
    """The intent in a module's parameters. Raises ExportError for a directory that cannot be meant."""
    path = params["path"]
    wanted = [_directory(path, each) for each in params["directories"] or ()]
    return Intent(
        export=Export(
            name=params["name"],
            path=path,
            clients=tuple(client_of(each["host"], each["options"]) for each in params["clients"] or ()),
            mountpoint=params["require_mountpoint"] or "",
        ),
        present=params["state"] == "present",
        directories=tuple(wanted),
        when_covered=params["when_covered"],
        allow_world=params["allow_world"],
        required_mountpoint=params["require_mountpoint"] or "",
        needed_mib=params["min_free_mib"],
        server_pending=params["server_pending"],
        delete_data=params["delete_data"] or "",
    )


def _directory(base: str, given: Mapping[str, Any]) -> Directory:
    inside, mode = given["path"], given["mode"]
    if inside != "." and (inside.startswith(("/", "..")) or posixpath.normpath(inside) != inside):
        raise ExportError(
            f"directories: {inside}",
            f"{inside!r} is not a plain path inside {base}.",
            "Write it relative to the export, as in 'hub', or '.' for the export itself.",
        )
    if not re.fullmatch(r"0[0-7]{3,4}", mode):  # YAML makes another number of 0755 without quotes
        raise ExportError(
            f"directories: {inside}",
            f"The mode {mode!r} is not octal.",
            "Write it in quotes and with a zero first, as in '0755'.",
        )
    path = base if inside == "." else f"{base}/{inside}"
    return Directory(path, given["owner"], given["group"], int(mode, 8))


def ensure(intent: Intent, run: Run, *, check_mode: bool) -> Outcome:
    """The host as intended, or the reasons why it was left as it is; in check mode what would be done."""
    subject = f"{intent.export.path} on {socket.gethostname()}"
    try:
        with publishing.one_at_a_time():
            return _ensure(intent, run, subject, check_mode)
    except ExportError as error:
        return Outcome(error=error)
    except OSError as error:
        what = f"The host could not be looked at: {error.filename or 'the export'}: {error.strerror}."
        return Outcome(
            error=ExportError(subject, what, "Correct that and run again: a run completes what is half done.")
        )


@dataclass(frozen=True)
class Look:
    """What was seen before anything is tried.

    wrong: what is wrong with the intent itself, whatever the host is like. own_text: our file's content, None without
    one. half_done: an earlier run was killed in the middle. space: MiB free and MiB below the path. changes: of
    directories. unfit: what stands in the way of those.
    """

    facts: HostFacts
    wrong: tuple[Finding, ...]
    own_text: str | None = None
    half_done: bool = False
    space: tuple[int, int] | None = None
    changes: tuple[Change, ...] = ()
    unfit: tuple[Finding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether the intent may be taken further."""
        return not _refused(self.wrong)


@dataclass(frozen=True)
class Attempt:
    """What was tried out: the dry runs, the text that our file shall have, and whether the table has to change."""

    trial: Trial
    text: str | None
    todo: bool


def _ensure(intent: Intent, run: Run, subject: str, check_mode: bool) -> Outcome:
    """The steps of docs/nfs.md: look, try out, judge, change, compare (the last two in publish.py)."""
    look = _look(intent, run, subject)
    attempt = _try_out(intent, run, look, subject)
    findings = _judge(intent, look, attempt, subject, check_mode)
    refused = _refused(findings)
    if refused:
        others = tuple(each for each in findings if each is not refused[0])
        return Outcome(findings=others, exports=look.facts.table, error=ExportError.of(refused))
    # Without a server there is nothing to try, and nothing of ours in its table.
    todo, text = (attempt.todo, attempt.text) if attempt else (False, None)
    deletes = bool(intent.delete_data) and directories.exists(intent.export.path)
    outcome = Outcome(
        changed=todo or bool(look.changes) or deletes,
        findings=tuple(findings),
        exports=look.facts.table,
        diff=_diff(intent.export.file, look.own_text, text, look.changes, intent.export.path if deletes else ""),
    )
    if check_mode or not outcome.changed:
        return outcome
    trial = attempt.trial if attempt and todo else None
    return _change(intent, run, look.facts, trial, text, look.changes, deletes, outcome)


def _look(intent: Intent, run: Run, subject: str) -> Look:
    """Reads the host; what is wrong with the intent is found first, because names and paths are followed here."""
    export = intent.export
    if intent.present:
        wrong = check_intent(export, subject=subject, allow_world=intent.allow_world)
    else:
        wrong = check_place(export, subject=subject)
    wrong += _misplaced_deletion(intent, subject)
    sound = not _refused(wrong)
    facts = gather(run, export.file, tuple(statements(export.file, export.text if sound and intent.present else "")))
    look = Look(facts, tuple(wrong))
    if not sound:
        return look
    look = replace(look, own_text=publishing.read(export.file), half_done=publishing.was_interrupted(export.file))
    if not intent.present:
        return look
    try:
        look = replace(look, space=space_mib(export.path))
        return replace(look, changes=tuple(directories.plan(intent.directories)))
    except ExportError as error:
        return replace(look, unfit=(error.finding,))


def _try_out(intent: Intent, run: Run, look: Look, subject: str) -> Attempt | None:
    """The dry runs; None where the intent or the host does not allow any."""
    facts = look.facts
    if not look.sound or facts.missing_tools or not facts.is_root:
        return None
    trial, text = _try(intent, run, facts, look.own_text, subject)
    return Attempt(trial, text, look.own_text != text or look.half_done or _differs(facts.table, trial))


def _judge(intent: Intent, look: Look, attempt: Attempt | None, subject: str, check_mode: bool) -> list[Finding]:
    """Everything that speaks for and against the change."""
    export, facts = intent.export, look.facts
    quiet = look.sound and not intent.present and look.own_text is None and not look.half_done
    judge = Judge(export, subject, changes_table=not quiet)
    findings = [*look.wrong, *judge.server(facts, pending=intent.server_pending and check_mode)]
    if intent.present:
        findings += judge.disk(facts, required=intent.required_mountpoint)
        if look.space:
            findings += judge.space(*look.space, needed=intent.needed_mib)
        findings += look.unfit
    if attempt:
        judge = Judge(export, subject, changes_table=attempt.todo)
        findings += _of_trial(judge, intent, look, attempt.trial)
    if look.sound and intent.delete_data:
        findings += _deletion(export.path, facts, attempt.trial.own if attempt else frozenset(), subject)
    return [*findings, *judge.files(facts)]


def _of_trial(judge: Judge, intent: Intent, look: Look, trial: Trial) -> Iterator[Finding]:
    """What the dry runs speak for and against."""
    facts, path = look.facts, intent.export.path
    coming = any(change.before is None and change.wanted.path == path for change in look.changes)
    yield from judge.candidate(facts, trial, coming=coming)
    yield from judge.rivals(facts, trial)
    if intent.present:
        yield from judge.roots(facts, trial)
        covering = judge.covering(facts, trial, intent.when_covered)
        yield from judge.covered(facts, covering, intent.when_covered)
    yield from judge.others(facts, trial)


def _change(
    intent: Intent,
    run: Run,
    facts: HostFacts,
    trial: Trial | None,
    text: str | None,
    changes: Sequence[Change],
    deletes: bool,
    outcome: Outcome,
) -> Outcome:
    table = facts.table
    try:
        directories.apply(changes)
        if trial:
            try:
                table = publishing.publish(
                    run,
                    intent.export.file,
                    text,
                    before=facts.table,
                    expected=trial.expected,
                    own=trial.own,
                    names=facts.names,
                )
            except ExportError:
                directories.undo(changes)
                raise
        if deletes:
            directories.delete(intent.export.path)
    except ExportError as error:
        served: Table = ()
        with suppress(ExportError):
            served = facts.names.table(read_table(run))
        return Outcome(findings=outcome.findings, exports=served, error=error)
    return Outcome(True, outcome.findings, table, outcome.diff)


def _try(intent: Intent, run: Run, facts: HostFacts, own_text: str | None, subject: str) -> tuple[Trial, str | None]:
    """The dry runs of the change, and the text that our file shall have."""
    export = intent.export
    name = f"{export.name}.exports"

    def scene(which: Scene, text: str) -> Parsed:
        return dry_run(run, which, name, text, state=facts.state, names=facts.names, subject=subject)

    without = scene(Scene.WITHOUT, "")
    text = export.text if intent.present else None
    if text is not None and intent.when_covered == "skip":
        probe = Trial(None, without, without, frozenset())
        if Judge(export, subject).covering(facts, probe, intent.when_covered):
            text = None
    alone = scene(Scene.ALONE, text) if text is not None else None
    together = scene(Scene.TOGETHER, text) if text is not None else without
    own = {entry.key for entry in alone.table} if alone else set()
    for earlier in {own_text, publishing.read(publishing.journal_of(export.file))} - {None, "", text}:
        own |= {entry.key for entry in scene(Scene.ALONE, earlier or "").table}
    return Trial(alone, together, without, frozenset(own)), text


def _differs(live: Table, trial: Trial) -> bool:
    """Whether the live table holds our entries otherwise than it should."""
    others = set(trial.without.table)
    ours = {entry for entry in live if entry.key in trial.own and entry not in others}
    return ours != set(trial.expected)


def _misplaced_deletion(intent: Intent, subject: str) -> list[Finding]:
    """What is wrong with the wish that data go, whatever the host looks like."""
    path = intent.export.path
    if not intent.delete_data:
        return []
    if intent.present:
        message = f"{path} is to be exported, and its data are to be deleted."
        remedy = "Delete data with state: absent only."
    elif intent.delete_data != path:
        message = f"The data of {path} are not deleted: {intent.delete_data} was named for deletion."
        remedy = "Repeat the path of the export exactly."
    else:
        return []
    return [Finding("nfs.delete", Status.REFUSED, subject, message, remedy)]


def _deletion(path: str, facts: HostFacts, own: frozenset[tuple[str, str]], subject: str) -> list[Finding]:
    """What on the host speaks against deleting what is below the path. own: keys of entries that go with it."""

    def refused(message: str, remedy: str, *evidence: str) -> Finding:
        return Finding("nfs.delete", Status.REFUSED, subject, message, remedy, evidence)

    findings = []
    mounted = [mount for mount in sorted(facts.mounts) if _is_within(mount, path)]
    if mounted:
        findings.append(
            refused(f"{path} is or holds a mountpoint; its data are not deleted.", "Unmount it first.", *mounted)
        )
    served = [entry for entry in facts.table if _is_within(entry.path, path) and entry.key not in own]
    if served:
        findings.append(
            refused(
                f"{path} is still exported by others; its data are not deleted.",
                "Remove these exports first.",
                *(str(entry) for entry in served),
            )
        )
    return findings


def _is_within(path: str, base: str) -> bool:
    return path == base or path.startswith(base + "/")


def _refused(findings: Sequence[Finding]) -> list[Finding]:
    return [each for each in findings if each.status is Status.REFUSED]


def _diff(
    file: str, before: str | None, after: str | None, changes: Sequence[Change], deleted: str
) -> tuple[dict[str, str], ...]:
    parts = []
    if before != after:
        parts.append((file, before or "", after or ""))
    if changes:
        lines = [change.lines for change in changes]
        parts.append(("directories", "".join(old for old, _ in lines), "".join(new for _, new in lines)))
    if deleted:
        parts.append(("directories", f"{deleted} with its content\n", f"{deleted} absent\n"))
    return tuple({"before_header": name, "after_header": name, "before": a, "after": b} for name, a, b in parts)
