"""Some rows of the guide's table of models, made anew; `make model-matrix` makes all of them."""

from pathlib import Path

import pytest

from tests.system import model_matrix

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
ROWS = (
    "bert",
    "roberta, pad id 3",
    "gpt2, no pad token",
    "modernbert, window 16",
    "multi-label",
    "broken: no head",
    "broken: one token too many",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_matrix.tiny_words(tmp_path_factory.mktemp("words") / "base")


@pytest.mark.parametrize("name", ROWS)
def test_the_pytorch_column_is_as_the_guide_says(base: Path, tmp_path: Path, name: str) -> None:
    assert model_matrix.row(name, base, tmp_path, ["Torch"]) == {
        "Torch": model_matrix.in_the_guide()[name]["Torch"]
    }
