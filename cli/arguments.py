"""A parser that takes options between positional arguments, and blames the verb that was meant.

argparse gives an optional positional argument what stands beside the ones before it, so what
follows an option (`policy set MODEL --rule R approvals=1`) would be left over.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """Every verb and sub-verb of the command line."""

    _is_retry = False

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse, and once more with options and positional arguments apart."""
        parsed, left_over = super().parse_known_args(args, namespace)
        if not left_over or self._is_retry or self._subparsers is not None:
            return parsed, left_over
        self._is_retry = True
        try:
            parsed, left_over = self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_retry = False
        if left_over:
            self.error(f"unrecognized arguments: {' '.join(left_over)}")
        return parsed, left_over
