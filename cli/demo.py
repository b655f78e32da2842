"""``sentigraph demo``: ten sentences to a running server, and what it says about them."""

import argparse
import json
import time
import urllib.error
import urllib.request
from typing import Any

from operations.errors import StackError

SENTENCES = (
    "I absolutely love this phone, the camera is stunning.",
    "The delivery was late and nobody answered my calls.",
    "The meeting is on Tuesday at ten.",
    "Not bad at all, I would buy it again.",
    "Worst customer service I have ever had.",
    "It works.",
    "The plot was thin, but the actors were wonderful.",
    "I want my money back!",
    "My flight leaves from gate 12.",
    "Best coffee in town, and such friendly people.",
)
_BAR_CELLS = 20
_TIMEOUT_S = 30.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph demo`."""
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="server to ask")
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def main(args: argparse.Namespace) -> int:
    """Asks, prints a table, returns the exit status.

    Raises:
        StackError: No server answers, or it refuses.
    """
    answers = [predict(args.url, text) for text in SENTENCES]
    if args.json:
        print(json.dumps(answers, ensure_ascii=False))
        return 0
    for text, answer in zip(SENTENCES, answers, strict=True):
        print(row(text, answer))
    first = answers[0]
    print(f"\n{first['model_name']} version {first['model_version']}, {first['backend']}")
    return 0


def predict(url: str, text: str) -> dict[str, Any]:
    """One answer of the server, with ``ms`` added: the time that the client waited.

    Raises:
        StackError: No server answers, or it refuses.
    """
    request = urllib.request.Request(  # noqa: S310  (the user's own address)
        f"{url.rstrip('/')}/api/v1/predict",
        data=json.dumps({"text": text}).encode(),
        headers={"Content-Type": "application/json"},
    )
    started_s = time.perf_counter()
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 # nosec B310
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        said = error.read().decode("utf-8", "replace")[:200]
        raise StackError(f"{url} answered {error.code}: {said}") from error
    except (OSError, ValueError) as error:
        raise StackError(
            f"no sentigraph server answers at {url}: start one with `sentigraph serve`"
        ) from error
    return {**answer, "ms": (time.perf_counter() - started_s) * 1000}


def row(text: str, answer: dict[str, Any]) -> str:
    """One line of the table: text, label, bar, score, milliseconds."""
    score = float(answer["score"])
    bar = "█" * round(score * _BAR_CELLS)
    return (
        f"{text:<55} {answer['label']:<10} {bar:<{_BAR_CELLS}} {score:5.2f} {answer['ms']:7.1f} ms"
    )
