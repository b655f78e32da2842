"""Conversions and their gates, on a real three-class Hugging Face folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import quantize_dynamic

from cli.__main__ import main
from pipelines.data.everyday_texts import NEGATIVE_SENTENCES, POSITIVE_SENTENCES
from pipelines.errors import CheckpointError, ParityError
from pipelines.export import bundles
from pipelines.export.bundles import Exported, export_bundles, feeds, torch_logits
from pipelines.export.finished_classifier import open_finished
from pipelines.export.parity import batch_shift, require_agreement, require_equal
from pipelines.export.serving_scores import ServedModel
from pipelines.export.static_quantization import freeze_activations
from pipelines.training.classifier import load_classifier, save_classifier
from pipelines.training.pretrained import open_pretrained
from registry.bundles.bundle import open_bundle

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
TEXTS = [*POSITIVE_SENTENCES, *NEGATIVE_SENTENCES]


def convert(folder: Path, out: Path, tolerance: float = 1e-4, agreement: float = 0.8) -> Exported:
    found = open_finished(str(folder), max_tokens=512)
    return export_bundles(
        found.model,
        found.spec,
        found.tokenizer,
        out,
        "tickets",
        texts=TEXTS,
        calibration=TEXTS,
        provenance={},
        tolerance=tolerance,
        min_agreement=agreement,
    )


@pytest.fixture(scope="module")
def exported(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return convert(tiny_classifier, tmp_path_factory.mktemp("export"))


def test_an_imported_classifier_keeps_its_labels_and_limits(exported: Exported) -> None:
    for bundle in (exported.fp32, exported.int8.bundle):
        assert bundle.labels == ("bug", "praise", "question")
        assert bundle.max_tokens == 64
        assert bundle.engine.inputs == ("input_ids", "attention_mask")
    assert (exported.fp32.engine.precision, exported.int8.bundle.engine.precision) == (
        "fp32",
        "int8",
    )


def test_both_graphs_take_any_batch_and_length(exported: Exported) -> None:
    graph = onnx.load(exported.int8.bundle.directory / "model.onnx")
    assert next(entry.version for entry in graph.opset_import if entry.domain == "") >= 17
    for texts in (["a"], ["a", "a much longer sentence than the first " * 20], TEXTS):
        for bundle in (exported.fp32, exported.int8.bundle):
            logits = ServedModel(bundle, threads=1).logits(texts)
            assert logits.shape == (len(texts), 3)
            assert logits.dtype == np.float32


def test_fp32_follows_torch_and_padding_changes_nothing(
    exported: Exported, tiny_classifier: Path
) -> None:
    found = open_finished(str(tiny_classifier), max_tokens=512)
    served = ServedModel(exported.fp32, threads=1)
    together = served.logits(TEXTS)
    expected = torch_logits(found.model, exported.fp32, TEXTS)
    assert np.abs(together - expected).max() < 1e-4
    alone = np.concatenate([served.logits([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_embedding_tables_are_quantised_and_the_head_is_not(exported: Exported) -> None:
    graph = onnx.load(exported.int8.bundle.directory / "model.onnx").graph
    wide = {item.name: item.data_type for item in graph.initializer if np.prod(item.dims) > 2000}
    assert wide
    assert onnx.TensorProto.FLOAT not in wide.values()
    floats = [item for item in graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    assert any(3 in item.dims and len(item.dims) == 2 for item in floats)


def test_int8_weights_use_seven_bits(exported: Exported) -> None:
    graph = onnx.load(exported.int8.bundle.directory / "model.onnx").graph
    used = {
        name for node in graph.node if node.op_type == "MatMulIntegerToFloat" for name in node.input
    }
    weights = [
        numpy_helper.to_array(item)
        for item in graph.initializer
        if item.name in used and len(item.dims) == 2
    ]
    assert weights
    assert max(int(np.abs(weight.astype(int)).max()) for weight in weights) <= 64


def test_int8_scores_do_not_depend_on_batch_mates(exported: Exported) -> None:
    assert exported.int8.bundle.engine.batch_invariant
    served = ServedModel(exported.int8.bundle, threads=1)
    together, alone = served.logits(TEXTS, 16), served.logits(TEXTS, 1)
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert exported.int8.batch_shift.flips == 0


def test_a_product_that_is_not_understood_keeps_its_scale_and_is_told(
    tiny_classifier: Path, tmp_path: Path
) -> None:
    fp32 = convert(tiny_classifier, tmp_path).fp32
    quantize_dynamic(fp32.directory / "model.onnx", tmp_path / "dynamic.onnx", per_channel=True)
    model = onnx.load(tmp_path / "dynamic.onnx")
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    assert freeze_activations(whole, feeds(fp32, TEXTS))
    # A sum in the middle of a product is read from outside: no fused product gives it.
    product = next(node for node in model.graph.node if node.op_type == "MatMulInteger")
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(product.output[0], onnx.TensorProto.INT32, [None] * 3)
    )
    assert not freeze_activations(model, feeds(fp32, TEXTS))
    onnx.checker.check_model(model)
    kinds = [node.op_type for node in model.graph.node]
    assert "MatMulInteger" in kinds
    assert "MatMulIntegerToFloat" in kinds


def damaged(original: Callable[..., bool | None], graph_at: int) -> Callable[..., bool | None]:
    """Wraps a conversion so that the file it writes has its largest float weights shuffled."""

    def convert_badly(*args: Path, **options: int) -> bool | None:
        result = original(*args, **options)
        path = args[graph_at]
        model = onnx.load(path)
        largest = max(model.graph.initializer, key=lambda item: np.prod(item.dims))
        values = np.random.default_rng(0).permutation(numpy_helper.to_array(largest).ravel())
        shape = tuple(largest.dims)
        largest.CopyFrom(numpy_helper.from_array(values.reshape(shape), largest.name))
        onnx.save(model, path)
        return result

    return convert_badly


def test_a_broken_export_is_refused_and_leaves_the_last_good_one(
    tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(tiny_classifier, tmp_path)
    digest = open_bundle(tmp_path / "int8").digest
    monkeypatch.setattr(bundles, "export_fp32", damaged(bundles.export_fp32, 1))
    with pytest.raises(ParityError, match="differs from torch"):
        convert(tiny_classifier, tmp_path)
    assert open_bundle(tmp_path / "int8").digest == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32", "int8"]


def test_a_damaged_int8_model_is_refused(
    tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "quantise_int8", damaged(bundles.quantise_int8, 1))
    with pytest.raises(ParityError, match="INT8 keeps the label of"):
        convert(tiny_classifier, tmp_path, agreement=0.97)
    assert not list(tmp_path.iterdir())


def test_gates_refuse_what_is_not_a_number() -> None:
    good, bad = np.zeros((2, 2), np.float32), np.full((2, 2), np.nan, np.float32)
    with pytest.raises(ParityError):
        require_equal(good, bad)
    assert require_equal(good, good) == 0.0
    swapped = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    with pytest.raises(ParityError, match=r"50\.0% of 2 texts"):
        require_agreement(swapped, np.array([[1.0, 0.0], [1.0, 0.0]], np.float32))


def test_a_pickle_only_folder_is_refused(
    tiny_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_classifier, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save({}, folder / "pytorch_model.bin")
    assert main(["import", str(folder), "--name", "x", "--out", str(tmp_path / "out")]) == 1
    assert "only pytorch_model.bin, which is pickle" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_code_of_its_own_is_refused(tiny_classifier: Path, tmp_path: Path) -> None:
    folder = tmp_path / "remote"
    shutil.copytree(tiny_classifier, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(CheckpointError, match="trust_remote_code"):
        open_finished(str(folder), max_tokens=64)


def test_a_bare_encoder_cannot_be_imported_but_can_be_trained(tiny_base: Path) -> None:
    with pytest.raises(CheckpointError, match="no sequence classifier"):
        open_finished(str(tiny_base), max_tokens=64)
    assert (
        open_pretrained(str(tiny_base), labels=["a", "b"], max_tokens=64).spec.kind == "mean-pool"
    )


def test_a_classifier_as_base_gets_the_new_labels(tiny_classifier: Path) -> None:
    found = open_pretrained(str(tiny_classifier), labels=["no", "yes"], max_tokens=64)
    assert found.spec.labels == ("no", "yes")
    ids = torch.ones((1, 4), dtype=torch.int64)
    assert found.model(ids, ids).shape == (1, 2)


def test_a_checkpoint_reads_back(tiny_base: Path, tmp_path: Path) -> None:
    found = open_pretrained(str(tiny_base), labels=["a", "b"], max_tokens=64)
    save_classifier(tmp_path, found.model, found.spec, found.tokenizer)
    model, spec, _ = load_classifier(tmp_path)
    assert spec == found.spec
    ids = torch.arange(1, 9).reshape(1, 8)
    with torch.inference_mode():
        expected = found.model.eval()(ids, torch.ones_like(ids))
        assert torch.equal(model(ids, torch.ones_like(ids)), expected)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not a classifier folder"):
        load_classifier(tmp_path)


def test_batch_shift_counts_moved_labels() -> None:
    even, odd = [0.0, np.log(3.0)], [np.log(3.0), 0.0]
    shift = batch_shift(np.array([even, even], np.float32), np.array([even, odd], np.float32))
    assert shift.flips == 0.5
    # From 3/4 to 1/4 on one text of two.
    assert shift.median == pytest.approx(0.25, abs=1e-6)
    assert shift.p99 == pytest.approx(0.495, abs=1e-6)
