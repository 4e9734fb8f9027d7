"""A double of AWX's API, for what awx/*.yml asks of it.

It keeps objects and enforces rules that were seen on AWX 24.6.1.

It is no AWX: it runs no jobs, and knows no users, roles or notifications.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

Object = dict[str, Any]

HIDDEN = "$encrypted$"
TYPES = {
    "organizations": "organization",
    "execution_environments": "execution_environment",
    "credential_types": "credential_type",
    "credentials": "credential",
    "projects": "project",
    "project_updates": "project_update",
    "inventories": "inventory",
    "inventory_sources": "inventory_source",
    "hosts": "host",
    "groups": "group",
    "job_templates": "job_template",
    "workflow_job_templates": "workflow_job_template",
    "workflow_job_template_nodes": "workflow_job_template_node",
    "workflow_approval_templates": "workflow_approval_template",
    "schedules": "schedule",
}
TEMPLATES = ("projects", "job_templates", "workflow_job_templates", "inventory_sources")
DEFAULTS: dict[str, Object] = {
    "execution_environments": {"credential": None, "description": "", "organization": None},
    "credentials": {"organization": None},
    "projects": {"scm_revision": "", "credential": None, "status": "never updated"},
    "inventories": {"kind": "", "host_filter": None, "variables": ""},
    "hosts": {"enabled": True, "variables": ""},
    "groups": {"variables": ""},
    "job_templates": {"survey_enabled": False, "project": None, "inventory": None},
    "workflow_job_template_nodes": {"unified_job_template": None},
}
NAMED_IN = {  # what a name, or an identifier, is unique in
    "credentials": ("organization", "credential_type"), "projects": ("organization",), "inventories": ("organization",),
    "hosts": ("inventory",), "groups": ("inventory",), "job_templates": ("organization",),
    "inventory_sources": ("inventory",), "workflow_job_templates": ("organization",),
    "workflow_job_template_nodes": ("workflow_job_template",), "schedules": ("unified_job_template",),
}  # fmt: skip
LINKS = ("success_nodes", "failure_nodes", "always_nodes")
QUESTIONS = ("text", "textarea", "password", "integer", "float", "multiplechoice", "multiselect")
MACHINE = ("username", "password", "ssh_key_data", "ssh_key_unlock", "become_method", "become_username",
           "become_password")  # fmt: skip


class RefusedError(Exception):
    """AWX's answer 400, with its words by field."""


class AWX:
    """Objects by kind and id. playbooks: what a project has once it was fetched. prefix: of all addresses."""

    def __init__(self, playbooks: Iterable[str], prefix: str = "/api/", token: str = "token") -> None:
        self.playbooks = sorted(playbooks)
        self.prefix = f"{prefix}v2/"
        self.token = token
        self.sync_fails = False
        self.asked: list[str] = []
        self.objects: dict[str, dict[int, Object]] = {kind: {} for kind in TYPES}
        self.linked: dict[tuple[str, int, str], list[int]] = {}
        self.surveys: dict[int, Object] = {}
        self.secrets: dict[int, Object] = {}
        self._ids = itertools.count(1)
        fields = [{"id": name, "secret": name not in ("username", "become_method", "become_username")}
                  for name in MACHINE]  # fmt: skip
        self._keep(
            "credential_types", {"name": "Machine", "kind": "ssh", "inputs": {"fields": fields}, "managed": True}
        )

    def named(self, kind: str) -> dict[str, Object]:
        """The objects of a kind, by name or identifier."""
        return {str(one.get("identifier") or one["name"]): one for one in self.objects[kind].values()}

    def settle(self) -> None:
        """What AWX does in the background is done."""
        for one in [one for one in self.objects["inventories"].values() if "pending_deletion" in one]:
            self._removed("inventories", one["id"])

    def links(self, kind: str, name: str, relation: str) -> list[int]:
        return sorted(self.linked.get((kind, self.named(kind)[name]["id"], relation), []))

    # what a request is answered with

    def __call__(self, request: Request) -> Response:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _answer(401, {"detail": "Authentication credentials were not provided."})
        if not request.path.startswith(self.prefix):
            return _answer(404, {"detail": "The requested resource could not be found."})
        parts = request.path.removeprefix(self.prefix).strip("/").split("/")
        if request.method != "GET":
            self.asked.append(f"{request.method} {'/'.join(parts)}")
        try:
            return self._of(parts, request)
        except RefusedError as refused:
            return _answer(400, refused.args[0])
        except KeyError:
            return _answer(404, {"detail": "Not found."})

    def _of(self, parts: list[str], request: Request) -> Response:
        kind, data = parts[0], request.get_json(silent=True) or {}
        if kind == "unified_job_templates":
            return self._list(itertools.chain(*(self.objects[one].values() for one in TEMPLATES)), request)
        match (request.method, parts[1:]):
            case ("GET", []):
                return self._list(self.objects[kind].values(), request)
            case ("POST", []):
                return _answer(201, self._made(kind, data))
            case ("GET", [number]):
                return _answer(200, self._shown(kind, self.objects[kind][int(number)]))
            case ("PATCH", [number]):
                return _answer(200, self._changed(kind, int(number), data))
            case ("DELETE", [number]) if kind == "inventories":
                return self._removed_in_background(self.objects[kind][int(number)])
            case ("DELETE", [number]):
                self._removed(kind, int(number))
                return _answer(204, {})
            case (method, [number, relation]):
                return self._related(method, kind, self.objects[kind][int(number)]["id"], relation, data)
        raise KeyError(parts)

    def _related(self, method: str, kind: str, number: int, relation: str, data: Object) -> Response:
        if relation == "survey_spec":
            if method == "POST":
                _check_survey(data)
                self.surveys[number] = data
            return _answer(200, self.surveys.get(number, {}))
        if relation == "update":
            return _answer(202, self._synced(number))
        if relation == "create_approval_template":
            node = self.objects[kind][number]
            approval = self._keep("workflow_approval_templates", data)
            node["unified_job_template"] = approval["id"]
            return _answer(201, self._shown("workflow_approval_templates", approval))
        linked = self.linked.setdefault((kind, number, relation), [])
        target = kind if relation in LINKS else "groups" if relation == "children" else relation
        if method == "GET":
            shown = [self._shown(target, self.objects[target][one]) for one in linked]
            return _answer(200, {"count": len(shown), "next": None, "results": shown})
        if data.get("disassociate"):
            linked.remove(data["id"])
        else:
            self._check_link(kind, number, relation, self.objects[target][data["id"]])
            linked.append(data["id"])
        return _answer(204, {})

    def _removed_in_background(self, inventory: Object) -> Response:
        """An inventory is there for two more looks, and its name is taken until then."""
        if inventory.get("pending_deletion"):
            return _answer(409, {"detail": "Inventory is already pending deletion."})
        inventory["pending_deletion"] = 2
        for one in self.objects["job_templates"].values():
            if one.get("inventory") == inventory["id"]:
                one["inventory"] = None
        return _answer(202, {})

    def _list(self, objects: Iterable[Object], request: Request) -> Response:
        found = [one for one in objects if all(self._fits(one, *asked) for asked in request.args.items())]
        kinds = {name: kind for kind, name in TYPES.items()}
        for one in [one for one in found if "pending_deletion" in one]:
            one["pending_deletion"] -= 1
            if not one["pending_deletion"]:
                self._removed("inventories", one["id"])
        shown = [self._shown(kinds[one["type"]], one) for one in found]
        return _answer(200, {"count": len(found), "next": None, "results": shown})

    def _fits(self, one: Object, name: str, value: str) -> bool:
        field, _, how = name.partition("__")
        if how == "name":  # of the organization
            one, field = self.objects["organizations"].get(one.get(field) or 0, {}), how
        has = str(one.get(field, ""))
        return has.startswith(value) if how == "startswith" else has == value

    # what is kept

    def _made(self, kind: str, data: Object) -> Object:
        given = {name: value for name, value in data.items() if name != "type"}
        self._check(kind, given, None)
        one = self._keep(kind, given)
        shown = self._shown(kind, one)
        if kind == "projects":
            shown["summary_fields"]["current_update"] = {"id": self._synced(one["id"])["id"]}
        return shown

    def _changed(self, kind: str, number: int, data: Object) -> Object:
        one = self.objects[kind][number]
        given = {name: value for name, value in data.items() if name != "type"}
        self._check(kind, {**one, **given}, number)
        self._hide(kind, given, number)
        one.update({name: value for name, value in given.items() if value is not None or one.get(name) is None})
        if kind == "projects" and "scm_branch" in given:
            self._synced(number)
        return self._shown(kind, one)

    def _keep(self, kind: str, given: Object) -> Object:
        number = next(self._ids)
        known = {name: value for name, value in given.items() if value is not None}
        one = {"id": number, "type": TYPES[kind], "description": "", **DEFAULTS.get(kind, {}), **known}
        self._hide(kind, one, number)
        self.objects[kind][number] = one
        return one

    def _hide(self, kind: str, one: Object, number: int) -> None:
        """AWX never shows a secret again."""
        if kind != "credentials" or "inputs" not in one:
            return
        fields = self._fields(one.get("credential_type") or self.objects[kind][number]["credential_type"])
        kept = self.secrets.setdefault(number, {})
        for name, value in one["inputs"].items():
            if value != HIDDEN:
                kept[name] = value
        one["inputs"] = {name: HIDDEN if fields[name].get("secret") else value for name, value in kept.items()}

    def _fields(self, number: int) -> dict[str, Object]:
        return {field["id"]: field for field in self.objects["credential_types"][number]["inputs"]["fields"]}

    def _shown(self, kind: str, one: Object) -> Object:
        url = f"{self.prefix}{kind}/{one['id']}/"
        names = ("survey_spec", "update", "hosts", "children")
        related = {name: f"{url}{name}/" for name in names}
        template = one.get("unified_job_template")
        if kind == "workflow_job_template_nodes" and template in self.objects["workflow_approval_templates"]:
            related["unified_job_template"] = f"{self.prefix}workflow_approval_templates/{template}/"
        organization = self.objects["organizations"].get(one.get("organization") or 0)
        fields = {"organization": {name: organization[name] for name in ("id", "name")}} if organization else {}
        return {**one, "url": url, "related": related, "summary_fields": fields}

    def _synced(self, number: int) -> Object:
        """The project's files are fetched: at once, because nobody waits in tests."""
        project = self.objects["projects"][number]
        status = "failed" if self.sync_fails else "successful"
        revision = project["scm_revision"] if self.sync_fails else f"{project['scm_url']}@{project['scm_branch']}"
        project.update(status=status, scm_revision=revision)
        update = {"name": project["name"], "status": status, "failed": self.sync_fails, "scm_revision": revision}
        return self._shown("project_updates", self._keep("project_updates", {**update, "finished": "now"}))

    def _removed(self, kind: str, number: int) -> None:
        """With all that belongs to it."""
        approval = self.objects[kind].pop(number).get("unified_job_template")
        if kind == "workflow_job_template_nodes":
            self.objects["workflow_approval_templates"].pop(approval or 0, None)
        self.linked = {
            place: [one for one in linked if one != number]
            for place, linked in self.linked.items()
            if place[:2] != (kind, number)
        }
        owner: str = {"inventories": "inventory", "workflow_job_templates": "workflow_job_template"}.get(kind, "")
        gone = "unified_job_template" if kind in TEMPLATES else ""
        for other, objects in self.objects.items():
            for one in [one for one in objects.values() if number in (one.get(owner), one.get(gone))]:
                if kind == "inventories" and other == "job_templates":
                    one["inventory"] = None
                else:
                    self._removed(other, one["id"])

    # what is refused

    def _check(self, kind: str, given: Object, number: int | None) -> None:
        name = "identifier" if kind == "workflow_job_template_nodes" else "name"
        scope = (name, *NAMED_IN.get(kind, ()))
        for other in self.objects[kind].values():
            if other["id"] != number and all(other.get(one) == given.get(one) for one in scope):
                raise RefusedError({"__all__": [f"{TYPES[kind]} with this {', '.join(scope)} already exists."]})
        check: Callable[[Object], None] | None = getattr(self, f"_check_{TYPES[kind]}", None)
        if check:
            check(given)

    def _check_credential_type(self, given: Object) -> None:
        if given.get("kind") not in ("cloud", "net") and not given.get("managed"):
            raise RefusedError({"kind": ["Must be 'cloud' or 'net'."]})
        injectors = given.get("injectors") or {}
        known = {field["id"] for field in given["inputs"]["fields"]}
        known |= {"tower.filename"} if "template" in injectors.get("file", {}) else set()
        for place in ("env", "file", "extra_vars"):
            for name, template in injectors.get(place, {}).items():
                unknown = {*re.findall(r"{{\s*([\w.]+)\s*}}", template)} - known
                if unknown:
                    raise RefusedError({"injectors": [f"{sorted(unknown)[0]} uses an undefined field"]})
                if place == "env" and name.startswith("ANSIBLE_"):
                    raise RefusedError({"injectors": [f"Environment variable {name} is not allowed to be used"]})

    def _check_credential(self, given: Object) -> None:
        fields = self._fields(given["credential_type"])
        if unknown := given["inputs"].keys() - fields.keys():
            raise RefusedError({"inputs": [f"Additional properties are not allowed ({sorted(unknown)[0]!r})"]})
        required = self.objects["credential_types"][given["credential_type"]]["inputs"].get("required", [])
        if lacking := [name for name in required if not given["inputs"].get(name)]:
            raise RefusedError({"inputs": [f"required for it: {lacking[0]}"]})

    def _check_job_template(self, given: Object) -> None:
        project = self.objects["projects"].get(given.get("project") or 0)
        if not project or project["status"] != "successful" or given.get("playbook") not in self.playbooks:
            raise RefusedError({"playbook": ["Playbook not found for project."]})

    def _check_host(self, given: Object) -> None:
        try:
            json.loads(given.get("variables") or "{}")
        except ValueError as exc:
            raise RefusedError({"variables": ["Cannot parse as JSON."]}) from exc

    _check_inventory = _check_group = _check_host

    def _check_schedule(self, given: Object) -> None:
        if not re.fullmatch(r"DTSTART(;TZID=[\w/]+)?:\d{8}T\d{6}Z? RRULE:FREQ=[A-Z]+(;[A-Z]+=\w+)*", given["rrule"]):
            raise RefusedError(
                {"rrule": ["DTSTART required in rrule. Value should start with: DTSTART:YYYYMMDDTHHMMSSZ"]}
            )
        if "INTERVAL=" not in given["rrule"]:
            raise RefusedError({"rrule": ["INTERVAL required in rrule."]})

    def _check_link(self, kind: str, number: int, relation: str, target: Object) -> None:
        if relation == "credentials":
            has = [self.objects["credentials"][one] for one in self.linked[kind, number, relation]]
            if target["credential_type"] in [one["credential_type"] for one in has]:
                raise RefusedError({"error": "Cannot assign multiple credentials of one type."})
        if relation in LINKS:
            for other in LINKS:
                if target["id"] in self.linked.get((kind, number, other), []):
                    raise RefusedError({"Error": "Relationship not allowed."})
            if number in {target["id"], *self._below(kind, target["id"])}:
                raise RefusedError({"Error": "Cycle detected."})

    def _below(self, kind: str, number: int) -> Iterator[int]:
        for relation in LINKS:
            for one in self.linked.get((kind, number, relation), []):
                yield from (one, *self._below(kind, one))


def _check_survey(spec: Object) -> None:
    """As AWX checks one, and that it sends nothing that nobody has answered."""
    asked: set[str] = set()
    if not {"name", "description", "spec"} <= spec.keys():
        raise RefusedError({"error": "'name', 'description' and 'spec' are required in a survey."})
    for number, question in enumerate(spec["spec"]):
        for key in ("type", "question_name", "variable", "required"):
            if key not in question:
                raise RefusedError({"error": f"'{key}' missing from survey question {number}"})
        if question["type"] not in QUESTIONS:
            raise RefusedError({"error": f"'{question['type']}' in survey question {number} is not one of the types"})
        if question["type"].startswith("multi") and not question.get("choices"):
            raise RefusedError({"error": f"Survey question {number} must specify choices."})
        if question["variable"] in asked:
            raise RefusedError(
                {"error": f"'variable' '{question['variable']}' duplicated in survey question {number}."}
            )
        asked.add(question["variable"])


def launched(spec: Object, answers: Object) -> Object:
    """The extra variables of a job that somebody launches: what is answered, and every default (AWX's mixins.py).

    An answer "" is sent for text, and not for a number or a choice.
    """
    sent: Object = {}
    for question in spec["spec"]:
        value = answers.get(question["variable"], question.get("default"))
        if value is None or (value == "" and question["type"] not in ("text", "textarea", "password")):
            continue
        sent[question["variable"]] = value
    return sent


def _answer(status: int, data: Object) -> Response:
    headers = {"X-API-Product-Name": "AWX", "X-API-Product-Version": "24.6.1"}
    return Response(b"" if status == 204 else json.dumps(data), status, headers, content_type="application/json")


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def serving(awx: AWX) -> Iterator[str]:
    """The double at an address of this machine."""
    server = make_server("127.0.0.1", 0, Request.application(awx), threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
