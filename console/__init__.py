"""The console's files: static, without a build step, served by the ingress at ``/console``."""

from pathlib import Path

ASSETS = Path(__file__).with_name("assets")
