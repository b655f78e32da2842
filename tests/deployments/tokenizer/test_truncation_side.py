"""Longer texts lose the end that the bundle names; bundles without the field lose the right one."""

import json
from pathlib import Path

import pytest

from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import open_bundle, write_bundle
from registry.errors import InvalidBundle
from registry.records import Bundle, TruncationSide

BUNDLED = Path(__file__).parents[3] / "models" / "sentiment"
TEXT = "one two three four five six seven eight"


def cut_at(side: TruncationSide, folder: Path) -> Bundle:
    whole = open_bundle(BUNDLED)
    return write_bundle(
        folder / side,
        name="cut",
        labels=whole.labels,
        files={name: BUNDLED / name for name in whole.files},
        max_tokens=6,
        truncation_side=side,
        engine=whole.engine,
    )


@pytest.mark.parametrize(("side", "kept"), [("right", slice(0, 4)), ("left", slice(-4, None))])
def test_the_cut_is_where_the_bundle_says(
    side: TruncationSide, kept: slice, tmp_path: Path
) -> None:
    whole = LoadedTokenizer(open_bundle(BUNDLED)).encode([TEXT]).ids
    bundle = cut_at(side, tmp_path)
    assert bundle.truncation_side == side
    found = LoadedTokenizer(bundle).encode([TEXT, "one"])
    words = whole[1:-1][kept]
    assert found.ids[:6].tolist() == [whole[0], *words, whole[-1]]
    assert found.truncated.tolist() == [True, False]


def test_a_bundle_without_the_field_is_cut_at_the_end(tmp_path: Path) -> None:
    cut_at("left", tmp_path)
    manifest = tmp_path / "left" / "bundle.json"
    fields = json.loads(manifest.read_text())
    del fields["truncation_side"]
    manifest.write_text(json.dumps(fields))
    assert open_bundle(tmp_path / "left").truncation_side == "right"
    manifest.write_text(json.dumps({**fields, "truncation_side": "middle"}))
    with pytest.raises(InvalidBundle, match="truncation_side"):
        open_bundle(tmp_path / "left")
