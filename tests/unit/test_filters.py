"""What a filter refuses, as it gets to the operator through Ansible."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.conftest import play


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (
            "{{ {'a': 1} | portal.stt.handed }}",
            "portal_stt: is not what a play of this collection hands over. Run this after one of them, in a workflow; "
            "or give it to a run by hand: -e @FILE.",
        ),
        (
            "{{ {'settings': {'image': 'speaches_image'}} | portal.stt.speaches_objects('server', {'image': 'x y'}) }}",
            'the image: its registry gives a reference that is none: "x y". Look at what answers for the registry, '
            "or set speaches_image to a reference with its digest.",
        ),
    ],
)
def test_a_refusal_is_told_without_a_chain_of_its_causes(tmp_path: Path, template: str, said: str) -> None:
    """Ansible has a chain of its own, from the task to the value; each error behind ours would be one more link."""
    task = {"ansible.builtin.debug": {"msg": template}}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([{"hosts": "clusters", "gather_facts": False, "tasks": [task]}]))
    told = play(str(tmp_path / "play.yml")).output
    chain = told.split("<<< caused by >>>")
    assert len(chain) == 2, told
    assert " ".join(chain[1].partition("fatal:")[0].split()).count(said) == 1
