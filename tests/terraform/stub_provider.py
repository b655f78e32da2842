"""A Terraform provider that knows only a table of a real provider's schema.

Terraform's own core then runs ``init``, ``validate``, ``test`` with mocks and ``plan`` with no
network and no provider: arguments, blocks, types and references are checked, values are not.
Runs in the environment `.venv/tools/terraform`, which has the PyPI package ``tf``.

Usage, as Terraform starts it: ``python stub_provider.py TABLE.json.gz``
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

NESTING = {"single": 1, "list": 2, "set": 3, "map": 4}


# What a cloud would answer, for a plan without mocks.
ANSWERS = {
    "aws_caller_identity": {"account_id": "123456789012"},
    "aws_availability_zones": {"names": ["eu-central-1a", "eu-central-1b", "eu-central-1c"]},
}


def main(table: Path) -> None:  # noqa: C901 - one class of the protocol, made late
    """Serves the provider protocol until Terraform ends it."""
    import msgpack  # noqa: PLC0415 - of that environment only
    import tf.provider  # noqa: PLC0415
    import tf.runner  # noqa: PLC0415
    from tf.gen import tfplugin_pb2 as pb  # noqa: PLC0415
    from tf.gen import tfplugin_pb2_grpc as rpc  # noqa: PLC0415

    known = json.loads(gzip.decompress(table.read_bytes()))
    unknown = msgpack.ExtType(0, b"\x00")

    def attribute(name: str, entry: dict[str, Any]) -> Any:
        made = pb.Schema.Attribute(
            name=name, required=entry["r"], optional=entry["o"], computed=entry["c"]
        )
        if "t" in entry:
            made.type = json.dumps(entry["t"]).encode()
        else:
            parts = [attribute(key, part) for key, part in entry["n"]["attrs"].items()]
            nested = pb.Schema.Object(attributes=parts, nesting=NESTING[entry["m"]])
            made.nested_type.CopyFrom(nested)
        return made

    def block(entry: dict[str, Any]) -> Any:
        nested = []
        for name, part in entry["blocks"].items():
            bounds = (0, 0) if part["m"] == "single" else (part["min"], part["max"])
            nested.append(
                pb.Schema.NestedBlock(
                    type_name=name,
                    block=block(part["b"]),
                    nesting=NESTING[part["m"]],
                    min_items=bounds[0],
                    max_items=bounds[1],
                )
            )
        attributes = [attribute(name, part) for name, part in entry["attrs"].items()]
        return pb.Schema.Block(attributes=attributes, block_types=nested)

    def schema(entry: dict[str, Any]) -> Any:
        return pb.Schema(version=0, block=block(entry))

    def fill(entry: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        """What only the cloud knows is unknown in a plan."""
        for name, part in entry["attrs"].items():
            if part["c"] and value.get(name) is None:
                value[name] = unknown
        for name, part in entry["blocks"].items():
            inner = value.get(name)
            for item in inner if isinstance(inner, list) else [inner]:
                if isinstance(item, dict):
                    fill(part["b"], item)
        return value

    class Servicer(rpc.ProviderServicer):  # type: ignore[misc]
        def __init__(self, _: object) -> None: ...

        def GetMetadata(self, *_: object) -> Any:  # noqa: N802 - the protocol's names
            resource, source = pb.GetMetadata.ResourceMetadata, pb.GetMetadata.DataSourceMetadata
            return pb.GetMetadata.Response(
                resources=[resource(type_name=name) for name in known["resources"]],
                data_sources=[source(type_name=name) for name in known["data"]],
            )

        def GetProviderSchema(self, *_: object) -> Any:  # noqa: N802
            return pb.GetProviderSchema.Response(
                provider=schema(known["provider"] or {"attrs": {}, "blocks": {}}),
                resource_schemas={
                    name: schema(entry) for name, entry in known["resources"].items()
                },
                data_source_schemas={name: schema(entry) for name, entry in known["data"].items()},
            )

        def ValidateProviderConfig(self, *_: object) -> Any:  # noqa: N802
            return pb.ValidateProviderConfig.Response()

        def ValidateResourceConfig(self, *_: object) -> Any:  # noqa: N802
            return pb.ValidateResourceConfig.Response()

        def ValidateDataResourceConfig(self, *_: object) -> Any:  # noqa: N802
            return pb.ValidateDataResourceConfig.Response()

        def ConfigureProvider(self, *_: object) -> Any:  # noqa: N802
            return pb.ConfigureProvider.Response()

        def PlanResourceChange(self, request: Any, _: object) -> Any:  # noqa: N802
            value = msgpack.unpackb(request.proposed_new_state.msgpack, strict_map_key=False)
            if value is not None:
                value = fill(known["resources"][request.type_name], value)
            return pb.PlanResourceChange.Response(
                planned_state=pb.DynamicValue(msgpack=msgpack.packb(value)), legacy_type_system=True
            )

        def ReadDataSource(self, request: Any, _: object) -> Any:  # noqa: N802
            value = msgpack.unpackb(request.config.msgpack, strict_map_key=False)
            value |= ANSWERS[request.type_name]
            return pb.ReadDataSource.Response(state=pb.DynamicValue(msgpack=msgpack.packb(value)))

        def GetFunctions(self, *_: object) -> Any:  # noqa: N802
            return pb.GetFunctions.Response()

        def StopProvider(self, *_: object) -> Any:  # noqa: N802
            return pb.StopProvider.Response()

    tf.provider.ProviderServicer = Servicer
    tf.runner.run_provider(None, [sys.argv[0]])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
