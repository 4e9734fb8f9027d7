"""Any value for any variable: refused or of its grammar, never a traceback, never a secret in what is said.

PORTAL_STT_EXAMPLES sets how many are tried.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from ansible_collections.portal.stt.plugins.module_utils._settings import shapes
from ansible_collections.portal.stt.plugins.module_utils._settings.check import check, findings, variable
from ansible_collections.portal.stt.plugins.module_utils._settings.rules import PLAYBOOKS, ROLES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("PORTAL_STT_EXAMPLES", "2000"))
ROLES_READ = ("nfs_export", "preflight", "speaches")
RULES = {**PLAYBOOKS, **{name: shape for role in ROLES_READ for name, shape in ROLES[role].items()}}
SECRET = "zQsesameQz"

TEXTS = [
    "", " ", "x", "portal-stt", "a/b", "123", "no", "NO", "1:30", "010", "-1", "0", "1", "2Gi", "1e999999", "~", "null",
    "x\n      hostNetwork: true", "\n---\nkind: ClusterRoleBinding", "a\r\nb", "a\tb", "a\0b", "\x1b[2J\x1b]0;x\a",
    "a\u2028b", "\u202etxt", "\ud800", "é", "{{ x }}", "{% raw %}", "a: b", "- a", "#", "&a", "*a", "!!python/x", "'",
    "/", "//", "/srv/../etc", "/srv/x", "../x", ".", "..", "-rf", "$(id)", "`id`", ";", "|", "%00", "kube-system",
    "x" * 64, "x" * 254, "x" * 5000, "x@y", "10.0.0.0/8", "::/0", "10.0.0.1", "fe80::1%eth0", "http://h", "https://[::1]:1/x",
    "http://h\\@evil", "http://h:99999", "javascript:x", "soft", "soft,hard", "fsid=0", "rw", "main", "0" * 40,
    "digest", "Recreate", "Exists", "NoExecute", "local", "seeded", "true", "1.5", "nan", "\u0661", "\uff2b", "\xb2",
    f"http://user:{SECRET}@host/", f"user:{SECRET}@host", f"https://{SECRET}:x@10.0.0.1", f"u:{SECRET}@h\n",
]  # fmt: skip
texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=20), st.text("abc/.-_:@ \n0", max_size=12))
scalars = st.one_of(
    texts,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(2**63), 2**31, date(2026, 1, 1), b"bytes", ("a",), {"a"}, object()]),
    st.builds(shapes.Broken, st.just("has a template that cannot be filled in."), st.just("Correct it.")),
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(texts, st.booleans()), inner, max_size=3)
    ),
    max_leaves=8,
)


def of(shape: Any) -> st.SearchStrategy[Any]:
    """Values of about a shape: its keys and lists, with hostile leaves, so that what is deep is reached."""
    if isinstance(shape, shapes.Keys):
        fields = {name: of(each) for name, each in shape.fields.items()}
        return st.one_of(anything, st.fixed_dictionaries({}, optional=fields))
    if isinstance(shape, shapes.Dictionary):
        return st.one_of(anything, st.dictionaries(st.one_of(texts, st.booleans()), of(shape.value), max_size=3))
    if isinstance(shape, (shapes.Items, shapes.OneOrMore)):
        return st.one_of(anything, st.lists(of(shape.item), max_size=3))
    if isinstance(shape, shapes.Choice):
        return st.one_of(st.sampled_from(shape.names), anything)
    if isinstance(shape, (shapes.Text, shapes.Scalar)) and getattr(shape, "secret", True):
        return st.one_of(anything, texts.map(lambda text: SECRET + text), st.just({SECRET: SECRET}), st.just([SECRET]))
    return anything


variables = st.one_of(
    st.sampled_from(sorted(RULES)).flatmap(lambda name: st.fixed_dictionaries({name: of(RULES[name])})),
    st.fixed_dictionaries({}, optional={name: of(shape) for name, shape in RULES.items()}),
)

NAME = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
KEY = r"([A-Za-z0-9][-A-Za-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
PATH = r"(/[^/\0-\x1f\x7f]+)+"
URL = r"(https?://[^\s@?#\\\"]+)?"
WHOLE = r"[+-]?[0-9]+"
TRUTH = r"(?i:true|false|yes|no|on|off|[01tfyn])"
NUMBER = r"[+-]?[0-9.]+"
QUANTITY = r"\+?[0-9.]+([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?"
LINE = r"[^\0-\x1f\x7f\u2028\u2029\u202e\ud800-\udfff]*"
ANY = r"[^\ud800-\udfff]*"
GRAMMAR = {
    r"speaches_namespace|preflight_probe_namespace": r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
    r"speaches_name": r"[a-z]([-a-z0-9]{0,45}[a-z0-9])?",
    r"speaches_(namespace_)?labels\.\*|speaches_gpu\.node_selector\.\*": VALUE,
    r"speaches_(namespace_)?labels\.KEY|speaches_gpu\.node_selector\.KEY|speaches_service_annotations\.KEY": KEY,
    r"speaches_gpu\.tolerations\[\]\.(key)": f"({KEY})?",
    r"speaches_gpu\.tolerations\[\]\.value": VALUE,
    r"speaches_gpu\.tolerations\[\]\.operator": "Equal|Exists",
    r"speaches_gpu\.tolerations\[\]\.effect": "NoSchedule|PreferNoSchedule|NoExecute",
    r"speaches_gpu\.resource": r"[a-z0-9][-a-z0-9.]*/[-A-Za-z0-9_.]+",
    r"speaches_gpu\.(priority|runtime)_class|speaches_registry\.pull_secret": f"({NAME})?",
    r"speaches_volume\.(driver|storage_class)": f"({NAME})?",
    r"speaches_volume\.name|speaches_network\.namespaces\[\]": NAME,
    r"speaches_volume\.server": r"[A-Za-z0-9.-]+|\[?[0-9a-fA-F:.]+\]?",
    r"speaches_volume\.path|nfs_export_path": PATH,
    r"nfs_export_delete_path|speaches_model(_|s\[\]\.)local": f"({PATH}/?)?",
    r"nfs_export_require_mountpoint": f"({PATH}|/)?",
    r"speaches_volume\.size|speaches_resources\..*": QUANTITY,
    r"speaches_volume\.mount_options\[\]|nfs_export_clients\[\]\.options\[\]": r"[A-Za-z_]+(=[A-Za-z0-9_./:@%+-]+)?",
    r"speaches_gpu_memory\.source": "auto|prometheus|exporter|dcgm|none",
    r"speaches_gpu_memory\.\w+\.service": r"([a-z0-9-]+/[a-z0-9-]+:[a-z0-9-]+)?",
    r"speaches_gpu_memory\.\w+\.scheme": "https?",
    r"speaches_gpu_memory\.\w+\.url": URL,
    r"speaches_gpu_memory\.\w+\.path": r"(/[A-Za-z0-9._~/-]*)?",
    r"speaches_gpu_memory\.\w+\.(token|tenant)": r"[!-~]*",
    r"speaches_gpu_memory\.\w+\.ca_cert": LINE,
    r"speaches_gpu_memory\.metrics\.\w+\[\]": "[a-zA-Z_:][a-zA-Z0-9_:]*",
    r"speaches_gpu_memory\.labels\.(\*|\w+)\[\]": "(?!__)[a-zA-Z_][a-zA-Z0-9_]*",
    r"speaches_alerts\.(rule_labels|cards)\.KEY": "(?!__)[a-zA-Z_][a-zA-Z0-9_]*",
    r"speaches_gpu_memory\.labels\.KEY": "namespace|pod|container|node|uuid|product",
    r"speaches_alerts\.labels\.KEY": KEY,
    r"speaches_alerts\.labels\.\*": VALUE,
    r"speaches_alerts\.(rule_labels|cards)\.\*": LINE,
    r"speaches_alerts\.memory\[\]": "tenants|card",
    r"speaches_synthetic\.schedule": r"@[a-z]+|[0-9A-Za-z*?/,-]+( [0-9A-Za-z*?/,-]+){4}",
    r"speaches_synthetic\.time_zone": r"[A-Za-z][A-Za-z0-9_+/-]*",
    r"speaches_gpu_memory\.window": "[1-9][0-9]*[smhdw]",
    r"speaches_gpu_memory_resource\.name": r"([a-z0-9][-a-z0-9.]*/[-A-Za-z0-9_.]+)?",
    r"speaches_gpu_memory_resource\.quantity": QUANTITY,
    r"speaches_neighbours\[\]\.name": r"[a-z0-9][-a-z0-9]*/[a-z0-9][-a-z0-9]*",
    r"speaches_network\.cidrs\[\]": r"[0-9a-fA-F.:]+/[0-9]+",
    r"speaches_image|preflight_probe_image": r"[A-Za-z0-9._:/@\[\]-]*",
    r"speaches_registry\.mirrors\.KEY": r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9a-fA-F:]+\](:[0-9]+)?",
    r"speaches_registry\.mirrors\.\*(\[\])?|speaches_hub\.endpoint|speaches_verify_url": URL,
    r"speaches_model|speaches_models\[\]\.model": r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*",
    r"speaches_model_revision|speaches_models\[\]\.revision": r"[^\s~^:?*\[\\\0-\x1f]*",
    r"speaches_hub\.token|speaches_api_key": r"[!-~]*",
    r"speaches_hub\.ca": r"(?s:.*-----BEGIN CERTIFICATE-----.*)|",
    r"speaches(_hub\.|_)environment\.KEY": r"[A-Za-z_][A-Za-z0-9_]*",
    r"speaches(_hub\.|_)environment\.\*": r"[^\0\ud800-\udfff]*",
    r"speaches_service_annotations\.\*|speaches_verify_clips\[\]\.text": ANY,
    r"speaches_verify_clips\[\]\.language": "[A-Za-z]{2,3}",
    r"speaches_verify_clips\[\]\.response_format": "json|text|verbose_json|srt|vtt",
    r"speaches_verify_clips\[\]\.(path|name|prompt)|speaches_(context|kubeconfig|take_over\[\])": LINE,
    r"portal_stt_report_dir": LINE,
    r"speaches_image_pin": "digest|tag",
    r"speaches_model_source": "seeded|local|hub",
    r"speaches_strategy": "Recreate|RollingUpdate",
    r"preflight_runtime_mode": "auto|legacy|cdi|csv",
    r"nfs_export_when_covered": "declare|skip|fail",
    r"nfs_export_name": "[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    r"nfs_export_clients\[\]\.host": r"@?[A-Za-z0-9._*?\[\]:/-]+",
    r"nfs_export_directories\[\]\.path": r"[^/\0-\x1f][^\0-\x1f]*",
    r"nfs_export_directories\[\]\.mode": "0[0-7]{3,4}",
    r".*(count|replicas|_seconds|Seconds|requests|concurrency|timeout|owner|group|_mib)": WHOLE,
    r".*(plain_http|policy|require_warm|_progress|_rollback|_unknown|allow_world|install_server|delete_data)": TRUTH,
    r"speaches_(alerts|synthetic)\.enabled": TRUTH,
    r".*(max_wer|warm_factor)": NUMBER,
}
"""What may be accepted, told once more and apart from the rules: place → expression; numbers by their text."""


def leaves(at: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Each leaf with its place; keys that the operator chooses are leaves, too."""
    if isinstance(value, dict):
        chosen = re.search(r"(labels|cards|node_selector|mirrors|environment|annotations)$", at)
        for key, one in value.items():
            if chosen:
                yield f"{at}.KEY", key
            yield from leaves(f"{at}.{'*' if chosen else key}", one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from leaves(f"{at}[]", one)
    else:
        yield at, value


def outside(at: str, value: Any) -> bool:
    """Whether a leaf that was accepted is none of its grammar."""
    (expression,) = [each for place, each in GRAMMAR.items() if re.fullmatch(place, at)]
    return not re.fullmatch(expression, str(value).removesuffix(".0") if isinstance(value, float) else str(value))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(values=variables)
def test_no_value_is_accepted_outside_its_grammar_and_no_secret_told(values: dict[str, Any]) -> None:
    problems = check(ROLES_READ, values, is_file=lambda _: True)
    for finding in findings(problems, {}):
        assert str(finding).isprintable()
        assert len(str(finding)) < 700
        assert SECRET not in str(finding)
    refused = {variable(problem.at) for problem in problems}
    for name in values.keys() - refused:
        assert [leaf for leaf in leaves(name, values[name]) if outside(*leaf)] == []


@settings(max_examples=EXAMPLES // 4, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.lists(st.builds(str.__add__, st.sampled_from(["speaches_", "nfs_export_", "portal_stt_"]), texts)))
def test_no_other_name_is_accepted(names: list[str]) -> None:
    problems = check(ROLES_READ, dict.fromkeys(names, SECRET))
    for finding in findings(problems, {}):
        assert str(finding).isprintable()
        assert len(str(finding)) < 700
    taken = {name for name in names if name in RULES or re.match("(speaches|nfs_export|portal_stt)__", name)}
    unread = [problem for problem in problems if problem.message == "is a variable that nobody reads."]
    assert len(unread) == len(set(names) - taken)


@pytest.mark.parametrize("name", sorted(RULES))
@pytest.mark.parametrize("value", [None, [[]], {"a": {}}, object(), "\n", "x" * 1_000_000 + "\n", "@" * 100_000])
def test_what_no_variable_can_be(name: str, value: object) -> None:
    assert {variable(problem.at) for problem in check(ROLES_READ, {name: value})} == {name}
