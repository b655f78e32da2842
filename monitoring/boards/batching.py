"""Does planning by cost pay: batches, padding, and costs against what was predicted."""

from monitoring.panels import Board, Query, lines, number, row
from monitoring.promql import mean, quantile, rate, total
from monitoring.queries import quantiles, rates

_ROWS = "sentiment_batch_rows"
_PADDING = "sentiment_batch_padding_ratio"
_ERROR = "sentiment_cost_surface_error_ratio"
_INFERENCE = "sentiment_inference_duration_seconds"
_TOKENS = "sentiment_tokens_total"

BOARD = Board(
    name="batching",
    title="sentigraph: batching and cost",
    description="Are engines kept busy with few padded cells, and do the measured costs hold?",
    numbers=(
        number(
            "Tokens",
            "Tokens a second through the engines, padding excluded: the work that is done.",
            rate(_TOKENS),
            "cps",
        ),
        number(
            "Texts in a batch",
            "Mean. On a CPU small batches are cheapest; on a GPU it should grow with the load.",
            mean(_ROWS),
        ),
        number(
            "Padding",
            "Share of what engines compute that is padding. Above 30 %: texts of very different "
            "lengths meet in a small window; see batching in docs/settings.md.",
            mean(_PADDING),
            "percentunit",
            (0.15, 0.3),
        ),
        number(
            "Cost: actual over predicted",
            "1 is exact. Far above 1 for long: something else takes the cores. Restart the model "
            "replicas to measure anew when the machine changed.",
            mean(_ERROR),
            "short",
            (1.25, 1.5),
        ),
        number(
            "Engine batch, p95",
            "Duration of the engine batch that held a text.",
            quantile(0.95, _INFERENCE),
            "s",
        ),
        number(
            "Texts in a hop",
            "Texts that one RPC to the tokenizer carries; near 1 the hop itself costs most.",
            mean("sentiment_hop_texts"),
        ),
    ),
    rows=(
        row(
            "Batches",
            lines(
                "Texts in an engine batch",
                "All at 1 under load on a GPU: the cost surface was measured wrong, or "
                "`batching.max_batch_texts` is 1.",
                Query(mean(_ROWS), "mean"),
                Query(quantile(0.5, _ROWS), "p50"),
                Query(quantile(0.95, _ROWS), "p95"),
            ),
            lines(
                "Engine batches a second",
                "With the texts in each: the throughput.",
                Query(rate(f"{_ROWS}_count"), "batches"),
                Query(rate(f"{_ROWS}_sum"), "texts"),
                unit="cps",
            ),
            lines(
                "Padding",
                "Share of the cells of engine batches.",
                Query(mean(_PADDING), "mean"),
                Query(quantile(0.95, _PADDING), "p95"),
                unit="percentunit",
                limits=(0.3,),
                maximum=1.0,
            ),
            lines(
                "Texts in one RPC",
                "A micro-batch takes what has come while the last ones were in flight; it grows "
                "with the load by itself.",
                Query(mean("sentiment_hop_texts"), "mean"),
                Query(quantile(0.95, "sentiment_hop_texts"), "p95"),
            ),
            lines(
                "Messages by road",
                "Texts and scores travel on sockets. `handle`: no socket to a tokenizer or a "
                "model could be opened, and Ray's calls cost several times as much; look at the "
                "NetworkPolicy between nodes.",
                rates("sentiment_stage_messages_total", by="road"),
                unit="cps",
            ),
        ),
        row(
            "Cost",
            lines(
                "Actual over predicted duration",
                "1 is exact. p95 far above the mean: single batches are disturbed. All of "
                "them: threads and cores do not match (`sentigraph doctor`).",
                Query(mean(_ERROR), "mean"),
                Query(quantile(0.05, _ERROR), "p5"),
                Query(quantile(0.95, _ERROR), "p95"),
                limits=(1.5,),
            ),
            lines(
                "Duration of engine batches",
                "Rises with batch size; rising at equal size means slower cores.",
                *quantiles(_INFERENCE, (0.5, 0.95)),
                unit="s",
            ),
            lines(
                "Tokens a second",
                "Falls while requests rise: texts became shorter, or the cache answers.",
                Query(rate(_TOKENS), "tokens"),
                unit="cps",
            ),
        ),
        row(
            "GPU memory",
            lines(
                "Memory of the card",
                "Of PyTorch engines, all replicas together. Allocated near the limit: the next "
                "larger batch is halved; give replicas a larger share of the card.",
                Query(total("sentiment_gpu_memory_bytes", by="kind"), "{{kind}}"),
                unit="bytes",
            ),
            lines(
                "Batches that did not fit",
                "Halved and answered all the same; the replica then makes smaller ones until it "
                "starts anew.",
                Query(rate("sentiment_engine_out_of_memory_total"), "batches"),
                unit="cps",
            ),
            lines(
                "Largest batch, padded tokens",
                "Sum over replicas of the rows times padded length that a batch may have. Falls "
                "when one did not fit.",
                Query(total("sentiment_engine_batch_tokens_limit"), "tokens"),
            ),
        ),
    ),
)
