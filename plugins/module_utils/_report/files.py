# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Where a report is kept, and how it gets there: whole or not at all, and for its owner alone."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import yaml

from .document import SCHEMA, Document
from .page import page

PAGE, DATA = "report.html", "report.json"
_FOLDER = "reports"
_ROOT = Path(__file__).parents[3]
_STRANGE = re.compile(r"[^\w.-]|^\.+")


def folder(given: str | None, sources: Sequence[str], cluster: str) -> Path:
    """Where the reports of a cluster are kept.

    given: the folder that is set, None for none: then beside the inventory. Not in its folder, of which Ansible reads
    every file as one more inventory. sources: the inventories of the run, as paths; cluster: its host's name.
    """
    own = _STRANGE.sub("-", cluster)[:100] or "-"
    if given is not None:
        return Path(os.path.expandvars(given)).expanduser().absolute() / own
    there = [Path(source).absolute() for source in sources if "," not in source and os.path.exists(source)]
    return (_beside(there[0]) if there else Path.cwd()) / _FOLDER / own


def _beside(inventory: Path) -> Path:
    """The folder beside an inventory's, also where one of its files is named."""
    parent = inventory.parent
    is_inside = any((parent / name).is_dir() for name in ("group_vars", "host_vars"))
    return parent.parent if inventory.is_file() and is_inside else parent


def write(document: Document, to: Path) -> Path:
    """The page and its data are there, the page last; gives the page's path. Raises OSError."""
    to.mkdir(mode=0o700, parents=True, exist_ok=True)
    data = json.dumps({"$schema": SCHEMA, **document}, ensure_ascii=False, indent=1)
    _put(to / DATA, f"{data}\n")
    _put(to / PAGE, page(document))
    return to / PAGE


def version() -> str:
    """Of this collection, as installed or as checked out; "" where neither tells."""
    for name, keys in (("MANIFEST.json", ("collection_info", "version")), ("galaxy.yml", ("version",))):
        with contextlib.suppress(OSError, yaml.YAMLError, KeyError, TypeError):
            found = yaml.safe_load((_ROOT / name).read_text(encoding="utf-8"))
            for key in keys:
                found = found[key]
            return str(found)
    return ""


def _put(path: Path, content: str) -> None:
    """The file, in one step: who opens it finds the old one or the new one. A link in its place is replaced."""
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        os.replace(scratch, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            scratch.unlink()
