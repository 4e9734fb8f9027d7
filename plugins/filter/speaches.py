# Copyright: (c) 2026, the portal.stt maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the role's variables to the objects of the server. The decisions are in module_utils/_speaches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._speaches import manifests, models, rbac
from ansible_collections.portal.stt.plugins.module_utils._speaches.manifests import Object, Scripts
from ansible_collections.portal.stt.plugins.module_utils._speaches.models import Found
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import Settings, text
from ansible_collections.portal.stt.plugins.module_utils._things import told

Raw = Mapping[str, Any]
Answer = TypeVar("Answer")

CLIP = Path("../verify/files/clips/en.wav")
"""What the warm probe says, from the role's folder."""


def completed(given: Raw) -> dict[str, Any]:
    return _explained(given, lambda settings: settings.completed())


def local_copies(given: Raw) -> list[dict[str, Any]]:
    return _explained(
        given,
        lambda settings: [
            {"model": one.model, "path": one.path, "imported": one.imported}
            for one in models.copies(settings, read=False)
        ],
    )


def objects(given: Raw, part: str, found: Raw | None = None) -> list[Object]:
    return _explained(given, lambda settings: _PARTS[part](settings, found or {}))


def seed_again(given: Raw, found: Raw) -> bool:
    return _explained(given, lambda settings: models.seed_again(Found.of(found, settings)))


def _base(settings: Settings, found: Raw) -> list[Object]:
    Found.of(found, settings)  # what is there is looked at before anything is written
    return [*manifests.base(settings, _scripts(found)), *_secret(settings)]


def _secret(settings: Settings) -> list[Object]:
    one = manifests.secret(settings)
    return [one] if one else []


def _seed(settings: Settings, found: Raw) -> list[Object]:
    return [manifests.seed_job(settings, Found.of(found, settings), models.copies(settings), _scripts(found))]


def _server(settings: Settings, found: Raw) -> list[Object]:
    return manifests.server(settings, Found.of(found, settings))


def _later(settings: Settings, found: Raw) -> list[Object]:
    """What a run applies after the base, as far as it is known before the seed Job has run."""
    job = _seed(settings, found) if settings.model_source != "hub" else []
    return [*job, *_server(settings, found)]


def _all(settings: Settings, found: Raw) -> list[Object]:
    return [*_base(settings, found), *_later(settings, found)]


def _account(settings: Settings, found: Raw) -> list[Object]:
    return rbac.account(settings)


def _standing(settings: Settings, found: Raw) -> list[Object]:
    return [manifests.namespace(settings), manifests.persistent_volume(settings)]


_PARTS: dict[str, Callable[[Settings, Raw], list[Object]]] = {
    "all": _all,
    "absent": lambda settings, _: manifests.absent(settings),
    "account": _account,
    "fillable": lambda settings, _: manifests.fillable(settings),
    "later": _later,
    "leftover": lambda settings, _: manifests.leftover(settings),
    "report": lambda settings, _: [manifests.report(settings)],
    "standing": _standing,
    "unwanted": lambda settings, _: manifests.unwanted(settings),
    "base": _base,
    "seed": _seed,
    "server": _server,
    "sources": lambda settings, _: rbac.sources(settings),
}


def _scripts(found: Raw) -> Scripts:
    role = Path(text(found["role"]))
    seed, warm = ((role / "files" / name).read_text().rstrip() for name in ("seed.py", "warm.py"))
    return Scripts(seed, warm, (role / CLIP).read_bytes())


def _explained(given: Raw, answer: Callable[[Settings], Answer]) -> Answer:
    try:
        return answer(Settings.of({name: given[name] for name in given if name != "settings"}))
    except CollectionError as error:
        raise AnsibleFilterError(told(str(error), given.get("settings") or {})) from None


class FilterModule:
    """The filters of the collection."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "speaches_local_copies": local_copies,
            "speaches_objects": objects,
            "speaches_seed_again": seed_again,
            "speaches_settings": completed,
        }
