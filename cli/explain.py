"""``sentigraph explain TEXT``: which words made a running server's answer."""

import argparse
import json
from typing import Any

from cli.connections import add_server_arguments, open_server

_TIMEOUT_S = 65.0
_CELLS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph explain`."""
    parser.add_argument("text", help="what the server classifies")
    parser.add_argument(
        "--method",
        choices=("occlusion", "shapley"),
        default="occlusion",
        help="shapley takes several times as long and gives standard errors",
    )
    parser.add_argument("--check", action="store_true", help="measure the explanation as well")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    add_server_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Asks, prints a table, returns the exit status.

    Raises:
        StackError: The server does not answer, or it refuses.
    """
    asked = {"text": args.text, "method": args.method, "check": args.check}
    answer = open_server(args, _TIMEOUT_S).ask("POST", "/api/v1/monitoring/explain", asked)
    print(json.dumps(answer, ensure_ascii=False) if args.json else table(answer))
    return 0


def table(answer: dict[str, Any]) -> str:
    """One line for each word: a bar to the right for the label, to the left against it."""
    words = answer["words"]
    most = max((abs(word["contribution"]) for word in words), default=0) or 1
    lines = [answer["summary"], ""]
    for word in words:
        size = round(_CELLS * abs(word["contribution"]) / most)
        left, right = ("", "█" * size) if word["contribution"] >= 0 else ("█" * size, "")
        error = word["standard_error"]
        spread = "" if error is None else f" ± {error:.2f}"
        said = f"{word['contribution']:+.2f}{spread}" if word["seen"] else "not read"
        shown = "".join(char if char.isprintable() else "·" for char in word["text"])
        lines.append(f"{left:>{_CELLS}}│{right:<{_CELLS}} {said:>14}  {shown}")
    if answer["faithfulness"] is not None:
        found = answer["faithfulness"]
        lines += [
            "",
            f"deleting these words first: {found['deletion_auc']:.2f}; in random order: "
            f"{found['random_deletion_auc']:.2f} (less is better)",
        ]
    lines += ["", f"{answer['model_name']} version {answer['model_version']}, {answer['method']}"]
    return "\n".join(lines)
