"""``sentigraph secrets``: API keys and other secrets in Vault.

    list                     names of the secrets that servers read, which are in Vault; no values
    set NAME                 writes one, read from stdin (or asked for without an echo)
    get NAME                 its version and when it was written; --show prints the value
    keys                     API keys: id, roles, expiry, never the keys
    new ID --role ROLE       makes an API key and shows it once
    rotate ID --overlap-s N  makes another; the one before ends after the overlap
    revoke ID                ends every key of that id
    migrate                  moves secrets that the environment and .env set into Vault (--dry-run)

Servers take a change over within ``vault.refresh_ms``. Without Vault, ``new`` also prints the
entry for ``MLOPS_ACCESS__API_KEYS``.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from datetime import timedelta
from getpass import getpass
from typing import get_args

from pydantic import SecretStr, ValidationError

from configs.errors import ConfigError
from configs.load import load_config
from configs.schema.access import ApiKey, Role
from configs.schema.api_keys import new_key, read_keys, rotated, write_keys
from configs.schema.app import AppConfig
from configs.schema.conflicts import NO_WAY_IN
from configs.schema.fields import settings
from configs.sources.vault import VaultSecrets, secret_names

_KEYS = "access.api_keys"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the actions of `sentigraph secrets`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="names of the secrets, and which of them are in Vault")
    write = actions.add_parser("set", help="write a secret, read from stdin")
    write.add_argument("name", choices=secret_names(), metavar="NAME")
    show = actions.add_parser("get", help="version and time of a secret")
    show.add_argument("name", choices=secret_names(), metavar="NAME")
    show.add_argument("--show", action="store_true", help="print the value")
    actions.add_parser("keys", help="API keys by id, without the keys")
    new = actions.add_parser("new", help="make an API key and show it once")
    new.add_argument("id")
    new.add_argument("--role", action="append", choices=get_args(Role), required=True)
    new.add_argument("--requests-per-s", type=float, help="most requests in a second (any)")
    new.add_argument("--max-concurrent", type=int, help="most requests at once (any)")
    new.add_argument("--expires-at", metavar="TIME", help="such as 2027-01-31T00:00Z (never)")
    rotate = actions.add_parser("rotate", help="make a new key; the old one ends after the overlap")
    rotate.add_argument("id")
    rotate.add_argument("--overlap-s", type=float, default=86_400.0, help="86,400 is a day")
    revoke = actions.add_parser("revoke", help="end every key of an id now")
    revoke.add_argument("id")
    migrate = actions.add_parser("migrate", help="move secrets from the environment into Vault")
    migrate.add_argument("--dry-run", action="store_true", help="only say what would be moved")


def main(args: argparse.Namespace) -> int:
    """Does one action, returns the exit status.

    Raises:
        ConfigError: No such key, or no Vault where one is needed.
        SecretsError: Vault does not do it.
    """
    try:
        config = load_config()
    except ConfigError as error:
        # The first key, for a profile that asks for one.
        if args.action != "new" or not all(p.startswith(NO_WAY_IN) for p in error.problems):
            raise
        config = AppConfig()
    if not config.vault.enabled:
        return _without_vault(config, args)
    vault = VaultSecrets(config.vault)
    actions = {"new": _new, "rotate": _rotate, "revoke": _revoke, "set": _set, "get": _get}
    if args.action == "list":
        there = set(vault.names())
        for name in sorted(there.union(secret_names())):
            unread = "" if name in secret_names() else ", no server reads it"
            print(f"{name:<24} {'in Vault' if name in there else '-'}{unread}")
    elif args.action == "keys":
        for kept in read_keys(vault.read([_KEYS]).get(_KEYS, "")):
            ends = f"ends {kept.expires_at:%Y-%m-%dT%H:%MZ}" if kept.expires_at else "no end"
            print(f"{kept.id:<20} {','.join(kept.roles):<40} {ends}")
    elif args.action == "migrate":
        _migrate(vault, config, dry_run=args.dry_run)
    else:
        actions[args.action](vault, args)
    return 0


def _without_vault(config: AppConfig, args: argparse.Namespace) -> int:
    if args.action == "new":
        key, kept = _made(args)
        print(key)
        print(f"MLOPS_ACCESS__API_KEYS entry: {json.dumps(kept.model_dump(mode='json'))}")
    elif args.action == "migrate" and args.dry_run:
        print("vault.enabled is false; what Vault would get:", file=sys.stderr)
        _migrate(None, config)
    else:
        raise ConfigError("vault.enabled=False: set MLOPS_VAULT_ENABLED and MLOPS_VAULT_ADDR")
    return 0


def _made(args: argparse.Namespace) -> tuple[str, ApiKey]:
    key, kept = new_key(args.id, args.role)
    limits = {
        "requests_per_s": args.requests_per_s,
        "max_concurrent": args.max_concurrent,
        "expires_at": args.expires_at,
    }
    try:
        return key, ApiKey.model_validate(kept.model_dump() | limits)
    except ValidationError as error:
        said = (f"--{problem['loc'][0]}: {problem['msg']}" for problem in error.errors())
        raise ConfigError("\n".join(said).replace("_", "-")) from None


def _new(vault: VaultSecrets, args: argparse.Namespace) -> None:
    key, kept = _made(args)

    def add(document: str) -> str:
        keys = read_keys(document)
        if any(other.id == args.id for other in keys):
            raise ConfigError(f"an API key has the id {args.id!r} already; rotate it, or revoke it")
        return write_keys([*keys, kept])

    vault.change(_KEYS, add)
    print(key)


def _rotate(vault: VaultSecrets, args: argparse.Namespace) -> None:
    made: list[str] = []

    def change(document: str) -> str:
        key, keys = rotated(read_keys(document), args.id, timedelta(seconds=args.overlap_s))
        made.append(key)
        return write_keys(keys)

    vault.change(_KEYS, change)
    print(made[-1])


def _revoke(vault: VaultSecrets, args: argparse.Namespace) -> None:
    def remove(document: str) -> str:
        keys: Iterable[ApiKey] = read_keys(document)
        left = [key for key in keys if key.id != args.id]
        if len(left) == len(read_keys(document)):
            raise ConfigError(f"no API key has the id {args.id!r}")
        return write_keys(left)

    vault.change(_KEYS, remove)
    print(f"revoked: {args.id}", file=sys.stderr)


def _set(vault: VaultSecrets, args: argparse.Namespace) -> None:
    asked = sys.stdin.isatty()
    value = getpass(f"{args.name}: ") if asked else sys.stdin.read().removesuffix("\n")
    if not value:
        raise ConfigError(f"{args.name}: no value came; nothing was written")
    if args.name == _KEYS:
        read_keys(value)  # raises for what servers would refuse
    vault.change(args.name, lambda _: value)
    print(f"{args.name}: written; servers read it anew in vault.refresh_ms", file=sys.stderr)


def _get(vault: VaultSecrets, args: argparse.Namespace) -> None:
    found = vault.find(args.name)
    if found is None:
        raise ConfigError(f"{args.name} is not in Vault; `sentigraph secrets set` writes it")
    print(found.value if args.show else f"version {found.version}, written {found.written_at}")


def _migrate(vault: VaultSecrets | None, config: AppConfig, *, dry_run: bool = True) -> None:
    """Moves secrets; without ``vault`` it only says which."""
    there = vault.read(secret_names()) if vault is not None else {}
    for name in secret_names():
        value = _value(config, name)
        if value == _value(AppConfig(), name) or value.startswith("sqlite"):
            continue  # unset, or the address of a file: nothing to hide
        variable = settings(AppConfig)[name].variable
        if name not in there and (dry_run or vault is None):
            print(f"{name}: would be moved from {variable}")
        elif name not in there and vault is not None:
            vault.change(name, value.__add__)
            print(f"{name}: moved; unset {variable}")
        else:
            print(f"{name}: in Vault already, left alone")


def _value(config: AppConfig, name: str) -> str:
    found: object = config
    for part in name.split("."):
        found = getattr(found, part)
    assert isinstance(found, SecretStr)
    return found.get_secret_value()
