"""Remedies name what is to be set: by its variable where a role has said so, by itself otherwise."""

from __future__ import annotations

import pytest
from ansible_collections.portal.stt.plugins.module_utils._things import told


@pytest.mark.parametrize(
    ("settings", "right"),
    [
        (
            {"when_covered": "nfs_export_when_covered"},
            "Set nfs_export_when_covered: skip, see [1] and [other].",
        ),
        ({}, "Set when_covered: skip, see [1] and [other]."),
        ({"when_covered": "[when_covered]"}, "Set [when_covered]: skip, see [1] and [other]."),
    ],
)
def test_a_remedy_names_the_variable_or_the_thing(settings: dict[str, str], right: str) -> None:
    assert told("Set [when_covered]: skip, see [1] and [other].", settings) == right
