"""Secrets of the environment as files that only this user can read, for as long as the stack runs.

Every process of Ray inherits the environment; only what builds the application reads the files.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from configs.schema.app import AppConfig
from configs.sources.secret_files import SECRETS_VARIABLE, read_secret_files, secret_variables
from operations.local_stack.state_folder import StateFolder


@contextmanager
def without_secrets(environ: Mapping[str, str], state: StateFolder) -> Iterator[dict[str, str]]:
    """The environment with the name of a folder of files in place of its secrets.

    Raises:
        ConfigError: The folder of secrets that the environment names itself cannot be read.
    """
    secrets = secret_variables(environ, AppConfig)
    kept = {name: text for name, text in environ.items() if name not in secrets}
    files = {**read_secret_files(environ), **secrets}
    with state.private_folder("secrets", files) as folder:
        yield {**kept, SECRETS_VARIABLE: str(folder)}
