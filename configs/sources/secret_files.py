"""Settings as files: a folder in which each file is named as a variable and holds its value.

So secrets need not stand in the environment of every process of a cluster, nor in that of its
children. Docker and Kubernetes mount secrets in this form; the local stack makes such a folder.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from configs.errors import ConfigError
from configs.messages import shown
from configs.schema.fields import PREFIX, settings
from configs.sources.environment_names import VARIABLES

SECRETS_VARIABLE = "SENTIGRAPH_SECRETS_DIR"
# A URI with a password, as of a database.
_LOGIN = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def read_secret_files(environ: Mapping[str, str]) -> dict[str, str]:
    """The settings in the folder that the environment names; none where it names none.

    Raises:
        ConfigError: It names no folder, or a file of it cannot be read.
    """
    named = environ.get(SECRETS_VARIABLE, "").strip()
    if not named:
        return {}
    try:
        # Kubernetes has folders and links of its own beside the files.
        files = [each for each in Path(named).iterdir() if each.name.startswith(PREFIX)]
        return {file.name: file.read_text(encoding="utf-8").strip("\n") for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{SECRETS_VARIABLE}={shown(named)} cannot be read: {error}") from error


def secret_variables(environ: Mapping[str, str], model: type[BaseModel]) -> dict[str, str]:
    """Those variables of an environment that nobody but the application may read."""
    known = settings(model)
    names = {setting.variable for setting in known.values() if setting.secret}
    names |= {v.name for v in VARIABLES if any(known[field].secret for field in v.fields)}
    return {
        name: text
        for name, text in environ.items()
        if name in names or (name.startswith(PREFIX) and _LOGIN.search(text))
    }
