"""Puts the gate together: keys, their watch in Vault, rates, and the routes behind them.

Imported by the ingress only when ``access.required`` is true.
"""

from configs.schema import AppConfig
from deployments.access import Access
from deployments.callers import KeyRing
from deployments.concurrency import ReplicaSlots, SharedSlots, Slots
from deployments.metrics import Metrics
from deployments.rate_limit import Rates, ReplicaRates, SharedRates
from deployments.redis_client import Held
from deployments.secrets import SecretWatch


async def open_gate(config: AppConfig, metrics: Metrics) -> Access:
    """What ``access`` asks for, working; its keys and passwords stay current."""
    keys = KeyRing(config.access)
    password = Held(config.redis.password.get_secret_value())
    using = {"access.api_keys": keys.replace, "redis.password": password.replace}
    watch = SecretWatch(config.vault, using, metrics) if config.vault.enabled else None
    rates: Rates = ReplicaRates(config.access.burst_s)
    slots: Slots = ReplicaSlots()
    if config.access.rate_store == "redis":
        rates = SharedRates(config, metrics, password.current)
        slots = SharedSlots(config, metrics, password.current)
    access = Access(config.access, keys, metrics, rates=rates, slots=slots, secrets=watch)
    await access.start()
    return access
