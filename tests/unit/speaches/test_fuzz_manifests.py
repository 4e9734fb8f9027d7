"""Hostile text in every variable and in everything that is read back: no value leaves its leaf.

PORTAL_STT_EXAMPLES sets the number of examples (2000 if it is not set).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import yaml
from ansible_collections.portal.stt.plugins.module_utils._findings import CollectionError
from ansible_collections.portal.stt.plugins.module_utils._speaches import manifests
from ansible_collections.portal.stt.plugins.module_utils._speaches.manifests import Scripts
from ansible_collections.portal.stt.plugins.module_utils._speaches.models import Copy, Found, ReadBackError, Serving
from ansible_collections.portal.stt.plugins.module_utils._speaches.settings import (
    Model,
    Settings,
    SettingsError,
    is_secret,
)
from hypothesis import example, given
from hypothesis import settings as profile
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("PORTAL_STT_EXAMPLES", "2000"))
SCRIPTS = Scripts("import seed", "import warm", b"RIFF")

HOSTILE = [
    "\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n",
    "x\n      hostNetwork: true",
    "*",
    "&a b",
    "!!python/object:os.system x",
    "{{ lookup('pipe', 'id') }}",
    "{% raw %}",
    "{a: b}",
    "[a]",
    "| ",
    "a: b",
    "x #y",
    "'",
    '"',
    "\\",
    "\0",
    "\x85\u2028\ufeff",
    "null",
    "~",
    "no",
    "1:30",
    "010",
    "1e3",
    "0x1f",
    "2026-01-01",
    "1.10",
    "<<",
    "=",
    " ",
    "../../../../etc",
    "$(API_KEY)",
]
texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(min_size=1, max_size=12),
    st.builds(lambda one, other: other + one + other, st.sampled_from(HOSTILE), st.text(max_size=4)),
)

RAW: dict[str, Any] = {
    "nfs_export_path": "a",
    "speaches_namespace": "a",
    "speaches_name": "a",
    "speaches_namespace_labels": {"a": "a", "b": "a"},
    "speaches_labels": {"app": "a", "a": "a"},
    "speaches_image": "a",
    "speaches_image_pin": "a",
    "speaches_registry": {"mirrors": {"a": ["a"]}, "pull_secret": "a"},
    "speaches_models": [{"model": "a", "revision": "a", "local": "a"}, {"model": "b", "revision": "a", "local": "a"}],
    "speaches_model_source": "a",
    "speaches_hub": {"endpoint": "a", "token": "a", "environment": {"A": "a", "B": "a"}, "ca": "a"},
    "speaches_volume": {
        "name": "a",
        "size": "a",
        "server": "a",
        "path": "a",
        "driver": "a",
        "storage_class": "a",
        "mount_options": ["a", "a"],
    },
    "speaches_gpu": {
        "resource": "a/b",
        "node_selector": {"a": "a"},
        "tolerations": [{"key": "a", "operator": "a", "value": "a", "effect": "a", "tolerationSeconds": 1}],
        "priority_class": "a",
        "runtime_class": "a",
    },
    "speaches_strategy": "a",
    "speaches_resources": {"cpu": "a", "memory": "a", "memory_limit": "a"},
    "speaches_environment": {"C": "a", "D": "a"},
    "speaches_api_key": "a",
    "speaches_service_annotations": {"a": "a"},
    "speaches_network": {"namespaces": ["a"], "cidrs": ["a"]},
    "speaches_neighbours": [{"name": "a", "peak_mib": 1}],
    "speaches_alerts": {"enabled": True, "labels": {"a": "a"}, "rule_labels": {"a": "a"}, "cards": {"a": "a"}},
    "speaches_synthetic": {"enabled": True, "schedule": "a", "time_zone": "a"},
    "speaches_replicas": 2,
}
"""Every leaf that is text, with all optional parts there. The names of maps are leaves, too."""

CHOICES: dict[str, list[str]] = {
    "speaches_model_source": ["seeded", "local", "hub"],
    "speaches_strategy": ["Recreate", "RollingUpdate"],
    "speaches_image_pin": ["digest", "tag"],
}
MAPS = {
    "speaches_namespace_labels",
    "speaches_labels",
    "mirrors",
    "environment",
    "speaches_environment",
    "node_selector",
    "speaches_service_annotations",
}
OWN_NAMES = {"app"}
"""A key that the role itself reads."""


class Words:
    """Gives a text for each leaf, one after the other, out of a pool."""

    def __init__(self, pool: list[str]) -> None:
        self._pool, self._given = pool, 0

    def __call__(self) -> str:
        self._given += 1
        return self._pool[self._given % len(self._pool)]


def filled(value: Any, word: Callable[[], str], name: str = "") -> Any:
    """The same variables with a word in each place of a text; names in a map stay different from each other."""
    if isinstance(value, dict):
        if name in MAPS:
            return {key if key in OWN_NAMES else f"{key}{word()}": filled(one, word) for key, one in value.items()}
        return {key: filled(one, word, key) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, word, name) for one in value]
    return word() if isinstance(value, str) else value


def harmless(value: Any, name: str = "") -> Any:
    """Each text replaced by a word of its length in letters that says as much about being a credential."""
    if isinstance(value, dict):
        environment = name in ("environment", "speaches_environment")
        found = {}
        for number, (key, one) in enumerate(value.items()):
            if environment and is_secret(key, one):
                found[f"{name}{number}"] = "http://u:p@h"
            else:
                found[f"{name}{number}" if name in MAPS and key not in OWN_NAMES else key] = harmless(one, key)
        return found
    if isinstance(value, list):
        return [harmless(one, name) for one in value]
    return "x" if isinstance(value, str) else value


def everything(settings: Settings, found: Found) -> list[dict[str, Any]]:
    copies = [Copy(one.model, one.local, directory=False, digest="0") for one in settings.models]
    secret = manifests.secret(settings)
    return [
        *manifests.base(settings, SCRIPTS),
        *([secret] if secret else []),
        manifests.seed_job(settings, found, copies if settings.model_source == "local" else [], SCRIPTS),
        *manifests.server(settings, found),
    ]


NAMED = {"labels", "annotations", "matchLabels", "nodeSelector", "limits", "data"}


def structure(value: Any, at: str = "") -> Any:
    """What there is and of which type, without what the leaves say; names that an operator chose are counted."""
    if isinstance(value, dict):
        if at in NAMED:
            return {"names": len(value), "types": sorted({type(one).__name__ for one in value.values()})}
        return {key: structure(one, key) for key, one in value.items()}
    if isinstance(value, list):
        found = [structure(one) for one in value]
        return sorted(found, key=str) if at == "env" else found  # these are in the order of their names
    return type(value).__name__


def same_after_yaml(value: Any) -> bool:
    read = yaml.load(yaml.dump(value, Dumper=yaml.CSafeDumper), Loader=yaml.CSafeLoader)
    return bool(read == value) and exact(read) == exact(value)


def exact(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    return [exact(one) for one in value] if isinstance(value, list) else type(value).__name__


def scalars(value: Any) -> set[Any]:
    """All names and leaves."""
    if isinstance(value, dict):
        return set(value).union(*map(scalars, value.values()))
    return set().union(*map(scalars, value)) if isinstance(value, list) else {value}


def every_leaf_is_the_same_after_yaml(objects: list[dict[str, Any]]) -> bool:
    """Each but once, which is ten times as fast as with the same few words in all their places."""
    return same_after_yaml(list(scalars(objects)))


T = TypeVar("T")


def tried(make: Callable[[], T]) -> tuple[T | None, CollectionError | None]:
    """What was made, or why not."""
    try:
        return make(), None
    except CollectionError as refused:
        return None, refused


FOUND = Found(f"r/i@sha256:{'0' * 64}")


choices = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in CHOICES.items()})


@given(pool=st.lists(texts, min_size=1, max_size=3), chosen=choices)
@profile(max_examples=EXAMPLES, deadline=None)
@example(pool=["\n---\nkind: ClusterRoleBinding"], chosen={})
@example(pool=["://u:p@h"], chosen={"speaches_model_source": "hub"})
@example(pool=["hub"], chosen={})
@example(pool=["BASE"], chosen={})
def test_no_variable_leaves_its_leaf(pool: list[str], chosen: dict[str, str]) -> None:
    hostile = filled(RAW, Words(pool)) | chosen
    # A model that the table of appetites happens to know would have an alert of its own.
    hostile["speaches_gpu_memory"] = {"ours_mib": 9}
    objects = everything(Settings.of(hostile), FOUND)
    choice = {name: hostile[name] for name, values in CHOICES.items() if hostile[name] in values}
    choice["speaches_gpu_memory"] = hostile["speaches_gpu_memory"]
    benign = everything(Settings.of(harmless(hostile) | choice), FOUND)
    assert [structure(one) for one in objects] == [structure(one) for one in benign]
    assert every_leaf_is_the_same_after_yaml(objects)


commits = st.sampled_from(["", "0" * 40, "f" * 64])
revisions = st.one_of(commits, texts, st.builds(lambda one, other: one + other, commits, texts))
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
TWO = Settings(models=(Model("a/b"), Model("c/d", "0" * 40)))
RIGHT = [structure(one) for one in everything(TWO, FOUND)]


def messages() -> st.SearchStrategy[Any]:
    entry = st.fixed_dictionaries(
        {"model": st.one_of(st.sampled_from(["a/b", "c/d"]), texts), "revision": st.one_of(revisions, anything)}
    )
    likely = st.fixed_dictionaries({"models": st.lists(entry, max_size=3)})
    return st.one_of(st.builds(json.dumps, likely), st.builds(json.dumps, anything), texts, anything)


def deployments() -> st.SearchStrategy[Any]:
    served = st.builds(lambda one, other: f"a/b@{one} c/d@{other}", revisions, revisions)
    annotations = st.dictionaries(st.just("portal-stt/models"), st.one_of(served, texts, anything))
    template = st.fixed_dictionaries(
        {"metadata": st.fixed_dictionaries({"annotations": st.one_of(annotations, anything)})}
    )
    whole = st.fixed_dictionaries(
        {
            "spec": st.fixed_dictionaries({"template": st.one_of(template, anything)}),
            "status": st.one_of(st.fixed_dictionaries({"readyReplicas": anything}), anything),
        }
    )
    return st.lists(st.one_of(whole, anything), max_size=2)


images = st.one_of(st.just(FOUND.image), texts, st.builds(lambda one: FOUND.image + one, texts), anything)


@given(image=images, deployed=deployments(), seeded=messages(), planning=st.booleans())
@profile(max_examples=EXAMPLES, deadline=None)
def test_what_is_read_back_is_refused_or_stays_in_its_leaf(
    image: Any, deployed: Any, seeded: Any, planning: bool
) -> None:
    raw = {"image": image, "deployed": deployed, "seeded": seeded, "planning": planning}
    found, refused = tried(lambda: Found.of(raw, TWO))
    if found is None:
        assert isinstance(refused, ReadBackError)
        assert refused.remedy
        assert "\n" not in str(refused)
        return
    objects = everything(TWO, found)
    assert [without_revisions(one) for one in objects] == [without_revisions(one) for one in everything(TWO, FOUND)]
    assert every_leaf_is_the_same_after_yaml(objects)


def without_revisions(manifest: dict[str, Any]) -> Any:
    """Its structure; a revision that is known is one more volume."""
    if manifest["kind"] != "Deployment":
        return structure(manifest)
    shown = json.loads(json.dumps(manifest))
    pod = shown["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for one, key in ((pod, "volumes"), (container, "volumeMounts")):
        one[key] = [entry for entry in one[key] if not entry["name"].startswith("revision-")]
    annotations = shown["spec"]["template"]["metadata"]["annotations"]
    known = [name for name in annotations if name.startswith("portal-stt/revision-")]
    assert len(known) == sum(bool(entry.partition("@")[2]) for entry in annotations["portal-stt/models"].split())
    for name in known:
        del annotations[name]
    return structure(shown)


@given(words=st.tuples(texts, texts, texts))
@profile(max_examples=EXAMPLES // 8, deadline=None)
@example(words=("\n---\nkind: ClusterRoleBinding", "\n---\nkind: Pod", "x@y z"))
def test_what_is_not_refused_cannot_leave_its_leaf_either(words: tuple[str, str, str]) -> None:
    """By construction: the check is not asked."""
    revision, image, model = words
    served = (Model("a/b", "1"), Model("c/d", "1"))
    right = everything(TWO, Found("i", Serving(), served))
    objects = everything(TWO, Found(image, Serving(), (Model(model, revision), Model("c/d", revision))))
    assert [structure(one) for one in objects] == [structure(one) for one in right]
    assert same_after_yaml(objects)


LEAVES = ("speaches_replicas", "speaches_startup_seconds", "speaches_rollout_seconds")


@given(value=st.one_of(texts, anything), name=st.sampled_from([*RAW, *LEAVES]))
@profile(max_examples=EXAMPLES // 4, deadline=None)
def test_whatever_a_variable_is_it_is_refused_in_words_or_stays_in_its_leaf(value: Any, name: str) -> None:
    settings, refused = tried(lambda: Settings.of({name: value}))
    if settings is None:
        assert isinstance(refused, SettingsError)
        assert name in str(refused)
        return
    assert every_leaf_is_the_same_after_yaml(everything(settings, FOUND))


def test_a_secret_is_in_the_secret_alone() -> None:
    hub = {"token": "sesame1", "environment": {"A": "sesame2", "B": "http://u:sesame3@h"}}
    own = {"C_TOKEN": "sesame4", "D": "http://u:sesame5@h"}
    for source in CHOICES["speaches_model_source"]:
        settings = Settings.of(
            RAW
            | {"speaches_model_source": source, "speaches_hub": hub, "speaches_environment": own}
            | {"speaches_api_key": "sesame6"}
        )
        shown = [one for one in everything(settings, FOUND) if one["kind"] != "Secret"]
        assert "sesame" not in json.dumps(shown)
