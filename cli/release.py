"""`sentigraph release NAME VERSION`: has the running graph bring a version to production by itself.

The command only orders it, on MLflow itself; the Registry deployment takes the steps, also when
this command has ended. It follows them until the version is in production (exit status 0), or until
the release is rolled back, held or aborted (1).
"""

from __future__ import annotations

import argparse
import getpass
import sys
import time
from dataclasses import asdict

from tqdm import tqdm

from cli.models.show import show
from pipelines.progress import EVERY_S, say
from pipelines.tracking import add_tracking_arguments
from registry.errors import IllegalTransition
from registry.lifecycle.pending import pending_release
from registry.model_registry import ModelRegistry
from registry.records import Event
from registry.releases.decision import decide
from registry.releases.outcome import last_outcome

_POLL_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of `sentigraph release`."""
    parser.add_argument("name", help="registered model")
    parser.add_argument(
        "version",
        nargs="?",
        help="label, number or alias; without one the present or the last release is shown",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--hold", action="store_true", help="stay in the present step")
    what.add_argument("--resume", action="store_true", help="go on with a release that is held")
    what.add_argument("--abort", action="store_true", help="end the release; nothing is promoted")
    parser.add_argument("--detach", action="store_true", help="order it and do not follow it")
    parser.add_argument("--reason", default="", help="why; kept in the audit ledger")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--actor", default=getpass.getuser(), help="who does it")
    add_tracking_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Starts, shows, holds, resumes or aborts a release; returns the exit status."""
    registry = ModelRegistry(args.tracking_uri, args.artifact_root)
    releases = registry.releases
    if args.hold or args.abort:
        end = releases.hold if args.hold else releases.abort
        return _print_event(args, end(args.name, actor=args.actor, reason=args.reason))
    if args.resume:
        return _print_event(args, releases.resume(args.name, actor=args.actor, reason=args.reason))
    if args.version is None:
        return _print_release(registry, args)
    version = registry.catalog.version(args.name, args.version).version
    event = releases.start(args.name, version, actor=args.actor, reason=args.reason)
    if not args.detach:
        return _follow(registry, args, event)
    print(pending_release(event), file=sys.stderr)
    return _print_event(args, event)


def _follow(registry: ModelRegistry, args: argparse.Namespace, start: Event) -> int:
    """Waits for the end; 0 when the version is in production.

    A terminal gets a bar of steps; a log file a line at each step, and now and then between.
    """
    steps = len(start.after["release"]["steps"])
    plain = not sys.stderr.isatty()
    step, shown_s = -1, 0.0
    with tqdm(total=steps, unit="step", desc=f"version {start.version}", disable=plain) as bar:
        while True:
            release, _, policy = registry.releases.status(args.name)
            if release is None or release.id != start.seq or release.held:
                break
            progress = registry.releases.progress(args.name).at(release)
            verdict = decide(progress, policy, release.steps, time.time() - release.since_s)
            bar.update(release.step - bar.n)
            doing = f"{release.slot} {release.weight:g}: {verdict.reason}"
            bar.set_postfix_str(doing)
            if plain and (release.step > step or time.monotonic() - shown_s >= EVERY_S):
                step, shown_s = release.step, time.monotonic()
                say(f"version {start.version}, step {step + 1} of {steps}, {doing}")
            time.sleep(_POLL_S)
        events = registry.ledger.events(args.name)
        last = next(e for e in reversed(events) if e.version == start.version and e.after)
        bar.update(steps - bar.n if last.action == "promote" else 0)
    _print_event(args, last)
    return int(last.action != "promote")


def _print_release(registry: ModelRegistry, args: argparse.Namespace) -> int:
    release, problem, policy = registry.releases.status(args.name)
    if release is None:
        return _print_last(registry, args)
    progress = registry.releases.progress(args.name).at(release)
    verdict = decide(progress, policy, release.steps, time.time() - release.since_s)
    doing = problem or release.held or verdict.reason
    rows = [["test", "state", ""], *([c.name, c.reason, ""] for c in verdict.checks)]
    step = f"{release.step + 1} of {len(release.steps)}"
    rows.append([f"step {step}", f"{release.slot} {release.weight:g}", doing])
    rows += [["not counted", why, f"{n} answers"] for why, n in progress.not_counted.items()]
    found = {**asdict(release), "problem": problem, "verdict": asdict(verdict)}
    found["not_counted"] = dict(progress.not_counted)
    return show(args, found, rows)


def _print_last(registry: ModelRegistry, args: argparse.Namespace) -> int:
    last = last_outcome(registry.ledger.events(args.name))
    if last is None:
        raise IllegalTransition(f"no release of model {args.name!r} is under way; there was none")
    rows = [["last release", "version", "became", "why"]]
    rows.append([str(last.id), str(last.version), last.outcome, last.reason])
    return show(args, asdict(last), rows)


def _print_event(args: argparse.Namespace, event: Event) -> int:
    rows = [["entry", "what", "version", "why"]]
    rows.append([str(event.seq), event.action, str(event.version or ""), event.reason])
    return show(args, asdict(event), rows)
