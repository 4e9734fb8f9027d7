# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module util is private to the collection. It can change at any time.
"""Whether an object is still what this run has declared, and who has changed it otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from .._kubernetes.objects import Object, below, entries, number, same_template, text, uid
from .back import MANAGER
from .seen import Target


@dataclass(frozen=True)
class Change:
    """What somebody else did to it. who: the field manager. evidence: the API server's figures."""

    who: str
    what: str
    evidence: str

    def __str__(self) -> str:
        other = "another run" if self.who == MANAGER else "somebody else"
        by = f"{other} (field manager {self.who})" if self.who else "somebody else"
        return f"It is no longer what this run declared: {by} {self.what}."


def template_of(target: Target, raw: Object) -> Object | None:
    """The template that was declared, if the object is still at the declared generation."""
    found = number(below(raw, "metadata").get("generation"))
    return below(raw, "spec", "template") if target.generation and found == target.generation else None


def foreign(target: Target, raw: Object, template: Object | None) -> Change | None:
    """What somebody else has changed; None while it is what was declared, or nothing is known of what was.

    raw: as the API server has it now. template: as declared, None if it was not seen. Another number of replicas is
    no change: an autoscaler may set it.
    """
    if target.uid and uid(raw) != target.uid:
        return Change(_last(raw, "metadata"), "deleted it and made it anew", f"uid {uid(raw)}, declared {target.uid}")
    found = number(below(raw, "metadata").get("generation"))
    if not target.generation or found <= target.generation:
        return None
    same = _only_scaled(raw) if template is None else same_template(template, below(raw, "spec", "template"))
    evidence = f"generation {found}, declared {target.generation}"
    return None if same else Change(_last(raw, "template"), "changed it", evidence)


def _managers(raw: Object, part: str) -> list[tuple[str, str]]:
    """When each field manager last set something, and its name; part: `spec`, `template` or anything."""
    found = []
    for one in entries(raw, "metadata", "managedFields"):
        fields = below(one, "fieldsV1")
        sets = {"spec": "f:spec" in fields, "template": "f:template" in below(fields, "f:spec")}
        if one.get("subresource") != "status" and sets.get(part, True):
            found.append((text(one.get("time")), text(one.get("manager"))))
    return sorted(found, key=lambda entry: (entry[0], entry[1] != MANAGER))


def _last(raw: Object, part: str) -> str:
    """Who has set it last: of two within one second, the other."""
    found = _managers(raw, part)
    return found[-1][1] if found else ""


def _only_scaled(raw: Object) -> bool:
    """Whether the newest generation is explained by somebody who sets fields beside the template alone."""
    template = _managers(raw, "template")
    if not template or template[-1][1] != MANAGER:
        return not template
    beside = [entry for entry in _managers(raw, "spec") if entry not in template]
    return any(when >= template[-1][0] for when, _ in beside)
