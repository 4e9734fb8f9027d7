"""What is said of variables: a table of what operators write, and what the table of rules covers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.portal.stt.plugins.action.settings_check import ARGUMENTS
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.quantities import QuantityError, parse_quantity
from ansible_collections.portal.stt.plugins.module_utils._settings import grammar, shapes, show
from ansible_collections.portal.stt.plugins.module_utils._settings.check import check, findings
from ansible_collections.portal.stt.plugins.module_utils._settings.rules import KEPT, PREFIXES, ROLES, is_own
from ansible_collections.portal.stt.plugins.module_utils._speaches import models
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import Settings
from ansible_collections.portal.stt.plugins.modules import settings_check
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.unit.speaches.test_seed import seed
from tests.unit.test_module_docs import normal

HERE = Path(__file__).parent
EVERY = ("nfs_export", "preflight", "speaches")
CA = (ROOT / "tests" / "fixtures" / "ca.pem").read_text()
REFUSED = yaml.safe_load((HERE / "refused.yml").read_text())


def said(given: dict[str, Any], *, there: bool = False, **options: Any) -> list[str]:
    problems = check(EVERY, given, is_file=lambda _: there, **options)
    return [f"{one.at}: {one.message} {one.remedy}" for one in problems]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: str(case["given"])[:60])
def test_what_is_refused_and_how_it_is_said(case: dict[str, Any]) -> None:
    assert said(case["given"]) == case["said"]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"speaches_name": "x" * 47, "speaches_namespace": "123", "speaches_replicas": "2", "speaches_rollback": "no"},
        {"speaches_model": "Systran/faster-whisper-tiny.en", "speaches_model_revision": "v1.0/rc_1"},
        {"speaches_models": [{"model": "a/b", "revision": "0" * 40}, {"model": "a/c", "local": ""}]},
        {"speaches_model_source": "local", "speaches_model_local": "/srv/models/turbo/"},
        {"speaches_image": f"[::1]:5000/x/y:tag@sha256:{'0' * 64}", "speaches_image_pin": "tag"},
        {"speaches_registry": {"mirrors": {"ghcr.io": "http://m:5000/x", "a:1": ["https://b", "https://c"]}}},
        {"speaches_hub": {"endpoint": "http://10.77.0.1:8090", "token": "hf_x", "ca": f"a proxy's\n{CA}\n{CA}"}},
        {"speaches_hub": {"environment": {"HTTPS_PROXY": "http://user:pass@proxy:3128", "no_proxy": ""}}},
        {"speaches_environment": {"A": "x\ny", "B": "", "NO": "1", "LOG_LEVEL": "debug", "WORKERS": 2}},
        {"speaches_volume": {"server": "fd00::1", "size": "1Ti", "driver": "", "storage_class": ""}},
        {"speaches_volume": {"server": "[fd00::1]", "mount_options": ["nfsvers=4.2", "soft", "sec=krb5p"]}},
        {"speaches_gpu": {"resource": "nvidia.com/mig-1g.5gb", "count": 2, "tolerations": [{"operator": "Exists"}]}},
        {"speaches_gpu_memory_resource": {"name": "nvidia.com/gpumem", "quantity": "5k"}},
        {"speaches_gpu_memory_resource": {"name": "", "quantity": "7"}},
        {"speaches_gpu": {"tolerations": [{"key": "a", "effect": "NoExecute", "tolerationSeconds": "30"}]}},
        {"speaches_resources": {"cpu": "1.5", "memory": "2e9", "memory_limit": "2Gi"}},
        {"speaches_network": {"policy": "False", "namespaces": [], "cidrs": ["10.0.0.0/8", "fd00::/8", "0.0.0.0/0"]}},
        {"speaches_verify": {"max_wer": "0.5", "warm_factor": 3, "require_warm": False}},
        {"speaches_verify_clips": [{"path": "~/clips/a.wav", "text": "ябълка", "language": "bg", "max_wer": 0}]},
        {"speaches_alerts": {"enabled": True, "labels": {"release": "x"}, "memory": [], "cards": {"gpu": "0"}}},
        {"speaches_alerts": {"enabled": True, "rule_labels": {"severity": "{{ x", "Team_1": "a b"}}},
        {"speaches_alerts": {"enabled": True, "memory": ["card"]}, "speaches_model": "a/unheard-of"},
        {
            "speaches_alerts": {"enabled": True},
            "speaches_gpu_memory": {"ours_mib": 9},
            "speaches_model": "a/unheard-of",
        },
        {"speaches_synthetic": {"schedule": "0,30 8-18/2 1 jan-DEC mon-fri", "time_zone": "America/Argentina/Salta"}},
        {"speaches_synthetic": {"schedule": "@hourly", "time_zone": "Etc/GMT+1", "timeout": "30"}},
        {"speaches_labels": {"app": "x", "example.com/Team": "A_b.c", "empty": ""}},
        {"speaches_service_annotations": {"Example.com/x": "any\ntext: {}"}},
        {"nfs_export_clients": [{"host": "*"}], "nfs_export_allow_world": True},
        {"nfs_export_clients": [{"host": "10.0.0.0/255.255.0.0"}, {"host": "@nodes"}, {"host": "*.lan"}]},
        {"nfs_export_path": "/data/models of mine", "nfs_export_require_mountpoint": ""},
        {"nfs_export_path": "/data/x", "nfs_export_require_mountpoint": "/"},
        {"nfs_export_delete_data": True, "nfs_export_delete_path": "/srv/nfs-ssd/portal-stt"},
        {"speaches__volume": {}, "other_speaches_x": 1},
        dict.fromkeys(KEPT, "whatever"),
    ],
    ids=lambda given: str(given)[:60],
)
def test_what_is_taken(given: dict[str, Any]) -> None:
    assert said(given, there=True) == []


@pytest.mark.parametrize(
    ("given", "texts", "expected"),
    [
        ({"A": 8000}, {"speaches_environment.A": "8000"}, []),
        ({"A": 0.5}, {"speaches_environment.A": "0.5"}, []),
        (
            {"A": 8},
            {"speaches_environment.A": "010"},
            ["speaches_environment.A: is a number or a date, where text is meant. Put it in quotes."],
        ),
        (
            {"A": 1.1},
            {"speaches_environment.A": "1.10"},
            ["speaches_environment.A: is a number or a date, where text is meant. Put it in quotes."],
        ),
        ({"A": 8}, {}, ["speaches_environment.A: is a number or a date, where text is meant. Put it in quotes."]),
    ],
)
def test_a_number_is_text_where_only_one_text_can_have_been_written(
    given: dict[str, Any], texts: dict[str, str], expected: list[str]
) -> None:
    assert said({"speaches_environment": given}, texts=texts) == expected


def test_what_yaml_made_of_a_text_is_told_with_the_text() -> None:
    texts = {"speaches_volume.size": "1:30", "speaches_resources.cpu": "010"}
    assert said({"speaches_volume": {"size": 90}, "speaches_resources": {"cpu": 8}}, texts=texts) == [
        'speaches_volume.size: YAML reads 1:30 as the number 90. Put it in quotes: "1:30".',
        'speaches_resources.cpu: YAML reads 010 as the number 8. Put it in quotes: "010".',
    ]


def test_values_that_no_table_can_hold() -> None:
    broken = shapes.Broken("needs the variable nowhere, which is not defined.", "Define nowhere.")
    given = {
        "speaches_context": "x" * 1_000_000,
        "speaches_name": broken,
        "speaches_verify": {"max_wer": 10**5000},
    }
    assert said(given) == [
        "speaches_name: needs the variable nowhere, which is not defined. Define nowhere.",
        f'speaches_context: "{"x" * 80}…" is longer than 1024 characters. Shorten it.',
        "speaches_verify.max_wer: is the number of thousands of digits. Write a number from 0 to 1.",
    ]


def test_a_default_that_follows_another_variable_is_not_refused_twice() -> None:
    models = [{"model": "x", "revision": "", "local": ""}]
    given: dict[str, Any] = {
        "speaches_model": "x",
        "speaches_model_revision": "",
        "speaches_model_local": "",
        "speaches_models": models,
    }
    given |= {"speaches_name": "X", "speaches_labels": {"app": "X", "tier": "2-gpu"}}
    assert [one.at for one in check(EVERY, given)] == ["speaches_name", "speaches_model"]


def test_a_finding_says_where_the_value_stands() -> None:
    problems = check(["speaches"], {"speaches_volume": {"size": "x", "sever": "y"}})
    places = {"speaches_volume": "all.yml:3", "speaches_volume.size": "all.yml:4"}
    subjects = [finding.subject for finding in findings(problems, places)]
    assert subjects == ["speaches_volume.size (all.yml:4)", "speaches_volume.sever (all.yml:3)"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\n\x1b[2J\u202e\U000e0001\ud800", r'"a\n\x1b[2J\u202e\U000e0001\ud800"'),
        ('say "x" \\', r'"say \"x\" \\"'),
        ("x" * 81, f'"{"x" * 80}…"'),
        ("\n" * 50, '"' + r"\n" * 40 + '…"'),
        ("http://user:p@ss@host", '"…@host"'),
        ("name@host", '"name@host"'),
        ({"a": 1}, "a mapping"),
    ],
)
def test_values_are_shown_in_one_harmless_line(value: object, text: str) -> None:
    assert show.shown(value) == text


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2Gi", 2 * 2**30),
        ("200m", 0.2),
        ("1e3", 1000),
        ("1E", 10**18),
        ("1E1", 10),
        (".5", 0.5),
        ("5.", 5),
        ("-1k", -1000),
    ],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: float) -> None:
    assert float(parse_quantity(text)) == number


@pytest.mark.parametrize(
    "text", ["", "1:30", "4GB", "1 Gi", "\u0661", "1e999", "10E", "0x10", "1_000", "Gi", ".", "1" * 65, "1Gi\n"]
)
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(QuantityError):
        parse_quantity(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "* * * *", "* * * * * *", "*  * * * *", "* * * * 7", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * sat-sun", "5-1 * * * *", "*/0 * * * *", "*-5 * * * *", "1- * * * *", "a * * * *", "* * * jan-foo *",
        "@every 1m", "@reboot", "TZ=UTC * * * * *", "* * * * *\n", "\u0661 * * * *", "1,,2 * * * *", "-1 * * * *",
    ],
)  # fmt: skip
def test_what_is_no_schedule(text: str) -> None:
    wrong = grammar.schedule(text)
    assert wrong is not None
    assert wrong.message == "is no schedule."


def specs(role: str) -> dict[str, Any]:
    """The role's options, of all its entry points."""
    path = ROOT / "roles" / role / "meta" / "argument_specs.yml"
    entries = yaml.safe_load(path.read_text())["argument_specs"].values()
    return {name: option for entry in entries for name, option in entry.get("options", {}).items()}


TYPES: dict[type, tuple[str, ...]] = {
    shapes.Text: ("str",),
    shapes.Choice: ("str",),
    shapes.File: ("path",),
    shapes.Whole: ("int",),
    shapes.Number: ("float",),
    shapes.Truth: ("bool",),
    shapes.Keys: ("dict",),
    shapes.Dictionary: ("dict",),
    shapes.Items: ("list",),
}


def differences(at: str, shape: Any, spec: dict[str, Any]) -> list[str]:
    """Where a rule and the argument spec of the same variable say different things."""
    found = [] if spec["type"] in TYPES[type(shape)] else [f"{at}: {spec['type']}"]
    inner = shape.item if isinstance(shape, shapes.Items) else shape
    if list(getattr(inner, "names", ())) != spec.get("choices", []):
        found.append(f"{at}: choices")
    if spec.get("no_log") and not shape.secret:
        found.append(f"{at}: secret")
    fields = getattr(inner, "fields", {})
    options = spec.get("options", {})
    if set(fields) != set(options):
        found.append(f"{at}: {sorted(set(fields) ^ set(options))}")
    elif {name for name in options if options[name].get("required")} != set(getattr(inner, "required", ())):
        found.append(f"{at}: required")
    else:
        found += [each for name in fields for each in differences(f"{at}.{name}", fields[name], options[name])]
    return found


@pytest.mark.parametrize("role", EVERY)
def test_every_variable_of_a_role_has_its_rule(role: str) -> None:
    assert set(specs(role)) == set(ROLES[role])
    assert [each for name, spec in specs(role).items() for each in differences(name, ROLES[role][name], spec)] == []


@pytest.mark.parametrize("role", EVERY)
def test_the_defaults_keep_the_rules(role: str) -> None:
    """Those that are templates follow other variables."""
    defaults = yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text())
    plain = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    assert said(plain) == []
    assert set(defaults) == set(ROLES[role])


@pytest.mark.parametrize("site", ["example", "lab"])
def test_the_inventories_keep_the_rules(site: str) -> None:
    text = (ROOT / "inventory" / site / "group_vars" / "all.yml").read_text()
    given = yaml.safe_load(re.sub(r"^# ?(?=(?:  |[a-z_]+:( |$)|  ))", "", text, flags=re.MULTILINE))
    assert len(given) > 5
    given.get("speaches_hub", {}).pop("ca", None)  # a lookup
    assert said(given, there=True) == []


def test_what_roles_keep_under_our_prefixes_is_known() -> None:
    found = set()
    for path in ROOT.glob("roles/*/tasks/*.yml"):
        text = path.read_text()
        found |= set(re.findall(r"register: (\w+)", text))
        found |= {
            name
            for block in re.findall(r"set_fact:\n((?: {6,}.*\n)+)", text)
            for name in re.findall(r"^ +(\w+):", block)
        }
    assert {name for name in found if name.startswith(PREFIXES) and "__" not in name} | {"preflight_results"} == KEPT


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("roles/**/*.yml"), *ROOT.glob("playbooks/**/*.yml")]), ids=lambda path: str(path.name)
)
def test_what_the_roles_keep_is_never_null_a_truth_value_or_a_number(path: Path) -> None:
    """So that one of these under such a name is known to be an operator's."""

    def kept(value: Any) -> Iterator[tuple[str, Any]]:
        for name, one in value.items() if isinstance(value, dict) else enumerate(value or ()):
            if isinstance(name, str) and is_own(name):
                yield name, one
            if isinstance(one, (dict, list)):
                yield from kept(one)

    assert [one for one in kept(yaml.safe_load(path.read_text())) if not isinstance(one[1], (str, dict, list))] == []


def test_documentation_and_arguments_of_the_module_are_the_same() -> None:
    assert normal(yaml.safe_load(settings_check.DOCUMENTATION)["options"]) == normal(ARGUMENTS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"speaches_service_annotations": {"a": "x" * 200_000, "b": "x" * 200_000}},
            "speaches_service_annotations: is larger than 255 KiB in all. Shorten it.",
        ),
        (
            {"speaches_environment": {f"A{n}": "x" * 100_000 for n in range(3)}},
            "speaches_environment: is larger than 256 KiB in all. Shorten it.",
        ),
        (
            {"speaches_models": [{"model": f"a/b{n}"} for n in range(30)]},
            "speaches_models: has 30 models, more than one server and its seed Job can have. Shorten it.",
        ),
    ],
)
def test_what_is_too_large_together(given: dict[str, Any], message: str) -> None:
    assert said(given) == [message]


def test_what_the_roles_keep_is_not_an_operators() -> None:
    names = ["preflight_results", "speaches__given", "speaches__none", "verify__clips"]
    given = dict.fromkeys(names, 1)
    assert said(given) == []
    assert said(given, outside=names) == [
        f"{name}: is the roles' own, and not set by an operator. Remove it." for name in names
    ]


@given(
    st.from_regex(r"[A-Za-z0-9_./+@~^-]{1,12}", fullmatch=True), st.from_regex(r"[A-Za-z0-9_./-]{1,12}", fullmatch=True)
)
def test_what_is_accepted_is_taken_by_the_seed_job_and_can_be_read_back(revision: str, model: str) -> None:
    """A revision or a name is refused before anything is done, or by nobody."""
    if not grammar.revision(revision):
        assert seed.wanted_models(json.dumps([{"model": "a/b", "revision": revision}]))
    if not grammar.model(model):
        assert seed.wanted_models(json.dumps([{"model": model}]))
        annotations = {"portal-stt/models": f"{model}@{'0' * 40}"}
        deployment = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        assert models.serving([deployment], Settings()).revisions == {model: "0" * 40}


@pytest.mark.parametrize("name", ["_org/model", "a/_model"])
def test_a_name_that_begins_with_an_underscore_can_be_read_back(name: str) -> None:
    assert not grammar.model(name)
    annotations = {"portal-stt/models": f"{name}@{'0' * 40}"}
    deployment = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
    assert models.serving([deployment], Settings()).revisions == {name: "0" * 40}
