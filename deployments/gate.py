"""Puts the gate together: keys, their watch in Vault, rates, and the routes behind them.

Imported by the ingress only when ``access.required`` is true.
"""

from configs.schema import AppConfig
from deployments.access import Access
from deployments.callers import KeyRing
from deployments.concurrency import ReplicaSlots, SharedSlots, Slots
from deployments.metrics import Metrics
from deployments.rate_limit import Rates, ReplicaRates, SharedRates
from deployments.redis_client import Login
from deployments.secrets import SecretWatch


async def open_gate(config: AppConfig, metrics: Metrics) -> Access:
    """What ``access`` asks for, working; its keys and passwords stay current."""
    keys = KeyRing(config.access)
    login = Login(config.redis, leased=bool(config.vault.redis_role))
    shared = config.access.rate_store == "redis"
    watch = None
    if config.vault.enabled:
        using = {"access.api_keys": keys.replace}
        watch = SecretWatch(config.vault, using, metrics, login if shared else None)
    rates: Rates = ReplicaRates(config.access.burst_s)
    slots: Slots = ReplicaSlots()
    if shared:
        rates = SharedRates(config, metrics, login)
        slots = SharedSlots(config, metrics, login)
    access = Access(config.access, keys, metrics, rates=rates, slots=slots, secrets=watch)
    await access.start()
    return access
