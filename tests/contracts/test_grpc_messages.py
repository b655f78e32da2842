"""The compiled gRPC messages are those of the ``.proto`` beside them."""

import subprocess
import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from deployments.oip.grpc_messages import COMPILED


def test_the_compiled_messages_are_of_the_source(tmp_path: Path) -> None:
    source = COMPILED.with_suffix(".proto")
    made = tmp_path / "made.binpb"
    command = [sys.executable, "-W", "ignore", "-m", "grpc_tools.protoc", f"-I{source.parent}"]
    subprocess.run([*command, f"--descriptor_set_out={made}", str(source)], check=True, timeout=60)
    same = FileDescriptorSet.FromString(made.read_bytes()) == FileDescriptorSet.FromString(
        COMPILED.read_bytes()
    )
    assert same, "run `make proto`"
