"""``python -m serverless``: `sentigraph lite` where nothing but requirements.txt is installed."""

import argparse
import sys

from configs.errors import ConfigError
from registry.errors import RegistryError
from serverless.command import add_arguments, main

parser = argparse.ArgumentParser(prog="sentigraph lite")
add_arguments(parser)
try:
    sys.exit(main(parser.parse_args()))
except (ConfigError, RegistryError) as error:
    sys.exit(f"sentigraph lite: {error}")
