"""What is answered without the model, and whether the shared level pays."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import rate, series, share, total
from monitoring.queries import rates

_LOOKUPS = "sentiment_cache_lookups_total"
_WRITES = "sentiment_cache_writes_total"
_L1, _L2 = 'level="l1"', 'level="l2"'
_l2_asked = rate(_LOOKUPS, _L2, 'result=~"hit|miss"')
_l2_hits = share(rate(_LOOKUPS, _L2, 'result="hit"'), _l2_asked)
_break_even = f"max({series('sentiment_cache_break_even_ratio')})"
_BREAKERS = 'dependency=~"cache_.+"'

BOARD = Board(
    name="cache",
    title="sentigraph: cache",
    description="What is answered without the model, and does the shared level pay?",
    numbers=(
        number(
            "Answered without the model",
            "Share of texts: hits of both levels, and texts that shared another's result.",
            share(rate(_LOOKUPS, 'result=~"hit|shared"'), rate(_LOOKUPS, _L1)),
            "percentunit",
        ),
        number(
            "Level one hits",
            "In the ingress's own memory.",
            share(rate(_LOOKUPS, _L1, 'result="hit"'), rate(_LOOKUPS, _L1)),
            "percentunit",
        ),
        number("Level two hits", "Of the lookups that were sent.", _l2_hits, "percentunit"),
        number(
            "Break-even",
            "Hit ratio at which a lookup in level two just pays. Where hits stay below it, most "
            "lookups are skipped, by design.",
            _break_even,
            "percentunit",
        ),
        number(
            "Memory of level one",
            "Of all ingresses, against `cache.l1_max_bytes` for each.",
            total("sentiment_cache_bytes"),
            "bytes",
        ),
        number(
            "Breakers open",
            "Above 0: the cache does not answer and every text goes to the model. Look at Redis.",
            f"max({series('sentiment_breaker_open', _BREAKERS)})",
            "short",
            (0.5,),
        ),
    ),
    rows=(
        row(
            "Lookups",
            lines(
                "Level one",
                "hit: known. shared: another request computes the same text. miss: on to "
                "level two.",
                rates(_LOOKUPS, _L1, by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Level two",
                "skipped: it would not have paid. error, breaker: Redis is slow or away; "
                "serving goes on without it.",
                rates(_LOOKUPS, _L2, by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Level two: hits against break-even",
                "Hits above break-even save compute. Far below it for days: turn level two "
                "off (`cache.l2`).",
                Query(_l2_hits, "hits"),
                Query(_break_even, "break-even"),
                unit="percentunit",
                maximum=1.0,
            ),
        ),
        row(
            "Upkeep",
            lines(
                "Entries written to level two",
                "error or dropped above a tenth: Redis is slow, or the queue of writes is full.",
                rates(_WRITES, by="result"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Memory of level one",
                "Of each ingress. Flat at its limit is normal.",
                Query(total("sentiment_cache_bytes", by="replica"), "{{replica}}"),
                unit="bytes",
            ),
            lines(
                "Breakers",
                "0 in use, 1 left alone, 0.5 while it is tried again.",
                Query(
                    f"max by (dependency) ({series('sentiment_breaker_open', _BREAKERS)})",
                    "{{dependency}}",
                ),
                limits=(0.5,),
                maximum=1.0,
            ),
        ),
    ),
)
