"""Writes ``sentigraph_client/_models.py`` from ``docs/openapi.json``.

Limits and closed lists of values are left out: the server checks what it takes, and an answer of
a newer server must not fail in an older client. Needs ``datamodel-codegen`` on the path;
``make sdk-models`` installs it.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
DOCUMENT = PACKAGE.parents[1] / "docs" / "openapi.json"
MODELS = PACKAGE / "sentigraph_client" / "_models.py"
_LIMITS = {
    "enum",
    "const",
    "pattern",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "title",
    "examples",
    "additionalProperties",
}
_OPTIONS = (
    "--input-file-type=openapi",
    "--output-model-type=pydantic_v2.BaseModel",
    "--base-class=sentigraph_client._body.Body",
    "--target-python-version=3.11",
    "--use-standard-collections",
    "--use-union-operator",
    "--use-schema-description",
    "--use-field-description",
    "--use-double-quotes",
    "--use-annotated",
    "--strict-nullable",
    "--disable-timestamp",
    "--collapse-root-models",
    "--formatters=ruff-format",
    "--formatters=ruff-check",
)


def open_schema(schema: Any) -> Any:
    """The schema without limits, in all its parts."""
    if isinstance(schema, list):
        return [open_schema(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {
        name: {field: open_schema(each) for field, each in part.items()}
        if name == "properties"
        else open_schema(part)
        for name, part in schema.items()
        if name not in _LIMITS or (name == "additionalProperties" and isinstance(part, dict))
        if name != "default" or not isinstance(part, dict)
    }
    if "const" in schema or "enum" in schema:
        kept["type"] = "string"
    return kept


def main() -> int:
    """Runs the generator, returns its exit status."""
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    schemas = {
        name: open_schema(schema) for name, schema in document["components"]["schemas"].items()
    }
    reduced = {
        "openapi": document["openapi"],
        "info": document["info"],
        "paths": {},
        "components": {"schemas": schemas},
    }
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "openapi.json"
        source.write_text(json.dumps(reduced), encoding="utf-8")
        command = ["datamodel-codegen", "--input", str(source), "--output", str(MODELS), *_OPTIONS]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
