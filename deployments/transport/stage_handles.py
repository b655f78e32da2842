"""Tokenizer and Model replicas through Ray: where sockets are, and calls where there is none."""

from collections.abc import Mapping

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.telemetry.metrics import Metrics
from deployments.transport.endpoint import Address, Endpoint, Operation
from deployments.transport.handles import by_value, is_lost
from deployments.transport.links import Discover
from deployments.transport.remote_stages import RemoteStages


class StageHandles:
    """``Handles`` of the running application."""

    def __init__(self, tokenizer: DeploymentHandle, model: DeploymentHandle) -> None:
        self.tokenize = by_value(tokenizer).tokenize.remote
        self.run = by_value(model).run.remote
        self.facts = by_value(model).facts.remote
        self.is_lost = is_lost


async def open_stages(
    config: AppConfig,
    deployment: str,
    tokenizer: DeploymentHandle,
    metrics: Metrics,
    calls: int,
) -> RemoteStages:
    """Tokenizer and Model deployments, with connections to all replicas that there are."""
    application = serve.get_replica_context().app_name
    model = serve.get_deployment_handle("Model", application)

    def discover(handle: DeploymentHandle) -> Discover:
        async def addresses() -> list[Address]:
            found: list[Address] = await handle.broadcast("address").results_async()
            return found

        return addresses

    stages = RemoteStages(
        config,
        StageHandles(tokenizer, model),
        metrics,
        deployment=deployment,
        node=ray.get_runtime_context().get_node_id(),
        models=discover(model),
        tokenizers=discover(tokenizer),
        calls=calls,
    )
    await stages.start()
    return stages


async def open_endpoint(operations: Mapping[str, Operation]) -> tuple[Endpoint, Address]:
    """The socket of this replica."""
    endpoint = Endpoint(operations)
    replica = serve.get_replica_context().replica_id.unique_id
    node, host = ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()
    return endpoint, await endpoint.open(replica, node, host)
