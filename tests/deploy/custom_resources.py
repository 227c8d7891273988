"""Custom resources against their published schemas, as the API server does it.

Unknown fields are refused, defaults are filled in before rules are asked, and the rules in CEL are
evaluated. KEDA's triggers are free-form in its schema: they are held against KEDA's own description
of their fields. What cannot be evaluated is counted, never passed over.
"""

import copy
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import celpy
import jsonschema
import re2
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.celtypes import BoolType, ListType, StringType
from celpy.evaluation import CELEvalError

Schema: TypeAlias = dict[str, Any]
PRESERVED: Final = "x-kubernetes-preserve-unknown-fields"
RULES: Final = "x-kubernetes-validations"
# A rule on changes says nothing about a first version.
OLD: Final = "oldSelf"


class Schemas:
    """Schemas by apiVersion and kind, and KEDA's triggers by type."""

    def __init__(
        self, kinds: Mapping[tuple[str, str], Schema], triggers: Mapping[str, list[Schema]]
    ) -> None:
        self._kinds = kinds
        self.triggers = triggers

    @classmethod
    def read(cls, folder: Path) -> "Schemas":
        """Read a folder of files that are named <kind>-<group>-<version>.json."""
        kinds: dict[tuple[str, str], Schema] = {}
        for path in folder.glob("*-*.*-v*.json"):
            kind, group, version = path.stem.split("-")
            kinds[f"{group}/{version}", kind] = json.loads(path.read_text())
        scalers = json.loads((folder / "keda-scalers.json").read_text())["scalers"]
        return cls(kinds, {one["type"]: one["parameters"] for one in scalers})

    def of(self, manifest: Mapping[str, Any]) -> Schema | None:
        """Return the schema of a manifest."""
        return self._kinds.get((manifest["apiVersion"], manifest["kind"].lower()))


def is_custom(manifest: Mapping[str, Any]) -> bool:
    """Whether Kubernetes itself knows nothing of its kind."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


@dataclass
class Checked:
    """What came of it. skipped: rules that could not be evaluated, with the reason."""

    errors: list[str] = field(default_factory=list)
    evaluated: int = 0
    skipped: list[str] = field(default_factory=list)


def check(manifest: dict[str, Any], schemas: Schemas) -> Checked:
    """Hold a custom resource against its schema."""
    done = Checked()
    schema = schemas.of(manifest)
    if schema is None:
        done.errors.append(f"{manifest['apiVersion']} {manifest['kind']}: no schema is known")
        return done
    known = strict(schema)
    known["properties"]["metadata"] = {"type": "object"}
    for error in jsonschema.Draft202012Validator(known).iter_errors(manifest):
        done.errors.append(f"{error.json_path}: {error.message[:200]}")
    if not done.errors:
        _Rules(done).ask(schema, defaulted(schema, manifest), manifest["kind"])
    for number, trigger in enumerate(manifest.get("spec", {}).get("triggers", ())):
        done.errors += _trigger_errors(trigger, schemas.triggers, f"triggers[{number}]")
    return done


def strict(schema: Schema) -> Schema:
    """Turn a published schema into a JSON Schema that refuses unknown fields."""
    made = dict(schema)
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in made:
        made["properties"] = {name: strict(one) for name, one in made["properties"].items()}
        if not made.get(PRESERVED):
            made.setdefault("additionalProperties", False)
    for name in ("additionalProperties", "items"):
        if isinstance(made.get(name), dict):
            made[name] = strict(made[name])
    if made.get("nullable") and "type" in made:
        made["type"] = [made["type"], "null"]
    return made


def defaulted(schema: Schema, value: Any) -> Any:
    """Return a copy with the schema's defaults filled in."""
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        lacking = {
            name: copy.deepcopy(one["default"])
            for name, one in fields.items()
            if "default" in one and name not in value
        }
        return {
            name: defaulted(fields.get(name, {}), one) for name, one in (value | lacking).items()
        }
    if isinstance(value, list):
        return [defaulted(schema.get("items", {}), one) for one in value]
    return value


def _trigger_errors(
    trigger: Mapping[str, Any], known: Mapping[str, list[Schema]], where: str
) -> list[str]:
    if trigger["type"] not in known:
        return [f"{where}: KEDA has no trigger {trigger['type']}"]
    fields = {one["name"]: one for one in known[trigger["type"]]}
    given = trigger["metadata"]
    errors = [
        f"{where}: {name} is no field of {trigger['type']}" for name in given if name not in fields
    ]
    for name, one in fields.items():
        if name not in given and not one.get("optional") and "default" not in one:
            errors.append(f"{where}: {name} is missing")
        if name in given and given[name] not in one.get("allowedValue", [given[name]]):
            errors.append(f"{where}: {name}={given[name]} is none of {one['allowedValue']}")
    return errors


def _find(text: StringType, pattern: StringType) -> StringType:
    found = re2.search(str(pattern), str(text))
    return StringType(found.group(0) if found else "")


def _split(text: StringType, separator: StringType) -> ListType:
    return ListType([StringType(part) for part in str(text).split(str(separator))])


# Kubernetes' own additions to the language, as far as the rules in question use them.
FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {"find": _find, "split": _split}


@functools.cache
def _program(rule: str) -> Any:
    """Compile a rule once, however many values are held against it."""
    environment = celpy.Environment()
    return environment.program(environment.compile(rule), functions=dict(FUNCTIONS))


class _Rules:
    """Walks a value beside its schema and asks each rule on the way."""

    def __init__(self, done: Checked) -> None:
        self._done = done

    def ask(self, schema: Schema, value: Any, where: str) -> None:
        for rule in schema.get(RULES, ()):
            if OLD not in rule["rule"]:
                self._evaluate(rule, value, where)
        if isinstance(value, dict):
            others = schema.get("additionalProperties")
            for name, one in value.items():
                below = schema.get("properties", {}).get(name) or others
                if isinstance(below, dict):
                    self.ask(below, one, f"{where}.{name}")
        elif isinstance(value, list):
            for number, one in enumerate(value):
                self.ask(schema.get("items", {}), one, f"{where}[{number}]")

    def _evaluate(self, rule: Mapping[str, str], value: Any, where: str) -> None:
        try:
            holds = _program(rule["rule"]).evaluate({"self": json_to_cel(value)})
        except (CELEvalError, CELParseError) as error:
            self._done.skipped.append(f"{where}: {rule['rule']}: {error}")
            return
        self._done.evaluated += 1
        if holds != BoolType(True):
            self._done.errors.append(f"{where}: {rule.get('message', rule['rule'])}")
