"""The chart rendered by Helm's own code, and the checks by schema of what comes out.

No cluster is asked: admission, CEL rules and scheduling are not covered.
"""

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import jsonschema
import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "kuberay" / "chart"
SCHEMAS = Path(__file__).parent / "schemas"
KUBERNETES = "1.34"
RELEASE = "sentigraph"

# What a person installs → the files that they pass, in order.
ENVIRONMENTS = {
    "defaults": (),
    "development": ("development",),
    "staging": ("staging",),
    "production": ("production",),
    "production-spot": ("production", "production-spot"),
    "production-streams": ("production", "streams"),
    "production-multi-gpu": ("production", "production-multi-gpu"),
}

Document = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Refuses what YAML itself lets pass: a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.YAMLError(f"{sorted(twice)} twice in line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """As Helm merges values: maps by key, everything else replaced."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        result[key] = merged(old, value) if both else value  # type: ignore[arg-type]
    return result


def values_of(environment: str) -> dict[str, Any]:
    """An environment's own values, without the chart's defaults."""
    values: dict[str, Any] = {}
    for name in ENVIRONMENTS[environment]:
        file = ROOT / "kuberay" / "environments" / f"{name}.yaml"
        values = merged(values, yaml.safe_load(file.read_text(encoding="utf-8")))
    return values


def leaves(values: object) -> Iterator[object]:
    """Every leaf of nested values but switches."""
    if isinstance(values, Mapping):
        for value in values.values():
            yield from leaves(value)
    elif isinstance(values, list):
        for value in values:
            yield from leaves(value)
    elif not isinstance(values, bool):
        yield values


def render(values: Mapping[str, Any]) -> list[Document]:
    """Every manifest; raises HelmValuesError or HelmRenderError where the chart refuses."""
    rendered = _chart().render(dict(values), name=RELEASE, namespace=RELEASE)
    documents: list[Document] = []
    for path, text in rendered.items():
        if not path.endswith("NOTES.txt"):
            documents += [part for part in yaml.load_all(text, _Loader) if part]
    return documents


@cache
def _chart() -> helm.Chart:
    return helm.Chart.load(CHART)


@cache
def _schema(kind: str, version: str) -> jsonschema.Draft7Validator | None:
    file = SCHEMAS / f"{kind}-{version}.json.gz"
    if not file.is_file():
        return None
    return jsonschema.Draft7Validator(json.loads(gzip.decompress(file.read_bytes())))


def schema_problems(document: Document) -> Iterator[str]:
    """What Kubernetes' or the operator's schema refuses; a kind without a schema is refused too."""
    where = f"{document.get('kind')}/{document.get('metadata', {}).get('name')}"
    custom = _schema(str(document.get("kind")), str(document.get("apiVersion")).rpartition("/")[2])
    if custom is not None:
        for error in custom.iter_errors(document):
            yield f"{where}: {error.json_path}: {error.message[:300]}"
        return
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {'.'.join(map(str, error.path))}: {error.message[:300]}"
    except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        yield f"{where}: has no schema in Kubernetes {KUBERNETES}: {error}"
