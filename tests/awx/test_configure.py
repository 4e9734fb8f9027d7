"""awx/configure.yml and remove.yml, run twice each against the double of AWX's API."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from tests.awx_double import AWX, HIDDEN
from tests.conftest import Played

Configure = Callable[..., Played]
MADE = {
    "organizations": ["portal.stt"],
    "execution_environments": ["portal-stt"],
    "credential_types": ["Machine", "portal-stt hub token", "portal-stt kubeconfig", "portal-stt speech API key"],
    "credentials": ["portal-stt SSH", "portal-stt kubeconfig"],
    "projects": ["portal-stt"],
    "inventories": ["portal-stt"],
    "inventory_sources": [],
    "hosts": ["homelab", "pve"],
    "groups": ["clusters", "nfs_servers"],
    "job_templates": [
        f"portal-stt {name}" for name in ("deploy", "plan", "preflight", "report", "storage", "teardown", "verify")
    ],
    "workflow_job_templates": ["portal-stt"],
    "workflow_job_template_nodes": ["approval", "deploy", "plan", "preflight", "report", "storage", "verify"],
    "workflow_approval_templates": ["portal-stt approval"],
    "schedules": ["portal-stt nightly verify"],
}
GONE: dict[str, list[str]] = {kind: [] for kind in MADE} | {
    "organizations": ["portal.stt"],
    "credential_types": ["Machine"],
}


def there(awx: AWX) -> dict[str, list[str]]:
    return {kind: sorted(awx.named(kind)) for kind in MADE}


def changed(played: Played) -> int:
    assert played.rc == 0, played.output
    return played.changed


def linked(awx: AWX) -> dict[str, dict[str, list[str]]]:
    names = {one["id"]: name for name, one in awx.named("workflow_job_template_nodes").items()}
    return {
        name: {
            relation: [names[one] for one in found]
            for relation in ("success_nodes", "failure_nodes", "always_nodes")
            if (found := awx.links("workflow_job_template_nodes", name, relation))
        }
        for name in names.values()
    }


def test_configure_and_remove_each_twice(awx: AWX, configure: Configure) -> None:
    assert changed(configure("configure")) == 13
    assert there(awx) == MADE
    looks_as_meant(awx)

    awx.asked.clear()
    assert changed(configure("configure")) == 0
    assert [asked for asked in awx.asked if not asked.startswith(("PATCH inventories", "POST projects"))] == []

    secret = json.dumps({"awx_secrets": {"kubeconfig": "another"}})
    assert changed(configure("configure", "-e", secret)) == 1  # the templates have one credential less
    kept = awx.secrets[awx.named("credentials")["portal-stt kubeconfig"]["id"]]
    assert kept == {"kubeconfig": "apiVersion: v1\nkind: Config"}
    assert changed(configure("configure", "-e", secret, "-e", "rotate_secrets=true")) == 1
    assert kept == {"kubeconfig": "another"}

    assert changed(configure("remove")) == 8
    assert there(awx) == GONE
    assert changed(configure("remove")) == 0


def looks_as_meant(awx: AWX) -> None:
    templates = awx.named("job_templates")
    credentials = {one["id"]: name for name, one in awx.named("credentials").items()}
    for name, one in templates.items():
        assert not one["become_enabled"], name  # it would reach plays on clusters
        assert not one["allow_simultaneous"], name
        assert one["job_slice_count"] == 1, name  # slices would part NFS host and cluster
        assert sorted(credentials[number] for number in awx.links("job_templates", name, "credentials")) == [
            "portal-stt SSH", "portal-stt kubeconfig"
        ]  # fmt: skip
        assert one["survey_enabled"] is (one["id"] in awx.surveys), name
    plan = templates["portal-stt plan"]
    assert (plan["playbook"], plan["job_type"], plan["diff_mode"]) == ("site.yml", "check", True)
    report = ["report"]
    assert linked(awx) == {
        "preflight": {"success_nodes": ["plan"], "failure_nodes": report},
        "plan": {"success_nodes": ["approval"], "failure_nodes": report},
        "approval": {"success_nodes": ["storage"]},
        "storage": {"success_nodes": ["deploy"], "failure_nodes": report},
        "deploy": {"success_nodes": ["verify"], "failure_nodes": report},
        "verify": {"always_nodes": report},
        "report": {},
    }
    hosts = {name: json.loads(one["variables"]) for name, one in awx.named("hosts").items()}
    assert hosts == {
        "homelab": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "pve": {"ansible_host": "192.168.1.127", "ansible_user": "root"},
    }
    injectors = awx.named("credential_types")["portal-stt kubeconfig"]["injectors"]
    assert injectors == {
        "file": {"template": "{{ kubeconfig }}"},
        "env": {"K8S_AUTH_KUBECONFIG": "{{ tower.filename }}"},
    }
    assert awx.named("credentials")["portal-stt kubeconfig"]["inputs"] == {"kubeconfig": HIDDEN}


def test_a_failed_first_sync_is_made_good_by_the_next_run(awx: AWX, configure: Configure) -> None:
    """Behind the gateway of the Automation Platform, with all credentials, and the inventory of the repository."""
    awx.prefix, awx.sync_fails = "/api/controller/v2/", True
    gateway = {"CONTROLLER_OPTIONAL_API_URLPATTERN_PREFIX": "/api/controller/"}
    secrets: dict[str, Any] = {
        name: f"the {name}" for name in ("kubeconfig", "ssh_private_key", "hub_token", "api_key", "admin_kubeconfig")
    }
    ssh = {"become_method": "sudo", "become_username": "root", "become_password": "sesame"}
    given = {
        "awx_secrets": secrets, "awx_ssh": ssh, "awx_inventory_file": "inventory/awx/hosts",
        "awx_variables": {"speaches_hub": {"endpoint": "https://hub.example.net"}},
    }  # fmt: skip
    extra = ("-e", json.dumps(given))
    failed = configure("configure", *extra, **gateway)
    assert failed.rc != 0
    assert "Project update failed" in failed.output
    assert not awx.objects["job_templates"]

    awx.sync_fails = False
    played = configure("configure", *extra, **gateway)
    assert played.rc == 0, played.output
    assert not any(f"the {name}" in played.output for name in secrets)
    assert not awx.objects["hosts"]
    assert awx.named("inventory_sources")["portal-stt"]["source_path"] == "inventory/awx/hosts"
    assert json.loads(awx.named("inventories")["portal-stt repository"]["variables"]) == {
        "speaches_hub": {
            "endpoint": "https://hub.example.net",
            "token": "{{ lookup('ansible.builtin.env', 'PORTAL_STT_HUB_TOKEN') }}",
        },
        "speaches_api_key": "{{ lookup('ansible.builtin.env', 'PORTAL_STT_API_KEY') }}",
    }
    numbers = {name: one["id"] for name, one in awx.named("credentials").items()}
    assert awx.links("job_templates", "portal-stt rbac", "credentials") == [numbers["portal-stt administrator"]]
    assert awx.links("job_templates", "portal-stt deploy", "credentials") == sorted(
        numbers[f"portal-stt {name}"] for name in ("SSH", "kubeconfig", "hub token", "speech API key")
    )
    assert awx.secrets[numbers["portal-stt SSH"]] == {"ssh_key_data": "the ssh_private_key", **ssh}


def hosts(awx: AWX) -> dict[str, list[str]]:
    names = {one["id"]: name for name, one in awx.named("hosts").items()}
    return {name: [names[one] for one in awx.links("groups", name, "hosts")] for name in awx.named("groups")}


def test_what_is_not_named_any_more_is_gone(awx: AWX, configure: Configure) -> None:
    """An old host would still be deployed to, and an administrator's kubeconfig still be there."""

    def given(**values: object) -> tuple[str, str]:
        return "-e", json.dumps(values)

    every = {"kubeconfig": "k", "ssh_private_key": "s", "admin_kubeconfig": "a"}
    changed(configure("configure", *given(awx_secrets=every)))
    assert hosts(awx) == {"clusters": ["homelab"], "nfs_servers": ["pve"]}
    assert {"portal-stt administrator", "portal-stt kubeconfig"} < awx.named("credentials").keys()
    assert "portal-stt rbac" in awx.named("job_templates")

    secrets = {"kubeconfig": "k", "ssh_private_key": "s"}
    fewer = given(awx_secrets=secrets, awx_hosts={"clusters": {"site": {}}, "nfs_servers": {}})
    assert changed(configure("configure", *fewer)) == 5  # host, two hosts, group, template, credential
    assert hosts(awx) == {"clusters": ["site"], "nfs_servers": []}
    assert "portal-stt administrator" not in awx.named("credentials")
    assert "portal-stt rbac" not in awx.named("job_templates")

    # Hosts of the repository in place of AWX's own.
    changed(configure("configure", *given(awx_secrets=secrets, awx_inventory_file="inventory/awx/hosts")))
    awx.settle()
    assert list(awx.named("inventories")) == ["portal-stt repository"]
    number = awx.named("inventories")["portal-stt repository"]["id"]
    for kind in ("job_templates", "workflow_job_templates"):
        assert {one["inventory"] for one in awx.objects[kind].values()} == {number}


def test_what_is_missing_is_said_before_anything_is_made(awx: AWX, configure: Configure) -> None:
    for arguments, environment in (
        ((), {"CONTROLLER_OAUTH_TOKEN": ""}),
        (("-e", '{"awx_secrets": {"kubecfg": 1}}'), {}),
    ):
        played = configure("configure", *arguments, **environment)
        assert played.rc == 2
        assert "Set CONTROLLER_HOST to AWX's address and CONTROLLER_OAUTH_TOKEN to a token" in played.output
    assert awx.asked == []


def kept(awx: AWX) -> dict[str, dict[int, dict[str, Any]]]:
    return deepcopy({kind: awx.objects[kind] for kind in MADE})


def words(played: Played) -> str:
    return " ".join(played.output.split())


def added(awx: AWX, kind: str, **values: object) -> int:
    """What somebody has made by hand."""
    return int(awx._made(kind, values)["id"])


def test_an_organization_that_is_not_there_loses_nothing(awx: AWX, configure: Configure) -> None:
    changed(configure("configure"))
    awx.asked.clear()
    played = configure("remove", "-e", "awx_organization=typo")
    assert played.rc == 2
    assert (
        "Nothing was removed: AWX has no organization typo. Set awx_organization to the one that configure.yml was "
        "run with."
    ) in words(played)
    assert awx.asked == []
    assert there(awx) == MADE


def test_what_another_organization_has_stays(awx: AWX, configure: Configure) -> None:
    """Where nobody has made anything for this one."""
    changed(configure("configure"))
    added(awx, "organizations", name="other")
    before = kept(awx)
    assert changed(configure("remove", "-e", "awx_organization=other")) == 0
    assert kept(awx) == before

    # A type of which another organization has a credential, and the schedule of its template.
    other = awx.named("organizations")["other"]["id"]
    hub = awx.named("credential_types")["portal-stt hub token"]["id"]
    added(awx, "credentials", name="mine", organization=other, credential_type=hub, inputs={"token": "t"})
    rule = "DTSTART:20260101T030000Z RRULE:FREQ=DAILY;INTERVAL=1"
    project = next(one for one in awx.objects["projects"].values())["id"]
    template = added(awx, "job_templates", name="theirs", organization=other, project=project, playbook="site.yml")
    added(awx, "schedules", name="portal-stt nightly verify", unified_job_template=template, rrule=rule)
    assert changed(configure("remove")) == 8
    left = {**GONE, "organizations": ["other", "portal.stt"], "credentials": ["mine"], "job_templates": ["theirs"],
            "credential_types": ["Machine", "portal-stt hub token"],
            "schedules": ["portal-stt nightly verify"]}  # fmt: skip
    assert there(awx) == left
    assert changed(configure("remove")) == 0
    assert there(awx) == left


def test_names_that_another_organization_has_are_not_taken(awx: AWX, configure: Configure) -> None:
    changed(configure("configure"))
    before = kept(awx)
    awx.asked.clear()
    played = configure("configure", "-e", "awx_organization=other")
    assert played.rc == 2
    said = words(played)
    assert (
        "Nothing was changed: what would be made for the organization other has names that are taken: execution "
        "environment portal-stt of the organization portal.stt, credential portal-stt kubeconfig of the organization "
        "portal.stt, credential portal-stt SSH of the organization portal.stt, inventory portal-stt of the "
        "organization portal.stt. Set awx_prefix to another word for an installation of its own, or awx_organization "
        "to the organization that has them."
    ) in said
    assert awx.asked == []
    assert kept(awx) == before

    # As it says.
    changed(configure("configure", "-e", "awx_organization=other", "-e", "awx_prefix=portal-stt-two"))
    changed(configure("remove", "-e", "awx_organization=other", "-e", "awx_prefix=portal-stt-two"))
    assert {**there(awx), "organizations": ["portal.stt"]} == MADE


def test_an_execution_environment_of_no_organization_is_used(awx: AWX, configure: Configure) -> None:
    """A credential of no organization is a user's own, and awx.awx would take it for one of two."""
    added(awx, "execution_environments", name="portal-stt", image="by/hand")
    changed(configure("configure"))
    awx.named("execution_environments")["portal-stt"]["organization"] = None
    changed(configure("remove"))
    assert there(awx) == GONE

    machine = awx.named("credential_types")["Machine"]["id"]
    added(awx, "credentials", name="portal-stt SSH", credential_type=machine, inputs={})
    played = configure("configure")
    assert played.rc == 2
    assert "names that are taken: credential portal-stt SSH of no organization. Set awx_prefix" in words(played)
