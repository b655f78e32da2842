"""``sentigraph demo``: ten sentences to a running server, and what it says about them."""

import argparse
import json
import time
from typing import Any

from cli.connections import add_server_arguments, open_server

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
    add_server_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the answers as JSON")


def main(args: argparse.Namespace) -> int:
    """Asks, prints a table, returns the exit status.

    Raises:
        StackError: The server does not answer, or it refuses.
    """
    server = open_server(args, _TIMEOUT_S)
    answers = []
    for text in SENTENCES:
        started_s = time.perf_counter()
        answer = server.ask("POST", "/api/v1/predict", {"text": text})
        answers.append({**answer, "ms": (time.perf_counter() - started_s) * 1000})
    if args.json:
        print(json.dumps(answers, ensure_ascii=False))
        return 0
    for text, answer in zip(SENTENCES, answers, strict=True):
        print(row(text, answer))
    first = answers[0]
    print(f"\n{first['model_name']} version {first['model_version']}, {first['backend']}")
    if console := server.ask("GET", "/").get("console_url"):
        print(f"open {server.url}{console} to see more of it")
    return 0


def row(text: str, answer: dict[str, Any]) -> str:
    """One line of the table: text, label, bar, score, milliseconds."""
    score = float(answer["score"])
    bar = "█" * round(score * _BAR_CELLS)
    return (
        f"{text:<55} {answer['label']:<10} {bar:<{_BAR_CELLS}} {score:5.2f} {answer['ms']:7.1f} ms"
    )
