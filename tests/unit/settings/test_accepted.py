"""What the settings' check accepts, those who use it accept too: no other refusal later, and no traceback.

Values are made from the rules themselves, in every form that a rule takes: a number as text, one item without its
list. Those who use them are found in the roles' tasks: filters and modules of ours get them as Ansible fills them in.

PORTAL_STT_EXAMPLES sets how many are tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.portal.stt.plugins.filter import runs, speaches
from ansible_collections.portal.stt.plugins.module_utils._exports.change import intent_of
from ansible_collections.portal.stt.plugins.module_utils._exports.export import check_intent, check_place
from ansible_collections.portal.stt.plugins.module_utils._findings import Status
from ansible_collections.portal.stt.plugins.module_utils._image.oci import parse_reference
from ansible_collections.portal.stt.plugins.module_utils._image.registry import mirror_addresses
from ansible_collections.portal.stt.plugins.module_utils._kubernetes.apply import parse
from ansible_collections.portal.stt.plugins.module_utils._settings import shapes
from ansible_collections.portal.stt.plugins.module_utils._settings.check import check
from ansible_collections.portal.stt.plugins.module_utils._speech.proof import read_clips
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.unit.settings.test_hostile import EXAMPLES, GRAMMAR, ROLES_READ, RULES

CLIP = str(ROOT / "roles" / "verify" / "files" / "clips" / "en.wav")
PEM = (ROOT / "tests" / "fixtures" / "ca.pem").read_text()
GOOD: dict[str, list[Any]] = {
    r"speaches_labels\.KEY": ["app", "tier", "example.com/app"],
    r"speaches_volume\.mount_options\[\]": ["soft", "softerr", "nfsvers=4", "timeo=30", "retrans=3"],
    r"speaches_hub\.ca": ["", PEM, PEM + PEM],
    r"speaches_verify_clips\[\]\.path": [CLIP],
    r"speaches_verify_clips\[\]\.(name|prompt|text)": ["Guten Tag", "a: b", "{a}", "é"],
    r"speaches_(kubeconfig|context|take_over\[\]|gpu_memory\.\w+\.ca_cert)": ["", "~/.kube/config", "helm", "a b"],
    r"speaches(_hub\.|_)environment\.\*": ["", "info", "8", 8, 0, "{a}", "a: b\nc", "'", '{"a": 1}', "http://u:p@h:1"],
    r"speaches_service_annotations\.\*": ["", "8", "a: b\nc", "é"],
    r"speaches_gpu\.resource": ["nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "volcano.sh/vgpu-number"],
    r"speaches_(volume\.size|resources\..*)": ["2Gi", "+2Gi", "1e9", "1E9", "500m", "2", "0.5", "1.5Gi", "4294967296"],
    r"(speaches|preflight_probe)_image": ["a", "a:1", "ghcr.io/a/b:c", f"r:5000/b@sha256:{'0' * 64}", "[::1]:5000/a:b"],
    r"speaches_registry\.mirrors\.KEY": ["ghcr.io", "registry.lan:5000", "[::1]:5000"],
    r"speaches_registry\.mirrors\.\*(\[\])?|speaches_hub\.endpoint|speaches_verify_url": [
        "http://h", "https://h:8000/a/b", "http://[::1]:8000", "https://h./", "http://h:",
    ],
    r"nfs_export_clients\[\]\.host": ["10.0.0.0/8", "10.0.0.1", "nas.lan", "*.lan", "@group", "fd00::/32", "fd00::1"],
    r"nfs_export_clients\[\]\.options\[\]": ["rw", "ro", "sync", "no_subtree_check", "root_squash", "anonuid=1000"],
    r"nfs_export_directories\[\]\.path": [".", "hub", "a/b", "é", "a b"],
    r"nfs_export_(path|delete_path)|speaches_volume\.path": ["/srv/nfs-ssd/é a", "/srv/nfs-ssd/x"],
    r"speaches_model(_|s\[\]\.)local": ["", CLIP],
    r"nfs_export_require_mountpoint": ["", "/", "/srv"],
    r"speaches_network\.cidrs\[\]": ["10.0.0.0/8", "::/0", "192.168.1.1/32", "0.0.0.0/0"],
    r"speaches_gpu_memory\.(metrics|labels)\.\w+\[\]": ["pod", "exported_pod", "DCGM_FI_DEV_FB_USED"],
    r"speaches_gpu_memory\.\w+\.service": ["", "monitoring/prometheus-server:80", "gpu/dcgm-exporter:metrics"],
    r"speaches_gpu_memory_resource\.quantity": ["1", "1500", "5k", "1e3", "2Gi"],
    r"speaches_volume\.server": ["10.0.0.1", "nas.lan", "nas.lan.", "[fd00::1]", "fd00::1"],
}  # fmt: skip
"""Where the expressions of GRAMMAR seldom hit what is accepted, or are only half of it."""
CHOSEN = r"(labels|node_selector|mirrors|environment|annotations)$"


@cache
def texts(at: str) -> st.SearchStrategy[Any]:
    for place, good in GOOD.items():
        if re.fullmatch(place, at):
            return st.sampled_from(good)
    (expression,) = [one for place, one in GRAMMAR.items() if re.fullmatch(place, at)]
    return st.from_regex(expression, fullmatch=True).filter(lambda text: len(text) < 40)


def numbers(least: float, most: float, *, whole: bool) -> st.SearchStrategy[Any]:
    some = st.sampled_from([least, min(most, least + 1), min(most, least + 7), most])
    written = st.sampled_from([str, lambda one: f"+{one}", lambda one: f"0{one}"])
    if whole:
        some = some.map(int)
        return st.one_of(some, st.builds(lambda one, how: how(one), some, written))
    between = st.floats(least, min(most, least + 1), allow_nan=False)
    return st.one_of(some, between, between.map(lambda one: f"{one:.3f}"), st.sampled_from([".5", "1.", "+1.0", "1"]))


def of(at: str, shape: Any) -> st.SearchStrategy[Any]:
    """What a shape takes, mostly; the rest is sorted out by the check itself."""
    if isinstance(shape, shapes.Keys):
        parts = {name: of(f"{at}.{name}", one) for name, one in shape.fields.items()}
        needed = {name: parts.pop(name) for name in shape.required}
        return st.fixed_dictionaries(needed, optional=parts)
    if isinstance(shape, shapes.Dictionary):
        own = {"app": "stt"} if at == "speaches_labels" else {}
        some = st.dictionaries(texts(f"{at}.KEY"), of(f"{at}.*", shape.value), max_size=2)
        return some.map(lambda given: given | own)
    if isinstance(shape, shapes.OneOrMore):
        return st.one_of(of(at, shape.item), st.lists(of(f"{at}[]", shape.item), min_size=1, max_size=2))
    if isinstance(shape, shapes.Items):
        return st.lists(of(f"{at}[]", shape.item), min_size=shape.least, max_size=3)
    if isinstance(shape, shapes.Choice):
        return st.sampled_from(shape.names)
    if isinstance(shape, shapes.Whole):
        return numbers(shape.least, shape.most, whole=True)
    if isinstance(shape, shapes.Number):
        return numbers(shape.least, shape.most, whole=False)
    if isinstance(shape, shapes.Truth):
        words = ("true", "False", "YES", "no", "On", "off", "1", "0", "t", "F", "y", "N", 0, 1, True, False)
        return st.sampled_from(words)
    return texts(at)


several = st.fixed_dictionaries({}, optional={name: of(name, shape) for name, shape in RULES.items()})


def tried(examples: int) -> settings:
    """Not made smaller when one fails: each takes long."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=examples, phases=phases, deadline=None, suppress_health_check=list(HealthCheck))


def accepted(values: dict[str, Any]) -> dict[str, Any]:
    """Those of the variables that are accepted, each alone and together."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if not check(ROLES_READ, {**kept, name: value}, is_file=lambda _: True):
            kept[name] = value
    return kept


# ---- those who use them

FOUND: dict[str, Any] = {
    "ansible_check_mode": False,
    "nfs_export_server": {"changed": False},
    "role_path": str(ROOT / "roles" / "speaches"),
    "speaches__image": {"image": {"pinned": f"ghcr.io/a/b@sha256:{'0' * 64}"}},
    "speaches__deployed": {"resources": []},
    "speaches__declared": {"objects": []},
    "speaches__base": {"plan": {}, "unwanted": []},
    "speaches__seed": {"message": ""},
    "preflight_memory": {"reading": {}},
    "preflight_nodes": {"nodes": []},
    "preflight_image": {"results": []},
    "verify_memory": {"reading": {}, "history": []},
    "verify__clips": [{"path": CLIP, "text": "a"}],
}
"""What tasks before have left."""
FILTERS = runs.FilterModule().filters() | speaches.FilterModule().filters()
ITEMS: dict[str, Any] = {
    "oci_image_info": "amd64",
    "cuda_preflight": {"image": {}, "variants": [], "item": "amd64"},
    "transcription_check": {"model": "a/b"},
}
"""What a loop is at."""


def _export(params: Mapping[str, Any]) -> None:
    intent = intent_of(params)
    found = check_place(intent.export, subject="")
    if intent.present:
        found += check_intent(intent.export, subject="", allow_world=intent.allow_world)
    assert [one for one in found if one.status is Status.REFUSED] == []


def _image(params: Mapping[str, Any]) -> None:
    parse_reference(params["image"])
    mirror_addresses(params["mirrors"])


CORES: dict[str, Any] = {
    "k8s_apply": lambda params: parse(params["definition"]),
    "k8s_job": lambda params: parse([params["definition"]]),
    "k8s_remove": lambda params: parse(params["definition"]),
    "nfs_export": _export,
    "oci_image_info": _image,
    "transcription_check": lambda params: read_clips(params["clips"], params["max_wer"]),
}
"""What a module makes of its parameters before it asks anybody."""


@cache
def _loaded(name: str) -> Any:
    return DataLoader().load_from_file(str(ROOT / "roles" / name), trusted_as_template=True)


def _tasks(found: list[dict[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Module of ours and its arguments, of each task."""
    for task in found:
        yield from _tasks(task.get("block", []))
        for name, arguments in task.items():
            module = name.removeprefix("portal.stt.")
            if module != name and module not in ("report", "settings_check"):
                yield module, arguments


@cache
def _roles() -> tuple[dict[str, Any], list[tuple[str, Mapping[str, Any]]]]:
    """The variables that the roles have of themselves, and their tasks."""
    variables: dict[str, Any] = {}
    for name in ("nfs_export", "preflight", "speaches"):
        variables |= _loaded(f"{name}/defaults/main.yml") | _loaded(f"{name}/vars/main.yml")
    variables |= _loaded("verify/vars/main.yml")
    names = ("nfs_export/main", "nfs_export/absent", "preflight/look", "speaches/deploy", "speaches/absent",
             "speaches/rbac", "verify/main")  # fmt: skip
    files = [name.replace("/", "/tasks/") + ".yml" for name in names]
    return variables, [one for file in files for one in _tasks(_loaded(file))]


def _used(values: dict[str, Any]) -> int:
    """Hands the values to all tasks; how many there were."""
    variables, tasks = _roles()
    variables = {**variables, **values, **FOUND}
    for role, entry in [*((name, "main") for name in ROLES_READ), ("nfs_export", "absent")]:
        spec = _loaded(f"{role}/meta/argument_specs.yml")["argument_specs"][entry]["options"]
        own = {name: value for name, value in values.items() if name in spec}
        assert ArgumentSpecValidator(deepcopy(spec)).validate(own).error_messages == [], f"{role} with {own}"
    for name in ("speaches__given", "speaches__completed"):  # filled in once for all
        variables[name] = _filled(name, variables[name], variables, values)
    for module, arguments in tasks:
        given = _filled(module, dict(arguments), {**variables, "item": ITEMS.get(module)}, values)
        spec = import_module(f"ansible_collections.portal.stt.plugins.modules.{module}").ARGUMENTS
        names = {"argument_spec", "mutually_exclusive", "required_one_of", "required_if"}
        result = ArgumentSpecValidator(**deepcopy({name: spec[name] for name in spec.keys() & names})).validate(given)
        assert result.error_messages == [], f"{module} with {values}"
        if module in CORES:
            CORES[module](result.validated_parameters)
    return len(tasks)


@cache
def _templar() -> Templar:
    """With our filters, and so that no template is compiled twice."""
    made = Templar(DataLoader())
    environment = made._engine.environment
    environment.from_string = cache(environment.from_string)
    for name, one in FILTERS.items():
        environment.filters[f"portal.stt.{name}"] = one
    return made


def _filled(what: str, template: Any, variables: dict[str, Any], values: dict[str, Any]) -> Any:
    templar = _templar()
    templar.available_variables = variables
    try:
        return templar.template(template)
    except AnsibleError as error:
        raise AssertionError(f"{what} with {values}: {error}") from error


def test_without_any_setting_all_tasks_are_looked_at() -> None:
    assert _used({}) == 27


@pytest.mark.parametrize("name", sorted(RULES))
def test_what_is_accepted_is_taken_by_those_who_use_it(name: str) -> None:
    taken = 0

    @tried(max(1, EXAMPLES // 400))
    @given(value=of(name, RULES[name]))
    def one(value: Any) -> None:
        nonlocal taken
        if kept := accepted({name: value}):
            taken += 1
            _used(kept)

    one()
    assert taken


@tried(max(1, EXAMPLES // 40))
@given(values=several.map(accepted))
def test_what_is_accepted_together_is_taken_together(values: dict[str, Any]) -> None:
    _used(values)
