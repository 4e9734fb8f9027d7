"""The playbooks with settings that are refused: all is told at once, no secret is shown, nobody is contacted."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret

from tests.conftest import Played, play

BAD = Path(__file__).parent / "bad.yml"
FILE = BAD.relative_to(Path.cwd()) if BAD.is_relative_to(Path.cwd()) else BAD
NAME = "Use lower-case letters, digits, - and dots, with a letter or digit at both ends of each part, at most 253 "
TEMPLATE = "Correct the template; text that is none, such as a key with {{ in it, is written as: !unsafe 'TEXT'."
SAID = [
    f'speaches_namespace ({FILE}:3): "kube-system" is a namespace of the cluster itself, which would get this '
    "server's labels and Pod Security. Choose a namespace of the server's own.",
    f'speaches_labels.app ({FILE}:6): YAML reads 1.10 as the number 1.1. Put it in quotes: "1.10".',
    f"speaches_context ({FILE}:11): needs the variable nowhere, which is not defined. Define nowhere.",
    f"speaches_hub.token ({FILE}:8): has a template that cannot be filled in. {TEMPLATE}",
    f"speaches_hub.environment.HTTPS_PROXY ({FILE}:8): is a list, where text is meant. Write one text.",
    f'speaches_volume.size ({FILE}:4): YAML reads 1:30 as the number 90. Put it in quotes: "1:30".',
    f'speaches_volume.path ({FILE}:4): "/srv/../../etc" is no plain absolute path. Write it from the root, without '
    "'.', '..', double or trailing slashes; '/' itself will not do.",
    f'speaches_volume.server ({FILE}:4): "…@127.0.0.1" is no host name or address. Write the name or address alone, '
    "as in 192.168.1.127 or nas.lan: no user, password, port or path.",
    f'speaches_volume.mount_options[0] ({FILE}:4): "soft\\nhard" is not one mount option. Write each option as its '
    "own item, without commas or blanks.",
    f'speaches_gpu.priority_class ({FILE}:9): "x\\n      hostNetwork: true" is no name that Kubernetes takes. {NAME}'
    "characters.",
    f'speaches_resources.cpu ({FILE}:5): YAML reads 010 as the number 8. Put it in quotes: "010".',
    f"speaches_environment ({FILE}:10): has a key that YAML reads as the truth value false. Put the key in quotes.",
    f"speaches_environment.API_KEY ({FILE}:10): is not set here. Use speaches_api_key, which is kept in a Secret.",
    f"speaches_environment.DEBUG ({FILE}:10): is a truth value, where text is meant. Put it in quotes.",
    f"speaches_api_key ({FILE}:7): has a template that cannot be filled in. {TEMPLATE}",
    f"speaches_seed_seconds ({FILE}:12): has a template that cannot be filled in. {TEMPLATE}",
    f"speaches_modle ({FILE}:2): is a variable that nobody reads. Did you mean speaches_model?",
]


class Listener:
    """A port of this machine at which everything is to be found that a playbook could contact."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.was_contacted = False
        threading.Thread(target=self._hang_up, daemon=True).start()

    def _hang_up(self) -> None:
        """On whoever calls, so that nobody waits for an answer."""
        with contextlib.suppress(OSError):  # it is closed
            while True:
                self.socket.accept()[0].close()
                self.was_contacted = True


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.socket.shutdown(socket.SHUT_RDWR)
    one.socket.close()


def run(playbook: str, listener: Listener, folder: Path, *args: str) -> Played:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{listener.port}"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [cluster],
        "contexts": [context],
        "current-context": "c",
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig | {"users": [{"name": "u", "user": {}}]}))
    hosts = {"ansible_host": "127.0.0.1", "ansible_port": listener.port, "ansible_timeout": 3}
    extra = hosts | {"speaches_image": f"127.0.0.1:{listener.port}/speaches-ai/speaches:1"}
    environment = {"K8S_AUTH_KUBECONFIG": str(folder / "kubeconfig")}
    return play(f"playbooks/{playbook}.yml", "-e", json.dumps(extra), *args, environment=environment)


def lines(played: Played) -> list[str]:
    return [line.strip() for line in played.output.splitlines()]


@pytest.mark.parametrize("playbook", ["storage", "deploy", "verify", "teardown", "rbac"])
def test_all_is_told_at_once_and_nothing_is_done(playbook: str, listener: Listener, tmp_path: Path) -> None:
    played = run(playbook, listener, tmp_path, "-e", f"@{BAD}", "-vvv")
    told = lines(played)
    assert played.rc == 2
    assert told.count("17 settings are refused, and nothing was done:") == sum(
        counts["failed"] for counts in played.recap.values()
    )
    assert [line for line in SAID if line not in told] == []
    assert "sesame" not in played.output
    assert played.changed == 0
    assert not listener.was_contacted


def test_a_preflight_reports_them_with_the_rest(listener: Listener, tmp_path: Path) -> None:
    """The NFS host's own settings are sound: it is looked at, and found to be away."""
    played = run("preflight", listener, tmp_path, "-e", f"@{BAD}", "-vvv", "-l", "clusters")
    told = lines(played)
    assert played.rc == 2
    assert "Preflight: 1 cannot tell, 17 refused" in "\n".join(told)
    both = {" ".join(pair).replace(" → ", " ") for pair in itertools.pairwise(told)}
    assert [line for line in SAID if not any(one.endswith(f"  {line}") for one in both)] == []
    unseen = "lab: was not looked at, because settings that say where to look are refused. Correct them, and run again."
    assert any(one.endswith(f"  {unseen}") for one in both)
    assert "sesame" not in played.output
    assert not listener.was_contacted


def test_a_mistyped_variable_does_not_keep_a_preflight_from_the_rest(listener: Listener, tmp_path: Path) -> None:
    played = run("preflight", listener, tmp_path, "-e", json.dumps({"speaches_modle": "a/b", "nfs_export_pth": "/x"}))
    assert played.rc == 2
    told = lines(played)
    for wrong, right in (("speaches_modle", "speaches_model"), ("nfs_export_pth", "nfs_export_path")):
        (at,) = (n for n, line in enumerate(told) if line.endswith(f"  {wrong}: is a variable that nobody reads."))
        assert told[at + 1] == f"→ Did you mean {right}?"
    assert any(line[1:].startswith(" cluster.") for line in told), played.output
    assert listener.was_contacted


def test_lines_beside_one_that_is_wrong_are_not_shown(listener: Listener, tmp_path: Path) -> None:
    """Where Ansible itself finds a template that fails, it prints the lines around it."""
    (tmp_path / "vars.yml").write_text('speaches_api_key: sesame\npreflight_probe_image: "{{ nowhere }}"\n')
    played = run("preflight", listener, tmp_path, "-e", f"@{tmp_path / 'vars.yml'}", "-vvv")
    told = f"preflight_probe_image ({tmp_path / 'vars.yml'}:2): needs the variable nowhere, which is not defined."
    assert told in " ".join(played.output.split())
    assert "sesame" not in played.output


def test_values_are_what_ansible_makes_of_them(tmp_path: Path) -> None:
    """From a vault, from a template, from the command line, and text that looks like a template and is none."""
    secret = VaultLib([("default", VaultSecret(b"password"))]).encrypt(b"sesame").decode()
    indented = "".join(f"  {line}\n" for line in secret.splitlines())
    (tmp_path / "vars.yml").write_text(
        f"speaches_api_key: !vault |\n{indented}"
        'speaches_hub: {token: !unsafe "a{{b", environment: {WORKERS: 80, NO_PROXY: "{{ speaches_name }}"}}\n'
        "speaches_models: \"{{ [{'model': 'a/b'}] }}\"\n"
        "speaches_startup_seconds: \"{{ '60' }}\"\n"
    )
    task = {"portal.stt.settings_check": {"roles": ["nfs_export", "preflight", "speaches", "verify"]}}
    hosts = {"hosts": "clusters", "gather_facts": False, "vars_files": [str(tmp_path / "vars.yml")], "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([hosts]))
    (tmp_path / "password").write_text("password")
    environment = {"ANSIBLE_VAULT_PASSWORD_FILE": str(tmp_path / "password")}
    arguments = ["-e", "speaches_replicas=2", "-e", "speaches_rollback=no", "-e", "speaches_name=stt"]
    played = play(str(tmp_path / "play.yml"), *arguments, environment=environment)
    assert played.rc == 0, played.output
    played = play(str(tmp_path / "play.yml"), "-vvv", "-e", "speaches_replicas=two", environment=environment)
    assert 'speaches_replicas: is "two", where a whole number is meant.' in " ".join(played.output.split())
    assert "sesame" not in played.output


def test_what_cannot_be_decrypted_or_counted_is_told_with_the_rest(tmp_path: Path) -> None:
    secret = VaultLib([("default", VaultSecret(b"password"))]).encrypt(b"sesame").decode()
    indented = "".join(f"  {line}\n" for line in secret.splitlines())
    aliases = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True))
    (tmp_path / "vars.yml").write_text(
        f"speaches_api_key: !vault |\n{indented}a: &a [x]\n{aliases}speaches_network: {{cidrs: *h}}\n"
        "speaches__given: {}\npreflight_results: []\n"
    )
    task = {"portal.stt.settings_check": {"roles": ["speaches"]}}
    hosts = {"hosts": "clusters", "gather_facts": False, "vars_files": [str(tmp_path / "vars.yml")], "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([hosts]))
    told = " ".join(play(str(tmp_path / "play.yml")).output.split())
    for part in (
        f"speaches_api_key ({tmp_path}/vars.yml:1): is a vault's value that cannot be decrypted. Give the vault's "
        "password",
        "unfolds to more values than any variable has. Shorten it.",
        f"speaches__given ({tmp_path}/vars.yml:",
        f"preflight_results ({tmp_path}/vars.yml:",
        "): is the roles' own, and not set by an operator. Remove it.",
    ):
        assert part in told


HIDDEN = ("speaches__given", "speaches__found", "speaches__hub", "speaches__gpu", "speaches__volume", "verify__clips")
"""Variables of the roles themselves, which come before those of an inventory."""
OPEN = ("preflight__resolved", "preflight_results", "speaches__other", "nfs_export__a", "portal_stt__a", "verify__a")
"""Not set when the check runs."""
VALUES: tuple[object, ...] = (None, True, 1, "x", [], {})


@pytest.mark.parametrize(
    "form",
    [
        "inventory.json",
        "inventory.yml",
        "inventory.sh",
        "inventory.ini",
        "host_vars/stray.json",
        "host_vars/stray.yml",
        "group_vars/all.json",
        "group_vars/all.yml",
        "vars.json",
        "vars.yml",
        "JSON",
        "key=value",
    ],
)
def test_what_is_the_roles_own_is_refused_in_every_form(tmp_path: Path, form: str) -> None:
    """JSON does not say where a name stands, and null and true not where they do; a role's own hides an inventory's."""
    given = dict(zip((*HIDDEN, *OPEN), (*VALUES, *VALUES), strict=True))
    roles = [
        {"ansible.builtin.import_role": {"name": f"portal.stt.{name}", "tasks_from": tasks}, "when": name == "speaches"}
        for name, tasks in (("speaches", "variables"), ("verify", "main"))
    ]
    check = {"portal.stt.settings_check": {"roles": ["speaches"]}}
    plays = [{"hosts": "stray", "gather_facts": False, "tasks": [*roles, check]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays))
    arguments = _given(tmp_path, form, given)
    told = " ".join(play(str(tmp_path / "play.yml"), *arguments).output.split())
    assert [
        name for name in given if not re.search(rf"{name}( \([^ ]+\))?: is the roles' own, and not set by", told)
    ] == []
    assert told.count("is the roles' own, and not set by an operator. Remove it.") == len(given)


def _given(folder: Path, form: str, given: dict[str, object]) -> list[str]:
    """Arguments of a playbook for a host `stray` to which an operator gives variables in a form."""
    inventory = folder / "inventory.json"
    host = given if form.startswith("inventory.") else {}
    found = {"all": {"hosts": {"stray": host}}}
    text = json.dumps(found)
    if form == "inventory.sh":
        text = (
            f"#!/bin/sh\necho '{json.dumps({'all': {'hosts': ['stray']}, '_meta': {'hostvars': {'stray': host}}})}'\n"
        )
    elif form == "inventory.ini":
        text = "[all]\nstray\n[all:vars]\n" + "".join(f"{name}={value!r}\n" for name, value in host.items())
    elif form == "inventory.yml":
        text = yaml.safe_dump(found)
    if host:
        inventory = folder / form
    inventory.write_text(text)
    inventory.chmod(0o700 if form == "inventory.sh" else 0o600)
    arguments = ["-i", str(inventory)]
    if form == "JSON":
        return [*arguments, "-e", json.dumps(given)]
    if form == "key=value":
        return [*arguments, *(word for name, value in given.items() for word in ("-e", f"{name}={json.dumps(value)}"))]
    if not host:
        (folder / form).parent.mkdir(exist_ok=True)
        (folder / form).write_text(json.dumps(given) if form.endswith("json") else yaml.safe_dump(given))
    return [*arguments, "-e", f"@{folder / form}"] if form.startswith("vars.") else arguments


@pytest.mark.parametrize(
    ("playbook", "settings"),
    [
        pytest.param("site.yml", 0, id="its preflight reports them, and the parts come after it"),
        ("playbooks/preflight.yml", 0),
        ("playbooks/storage.yml", 1),
        ("playbooks/deploy.yml", 1),
        ("playbooks/verify.yml", 1),
    ],
)
def test_what_runs_first_is_checked_once(playbook: str, settings: int) -> None:
    listed = play(playbook, "--list-tasks").output
    assert listed.count("The ansible-core, the collections and the Python libraries are there") == 1, listed
    assert listed.count("Every variable is what it means") == settings, listed
