"""Is it fast, is it right, is anything refused: the first dashboard to open."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import mean, quantile, rate, share, total
from monitoring.queries import quantiles, rates

_PREDICT = 'endpoint=~"/api/v1/predict.*"'
_REQUESTS = "sentiment_requests_total"
_SECONDS = "sentiment_request_duration_seconds"
_STAGES = "sentiment_stage_duration_seconds"
_SLOW_S = 0.25

_within = rate(f"{_SECONDS}_bucket", _PREDICT, f'le="{_SLOW_S}"')
_failed = share(rate(_REQUESTS, _PREDICT, 'status_code=~"5.."'), rate(_REQUESTS, _PREDICT))
_refused = share(rate(_REQUESTS, 'status_code="429"'), rate(_REQUESTS))

BOARD = Board(
    name="serving",
    title="sentigraph: serving",
    description="Is it fast, is it right, is anything refused?",
    numbers=(
        number(
            "Requests",
            "Predictions asked for over HTTP, a second. None for long: callers do not reach us.",
            rate(_REQUESTS, _PREDICT),
            "reqps",
        ),
        number(
            "Failed",
            "Predictions answered with a 5xx; the objective is 0.1 %. Above it, read the error "
            "codes below, then the log of the deployment that they name.",
            _failed,
            "percentunit",
            (0.001, 0.01),
        ),
        number(
            "Within 250 ms",
            "Predictions answered within the objective, which is 95 %. Below it, see which stage "
            "takes the time.",
            f"{_within} / {rate(f'{_SECONDS}_count', _PREDICT)}",
            "percentunit",
            (0.72, 0.95),
            low_is_bad=True,
        ),
        number(
            "p99",
            "99 of 100 predictions are answered within this time.",
            quantile(0.99, _SECONDS, _PREDICT),
            "s",
            (0.25, 1.0),
        ),
        number(
            "Refused as overload",
            "Share of all requests answered 429. Above 2 % there is a page: replicas are at "
            "their bound, or a caller is above its own limit (access dashboard).",
            _refused,
            "percentunit",
            (0.005, 0.02),
        ),
        number(
            "Ingress replicas with a model",
            "0: nothing is served. Look at the Ray dashboard's Serve page and at the Registry "
            "deployment's log.",
            total("sentiment_model_loaded"),
            "short",
            (1.0,),
            low_is_bad=True,
        ),
    ),
    rows=(
        row(
            "Requests",
            lines(
                "Requests by status",
                "All routes. 429 is overload or a limit, 504 a deadline that passed while "
                "waiting, 503 a replica that is not ready.",
                rates(_REQUESTS, by="status_code"),
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Requests by route",
                "The route of each request.",
                rates(_REQUESTS, by="endpoint"),
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Predictions by way",
                "fast: in the HTTP server's callbacks. general: through Ray Serve, for three times "
                "the CPU: slow or large bodies, unusual headers, or more at once than "
                "`replicas.ingress.max_ongoing_requests`. All general: the ingress's log says why.",
                rates("sentiment_predict_requests_total", by="way"),
                unit="reqps",
                stacked=True,
            ),
            lines(
                "Latency of predictions",
                "From the first byte of a request to its answer; dashed: the objective. When "
                "p99 leaves p50 behind, look at the queue; when all rise together, at the "
                "engine.",
                *quantiles(_SECONDS, (0.5, 0.95, 0.99), _PREDICT),
                unit="s",
                limits=(_SLOW_S,),
            ),
        ),
        row(
            "Where the time goes",
            lines(
                "Stages, 95th percentile",
                "Of a micro-batch, and queue of one text. rpc holds tokenize, window and "
                "infer. Queue alone high: more ingress or model replicas.",
                Query(quantile(0.95, _STAGES, by="stage"), "{{stage}}"),
                unit="s",
            ),
            lines(
                "Waiting and in work",
                "Texts that wait in the ingresses and requests being answered. A queue that "
                "only grows ends in 429.",
                Query(total("sentiment_queued_texts"), "texts waiting"),
                Query(total("sentiment_active_requests"), "requests in work"),
            ),
            lines(
                "Predicted wait",
                "By which a text is admitted or refused: the longest of all replicas. Close "
                "to callers' deadlines, texts are about to be refused.",
                Query(f"max({total('sentiment_predicted_wait_seconds', by='replica')})", ""),
                unit="s",
                limits=(0.5,),
            ),
            lines(
                "Texts dropped before compute",
                "By reason. Deadline: callers wait less than the queue takes. Cancelled: "
                "callers hang up.",
                rates("sentiment_dropped_texts_total", by="reason"),
                unit="cps",
                limits=(1.0,),
            ),
            lines(
                "Texts without an answer",
                "The model answers others and has none for these: token ids or lengths that it "
                "does not take, values that are not finite. Each ends with E2002 alone.",
                Query(rate("sentiment_failed_texts_total"), "failed"),
                unit="cps",
                limits=(0.2,),
            ),
            lines(
                "Faults made on purpose",
                "By `/api/v1/chaos`, where chaos.enabled is set; never in production.",
                rates("sentiment_injected_faults_total", by="type"),
                unit="cps",
            ),
            lines(
                "Micro-batches sent again",
                "Because a replica was lost. More than one now and then: replicas are killed; "
                "look for memory limits and spot nodes.",
                Query(rate("sentiment_hop_retries_total"), "again"),
                unit="cps",
                limits=(0.2,),
            ),
            lines(
                "Texts a request",
                "Predictions answered for each request; a jump means that a caller changed "
                "how it batches.",
                Query(
                    f"{rate('sentiment_predictions_total')} / {rate(_REQUESTS, _PREDICT)}", "texts"
                ),
            ),
        ),
        row(
            "What is asked",
            lines(
                "Length of texts",
                "In characters. Longer texts cost more; a jump explains latency before any "
                "other search.",
                Query(mean("sentiment_text_length_characters"), "mean"),
                Query(quantile(0.95, "sentiment_text_length_characters"), "p95"),
            ),
            lines(
                "Predictions by label",
                "Texts a second, from HTTP, gRPC, Kafka and jobs.",
                rates("sentiment_predictions_total", by="label"),
                unit="cps",
                stacked=True,
            ),
            lines(
                "Trace spans",
                "Exported, or lost: failed when the collector did not take them, dropped when "
                "too many waited. Requests do not notice either.",
                rates("sentiment_trace_spans_total", by="result"),
                unit="cps",
            ),
        ),
    ),
)
