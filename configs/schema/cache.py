"""Settings of remembered predictions. Part of ``schema.py``."""

from typing import Literal

from pydantic import Field

from configs.schema.section import Section


class CacheConfig(Section):
    """Two levels of remembered predictions, keyed by model digest and text digest."""

    l1_max_bytes: int = Field(
        16_777_216,
        ge=0,
        le=1 << 36,
        description="Memory of the cache inside each ingress; the least recently used entry leaves first. 0 turns it off.",
    )
    l2: Literal["auto", "none", "memory", "redis"] = Field(
        "auto",
        description="Shared second level: in the memory of the Cache deployment, or in Redis behind it; `none` leaves that deployment out of the graph. `auto` is `memory` where several replicas would share it, else `none`.",
    )
    l2_max_bytes: int = Field(
        67_108_864,
        ge=1_024,
        le=1 << 40,
        description="Memory of the Cache deployment; the least recently used entry leaves first. With Redis its own `maxmemory` counts.",
    )
    flight_wait_ms: int = Field(
        20,
        ge=0,
        le=1_000,
        description="With Redis: how long a text that another ingress is classifying now is waited for; afterwards it is classified again. 0 never waits.",
    )
    l2_timeout_ms: int = Field(
        50,
        ge=1,
        le=10_000,
        description="Longest wait for the second level; afterwards the model answers instead.",
    )
    ttl_s: int = Field(
        3_600,
        ge=1,
        le=2_592_000,
        description="Age at which an entry of either level is no longer used.",
    )
