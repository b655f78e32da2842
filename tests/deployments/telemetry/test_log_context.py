"""Lines of a replica: written at once, also where Serve would keep them back."""

import logging
from logging.handlers import MemoryHandler
from pathlib import Path

from deployments.telemetry.log_context import add_log_fields


def test_a_line_is_written_at_once_in_throughput_mode(tmp_path: Path) -> None:
    file = logging.FileHandler(tmp_path / "replica.log")
    # As Serve makes it, see ``configure_component_logger``.
    kept_back = MemoryHandler(1_000, flushLevel=logging.ERROR, target=file)
    serve = logging.getLogger("ray.serve")
    ours = logging.getLogger("ray.serve.sentigraph")
    for logger in (serve, ours):
        logger.filters.clear()
    serve.addHandler(kept_back)
    level = serve.level
    serve.setLevel(logging.INFO)
    try:
        serve.info("kept back")
        assert (tmp_path / "replica.log").read_text() == ""
        add_log_fields("sentigraph", "Registry")
        serve.info("written")
        assert (tmp_path / "replica.log").read_text().split() == ["kept", "back", "written"]
        # Serve configures a replica's logger again after a change of the deployment.
        serve.removeHandler(kept_back)
        kept_back = MemoryHandler(1_000, flushLevel=logging.ERROR, target=file)
        file.setFormatter(logging.Formatter("%(component)s"))
        serve.addHandler(kept_back)
        serve.info("written too")
        ours.info("by us")
        assert (tmp_path / "replica.log").read_text().split()[-2:] == ["Registry", "Registry"]
    finally:
        serve.setLevel(level)
        for logger in (serve, ours):
            logger.filters.clear()
        serve.removeHandler(kept_back)
        kept_back.close()
        file.close()
