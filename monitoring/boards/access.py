"""Who is let in, and what the graph depends on: Vault, Redis and their breakers."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import or_zero, rate, rose, series, share
from monitoring.queries import quantiles, rates

_REFUSED = "sentiment_access_refusals_total"
_READS = "sentiment_vault_reads_total"
_BREAKERS = f"max by (dependency) ({series('sentiment_breaker_open')})"
_login = f"max({series('sentiment_vault_login_seconds')})"
_lease = f"max({series('sentiment_vault_lease_seconds')})"

BOARD = Board(
    name="access",
    title="sentigraph: access and dependencies",
    description="Who is let in, and is everything there that the graph depends on?",
    numbers=(
        number(
            "Refused at the gate",
            "A second, for any reason. Many at once: a key was replaced and a caller has the old "
            "one, or keys are being guessed.",
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
        row(
            "Access",
            lines(
                "Refusals by reason",
                "unauthenticated: no key, or a wrong one. throttled: too many wrong ones. "
                "role: a key that may not. rate, concurrency: a caller above its limit.",
                rates(_REFUSED, by="reason"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Breakers by dependency",
                "0 in use, 1 left alone, 0.5 while it is tried again. cache_…, rate_limit and "
                "concurrency_limit are Redis.",
                Query(_BREAKERS, "{{dependency}}"),
                limits=(0.5,),
                maximum=1.0,
            ),
        ),
        row(
            "Vault",
            lines(
                "Reads that fail",
                "Share. Serving goes on with the last secrets until the login ends.",
                Query(share(rate(_READS, 'result="error"'), rate(_READS)), "errors"),
                unit="percentunit",
                limits=(0.5,),
                maximum=1.0,
            ),
            lines(
                "Time to read all secrets",
                "Seconds: Vault is overloaded or far away.",
                *quantiles("sentiment_vault_duration_seconds", (0.5, 0.95)),
                unit="s",
            ),
            lines(
                "Login and lease",
                "Saw teeth are renewals; a straight fall to 0 is not being renewed.",
                Query(_login, "login"),
                Query(_lease, "Redis credentials"),
                unit="s",
            ),
            lines(
                "Secrets taken over",
                "By name.",
                Query(f"60 * {rate('sentiment_vault_rotations_total', by='secret')}", "{{secret}}"),
                unit="cpm",
            ),
        ),
    ),
)
