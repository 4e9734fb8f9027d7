"""docs/modules.md: each playbook runs as it stands there, and says what stands below it. README: so does a refusal.

The images are those of the lab, under the names of the page: a registry's mirror is the lab's registry. The export is
made on a stand-in for the host, because a playbook needs one that it can log in to.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from lab import api, registry, simulated
from tests.conftest import ROOT, play
from tests.integration.nfs_host import stand_in

_PLAYBOOK = re.compile(r"```yaml\n# (?P<name>\S+)\n(?P<playbook>.*?)```\n.*?```text\n(?P<says>.*?)```", re.DOTALL)
_PASSING = re.compile(r"sha256:\w+|(?<=frigate-)[0-9a-f]+(?=-)|(?<= on )\S+(?=: 1024 MiB)|\*{3,}")
PAGE = {found["name"]: found for found in _PLAYBOOK.finditer((ROOT / "docs/modules.md").read_text())}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def words(text: str) -> str:
    """Without what differs from run to run and from machine to machine, and without the ends of lines."""
    return " ".join(_PASSING.sub("…", text).split())


@pytest.fixture(scope="module")
def ollama() -> None:
    """The image that the page names, in the lab's registry: it states no requirement of its own."""
    base = f"http://{registry.ADDRESS}/v2/ollama/ollama"
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin"]}}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    begun = requests.post(f"{base}/blobs/uploads/", timeout=10)
    requests.put(begun.headers["Location"], params={"digest": digest}, data=config, timeout=10).raise_for_status()
    described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": []}
    put = requests.put(f"{base}/manifests/0.12.3", json=manifest, headers={"Content-Type": MANIFEST}, timeout=10)
    put.raise_for_status()


MIRRORED = [f"http://{registry.ADDRESS}"]
RUNS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "ollama.yml": ("driver-470", {"ollama_mirrors": {"docker.io": MIRRORED}}, False),
    "frigate.yml": ("t4", {}, False),
    "tag.yml": ("t4", {"mirrors": {"ghcr.io": MIRRORED}}, True),
    "llm.yml": ("t4", {}, False),
}
"""Playbook → the nodes of lab/nodes/ that it meets, variables for the lab, whether it goes well."""


@pytest.fixture(scope="module", autouse=True)
def nodes_of_the_page_alone() -> Iterator[None]:
    """The lab's own node, where it runs, is no GPU node meanwhile; afterwards it is again the only one."""
    mark, path = "nvidia.com/gpu.present", "/api/v1/nodes"
    found = api.call("GET", path, labelSelector=f"{mark},!lab.portal-stt/simulated")["items"]
    real = [one["metadata"] for one in found]
    for one in real:
        api.call("PATCH", f"{path}/{one['name']}", {"metadata": {"labels": {mark: None}}})
    yield
    simulated.replace(None)
    for one in real:
        api.call("PATCH", f"{path}/{one['name']}", {"metadata": {"labels": {mark: one["labels"][mark]}}})


@pytest.fixture
def frigate_goes() -> Iterator[None]:
    yield
    api.call("DELETE", "/api/v1/namespaces/frigate", accept=(404,))


def test_every_playbook_of_the_page_is_run() -> None:
    assert set(PAGE) == {*RUNS, "photos.yml"}


@pytest.mark.usefixtures("frigate_goes", "ollama")
@pytest.mark.parametrize("name", RUNS)
def test_a_playbook_says_what_the_page_says(name: str, tmp_path: Path) -> None:
    nodes, variables, well = RUNS[name]
    simulated.replace(simulated.FILES / f"{nodes}.yml")
    (tmp_path / name).write_text(PAGE[name]["playbook"])
    played = play(str(tmp_path / name), "-e", json.dumps(variables))
    assert PAGE[name]["says"].count("\n") > 4
    assert words(PAGE[name]["says"]) in words(played.output), played.output
    assert (played.rc == 0) is well, played.output


def test_the_readme_shows_a_refusal_as_it_is() -> None:
    simulated.replace(simulated.FILES / "driver-470.yml")
    variables = {
        "speaches_image": "ghcr.io/speaches-ai/speaches:0.9.0-rc.3-cuda",
        "speaches_registry": {"mirrors": {"ghcr.io": MIRRORED}},
        "speaches_gpu": {"node_selector": {"lab.portal-stt/simulated": "true"}},
    }
    played = play("playbooks/preflight.yml", "--limit", "clusters", "-e", json.dumps(variables))
    (shown,) = re.findall(r"```text\n(Preflight\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    title, *findings = re.split(r"^(?=[√×])", shown, flags=re.MULTILINE)
    for one in [title, *findings]:
        assert words(one) in words(played.output), played.output
    assert [one[0] for one in findings] == ["√", "√", "√", "×"]
    assert played.rc != 0
    assert max(map(len, shown.splitlines())) <= 100


def test_the_export_of_the_page_is_made_beside_others() -> None:
    (task,) = yaml.safe_load(PAGE["photos.yml"]["playbook"])[0]["tasks"]
    params = task["portal.stt.nfs_export"]
    with stand_in("bookworm") as host:
        host.reset()
        before = host.table
        crowded = host.run(**{**params, "min_free_mib": 1 << 20})
        assert (crowded.verdict, words(crowded.message)) == ("refused", words(PAGE["photos.yml"]["says"]))
        assert host.table == before
        assert [host.run(**params).verdict for _ in range(2)] == ["changed", "unchanged"]
        assert set(before) < set(host.table)
        assert {entry.path for entry in set(host.table) - set(before)} == {params["path"]}
