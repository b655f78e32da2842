"""The entry of earlier releases."""

import sys

sys.exit("`python -m pipelines VERB` is now `sentigraph VERB`, or `python -m cli VERB`")
