"""The TypeScript client's types are those of docs/openapi.json. Needs no Node."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "sdk" / "typescript" / "src" / "schema.ts").read_text(encoding="utf-8")
DOCUMENT = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))


def test_every_operation_has_its_types() -> None:
    operations = SCHEMA.partition("export interface operations {")[2]
    typed = set(re.findall(r"(?m)^    (\w+): \{$", operations))
    documented = {
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
    }
    assert typed == documented, "run `npm run schema` in sdk/typescript"
    for path in DOCUMENT["paths"]:
        assert f'    "{path}": {{' in SCHEMA, path


def test_every_schema_has_its_type_with_all_fields() -> None:
    section = SCHEMA.partition("    schemas: {")[2]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        body = section.partition(f"\n        {name}: {{\n")[2].partition("\n        };")[0]
        fields = set(re.findall(r"(?m)^            (\w+)\??: ", body))
        assert fields == set(schema.get("properties", {})), f"{name}: run `npm run schema`"
