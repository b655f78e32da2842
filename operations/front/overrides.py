"""What is changed in the HAProxy configuration that Ray renders, and for which Ray it is known.

Ray has no hook for it. Each change replaces lines that must be there exactly once; and the two
files of Ray that make the configuration must be the ones that this was written for.
"""

import hashlib
import importlib.util
import re
from pathlib import Path

from configs.sources.front_key import FRONT_HEADER
from operations.errors import StackError

# SHA-256 of Ray 2.60.0's files. After an upgrade: read what changed in them, then change this.
KNOWN = {
    "haproxy.py": "d38f09a6a38ab30d2c42304e4f261d1c902c1705ff3525b310cceec903c97df8",
    "haproxy_templates.py": "ca0ebced12fbca4f7fb6acbeb119d9223ced15d4c8a7846f669b201d19a3c184",
}
NO_TABLE = "Route table is not populated yet."
ERROR_PAGE = "503.json"
# Headers must be complete, and the body of a prediction or 16 kB of it, whatever drips.
_REQUEST_S = 10
_RETRY_AFTER_S = 2
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Of all connections, the share that one address may hold.
_ADDRESS_RATIO = 0.75

_PAGE = (
    '{"error_code":"E2001","error_message":"no replica can be reached; try again in a few seconds",'
    '"status_code":503,"correlation_id":"%[uuid]",'
    '"timestamp":"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]","context":{}}\n'
)
_REFUSAL = "400.json"
_REFUSAL_PAGE = (
    '{"error_code":"E1001","error_message":"not an HTTP request that is taken here",'
    '"status_code":400,"correlation_id":"%[uuid]",'
    '"timestamp":"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]","context":{}}\n'
)
# Headers that Ray Serve decodes before the application is asked; it fails where they are no text.
_DECODED = (
    "x-request-id",
    "x-session-id",
    "x_session_id",
    "x-request-timeout-seconds",
    "x-request-disconnect-disabled",
    "serve_multiplexed_model_id",
    "serve-multiplexed-model-id",
)
_TEXT_ONLY = "".join(
    f"""
    http-request deny deny_status 400 if {{ req.hdr({name}) -m reg "[^ -~]" }}"""
    for name in _DECODED
)
_LIMIT = """
    tcp-request connection track-sc0 src table sentigraph_clients
    tcp-request connection reject if {{ sc0_conn_cur(sentigraph_clients) gt {most} }}"""
_CLIENTS = """backend sentigraph_clients
    stick-table type ipv6 size 100k expire 1m store conn_cur
"""
# A prediction has no effect, so another replica may answer it when the first one dies under it.
# The same body goes to the same replica, whose memory may know it, unless that has over 1.25 times
# its share of the requests in flight; all else goes around.
_REPEAT = f"""
    balance hash var(txn.sentigraph_text)
    hash-type consistent crc32 avalanche
    hash-balance-factor 125
    retry-on conn-failure empty-response
    acl sentigraph_predicts path_reg /(predict|predict/batch|infer)$
    http-request disable-l7-retry if !METH_GET !sentigraph_predicts
    http-request wait-for-body time {_REQUEST_S}s if METH_POST sentigraph_predicts
    http-request set-var(txn.sentigraph_text) req.body,crc32 if METH_POST sentigraph_predicts"""
# One datagram for each request, to a port where nobody listens unless Ray's metrics of HAProxy are
# on or a target is named; failures and lost servers are logged all the same.
_UNHEARD = r"(?m)^ *log 127\.0\.0\.1:514 local0 info$"
_METRICS = "format rfc5424 local1 debug"
_QUIET = "\n    option dontlog-normal"
_HEADERS = f"""
    timeout http-request {_REQUEST_S}s"""


class UnknownRay(StackError):
    """The installed Ray's HAProxy files are not the ones that the overrides were written for."""


def check_ray(folder: Path | None = None) -> None:
    """Accepts the installed Ray, or the files in ``folder``.

    Raises:
        UnknownRay: A file differs, or Ray is not there.
    """
    if folder is None:
        found = importlib.util.find_spec("ray")
        if found is None or found.origin is None:
            raise UnknownRay("Ray is not installed")
        folder = Path(found.origin).parent / "serve" / "_private"
    for name, known in KNOWN.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known:
            raise UnknownRay(
                f"{path} is not Ray 2.60.0's, whose HAProxy configuration is changed here: "
                "install the Ray of constraints.txt, or adapt operations/front/overrides.py"
            )


def has_table(config: str) -> bool:
    """Whether Ray has got the routes; a proxy manager that has just started has not."""
    return NO_TABLE not in config


def binds(config: str) -> list[str]:
    """The addresses that ``config`` listens on, for statistics as well."""
    return re.findall(r"(?m)^ *bind .*$", config)


def admin_socket(config: str) -> str:
    """The path of its admin socket."""
    return _one(r"(?m)^ *stats socket (\S+) ", config).group(1)


def with_admin_socket(config: str, path: str) -> str:
    """The same configuration with another admin socket."""
    return config.replace(f"stats socket {admin_socket(config)} ", f"stats socket {path} ")


def rewrite(config: str, folder: Path, key: str = "") -> str:
    """The configuration with our limits, retries and answers.

    Args:
        config: As Ray rendered it.
        folder: Where the pages of its 400 and 503 are written.
        key: See ``front_key``; the configuration is then a secret.

    Raises:
        UnknownRay: A line that is to be changed is not there.
    """
    page = folder / ERROR_PAGE
    page.write_text(_PAGE, encoding="utf-8")
    # Quoted for the configuration; the page itself is a log format.
    answer = (
        f'content-type application/json lf-file "{page}" hdr Retry-After {_RETRY_AFTER_S} '
        "hdr Cache-Control no-store"
    )
    refusal = folder / _REFUSAL
    refusal.write_text(_REFUSAL_PAGE, encoding="utf-8")
    refused = f'content-type application/json lf-file "{refusal}" hdr Cache-Control no-store'
    most = int(int(_one(r"(?m)^ *maxconn (\d+)$", config).group(1)) * _ADDRESS_RATIO)
    limit = _LIMIT.format(most=most) + _address(key)
    quiet = re.search(_UNHEARD, config) is not None and _METRICS not in config
    defaults = _HEADERS + (_QUIET if quiet else "")
    config = _after(r"(?m)^defaults\n    mode http$", config, defaults)
    config = _replaced(r"(?m)^ *errorfile 503 .*$", config, f"    http-error status 503 {answer}")
    config = _replaced(
        r"(?m)^    http-error status 503 ",
        config,
        f"    http-error status 400 {refused}\n    http-error status 503 ",
    )
    config = _after(r"(?m)^frontend http_frontend\n    bind .*$", config, limit + _TEXT_ONLY)
    config = _beside_the_frontend(config)
    if "\nfrontend grpc_frontend\n" in config:
        config = _after(r"(?m)^frontend grpc_frontend\n(?: *#.*\n)*    bind .*$", config, limit)
    if not has_table(config):
        config = _replaced(
            r'(?m)^ *http-request return status 404 content-type text/plain lf-string "Path .*$',
            config,
            f"    http-request return status 503 {answer}",
        )
    backend = re.compile(r"(?m)^backend http-\S+\n    log global$")
    return backend.sub(lambda found: found.group() + _REPEAT, config) + _CLIENTS


def _address(key: str) -> str:
    """The client's address for the ingress, in a header that clients cannot write."""
    if not key:
        return f"\n    http-request del-header {FRONT_HEADER}"
    return f'\n    http-request set-header {FRONT_HEADER} "{key} %[src]"'


def _beside_the_frontend(config: str) -> str:
    """Statistics and HAProxy's metrics are on loopback where the application is."""
    frontend = _one(r"(?m)^frontend http_frontend\n    bind (\S+):\d+", config).group(1)
    if frontend not in _LOOPBACK:
        return config
    for begin in (r"frontend prometheus\n    bind ", r"listen stats\n  bind \*"):
        found = _one(rf"(?m)^{begin}(?=:\d+$)", config)
        line = found.group().rstrip("*") + frontend
        config = config[: found.start()] + line + config[found.end() :]
    return config


def _one(pattern: str, config: str) -> re.Match[str]:
    found = list(re.finditer(pattern, config))
    if len(found) != 1:
        raise UnknownRay(
            f"{pattern!r} is {len(found)} times in Ray's HAProxy configuration, not once"
        )
    return found[0]


def _replaced(pattern: str, config: str, by: str) -> str:
    found = _one(pattern, config)
    return config[: found.start()] + by + config[found.end() :]


def _after(pattern: str, config: str, added: str) -> str:
    found = _one(pattern, config)
    return config[: found.end()] + added + config[found.end() :]
