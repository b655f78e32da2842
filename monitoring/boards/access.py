"""Who is let in, and what the graph depends on: Vault, Redis and their breakers."""

from monitoring.panels import Board, Panel, Query, Row, number
from monitoring.promql import or_zero, quantile, rate, rose, series, share

_REFUSED = "sentiment_access_refusals_total"
_READS = "sentiment_vault_reads_total"
_BREAKERS = f"max by (dependency) ({series('sentiment_breaker_open')})"
_login = f"max({series('sentiment_vault_login_seconds')})"
_lease = f"max({series('sentiment_vault_lease_seconds')})"

BOARD = Board(
    name="access",
    title="sentigraph: access and dependencies",
    says="Who is let in, and is everything there that the graph depends on?",
    numbers=(
        number(
            "Refused at the gate",
            "A second, for any reason. Many at once: a key was replaced and a caller has the old "
            "one, or somebody is guessing.",
            or_zero(rate(_REFUSED)),
            "cps",
            (1.0, 10.0),
        ),
        number(
            "Breakers open",
            "Dependencies that are left alone because they fail. Serving goes on without them.",
            f"max({series('sentiment_breaker_open')})",
            "short",
            (0.5,),
        ),
        number(
            "Vault can be read",
            "1 where it answers, 0 where it does not; no number where no Vault is used.",
            f"max({series('sentiment_vault_up')})",
        ),
        number(
            "Login to Vault ends in",
            "It is renewed at two thirds of its life. Below 300 s there is a ticket.",
            _login,
            "s",
        ),
        number("Redis credentials end in", "Those that Vault made.", _lease, "s"),
        number(
            "Secrets taken over",
            "Replaced in Vault and taken over while running, in the time shown.",
            or_zero(rose("sentiment_vault_rotations_total")),
        ),
    ),
    rows=(
        Row(
            "Access",
            (
                Panel(
                    "Refusals by reason",
                    "unauthenticated: no key, or a wrong one. throttled: too many wrong ones. "
                    "role: a key that may not. rate, concurrency: a caller above its limit.",
                    (Query(rate(_REFUSED, by="reason"), "{{reason}}"),),
                    "cps",
                    stacked=True,
                ),
                Panel(
                    "Breakers by dependency",
                    "0 in use, 1 left alone, 0.5 while it is tried again. cache_…, rate_limit and "
                    "concurrency_limit are Redis.",
                    (Query(_BREAKERS, "{{dependency}}"),),
                    limits=(0.5,),
                    maximum=1.0,
                ),
            ),
        ),
        Row(
            "Vault",
            (
                Panel(
                    "Reads that fail",
                    "Share. Serving goes on with the last secrets until the login ends.",
                    (Query(share(rate(_READS, 'result="error"'), rate(_READS)), "errors"),),
                    "percentunit",
                    (0.5,),
                    maximum=1.0,
                ),
                Panel(
                    "Time to read all secrets",
                    "Seconds: Vault is overloaded or far away.",
                    tuple(
                        Query(quantile(q, "sentiment_vault_duration_seconds"), f"p{q * 100:g}")
                        for q in (0.5, 0.95)
                    ),
                    "s",
                ),
                Panel(
                    "Login and lease",
                    "Saw teeth are renewals; a straight fall to 0 is not being renewed.",
                    (Query(_login, "login"), Query(_lease, "Redis credentials")),
                    "s",
                ),
                Panel(
                    "Secrets taken over",
                    "By name.",
                    (
                        Query(
                            f"60 * {rate('sentiment_vault_rotations_total', by='secret')}",
                            "{{secret}}",
                        ),
                    ),
                    "cpm",
                ),
            ),
        ),
    ),
)
