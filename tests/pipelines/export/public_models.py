"""The four public models of the specification's list: their configurations but for the sizes.

Kind, labels and their order, positions, padding, special tokens and the kind of tokenizer are those
of the hub's files; widths, depths and vocabularies are tiny and the weights random, because the
files cannot be had here.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer
from tokenizers.processors import BertProcessing, RobertaProcessing
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DistilBertConfig,
    PretrainedConfig,
    RobertaConfig,
    set_seed,
)

SST2 = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
TWITTER = "cardiffnlp/twitter-roberta-base-sentiment-latest"
STARS = "nlptown/bert-base-multilingual-uncased-sentiment"
EMOTIONS = "j-hartmann/emotion-english-distilroberta-base"
LABELS: dict[str, tuple[str, ...]] = {
    SST2: ("NEGATIVE", "POSITIVE"),
    TWITTER: ("negative", "neutral", "positive"),
    STARS: ("1 star", "2 stars", "3 stars", "4 stars", "5 stars"),
    EMOTIONS: ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"),
}
_CORPUS = [
    "The delivery was late, but support was wonderful and the phone was lovely.",
    "Ich liebe es! C'est affreux. Me encanta, ¡gracias! Non mi piace per niente.",
    "@user I am so angry at http, what an awful driver :( and a lovely day :)",
]
_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}


def write_public_model(name: str, folder: Path) -> Path:
    """Writes the model's folder."""
    # Imported here: the classes lie on top of everything else in the library.
    from transformers import PreTrainedTokenizerFast  # noqa: PLC0415

    words = (_word_pieces if name in (SST2, STARS) else _byte_pairs)()
    config = _CONFIGURATIONS[name](
        vocab_size=words.get_vocab_size(),
        id2label=dict(enumerate(LABELS[name])),
        label2id={label: index for index, label in enumerate(LABELS[name])},
    )
    special = _WORD_PIECE_TOKENS if name in (SST2, STARS) else _BYTE_PAIR_TOKENS
    # The hub's settings: Twitter's tokenizer states no limit, the emotions' 512.
    limit = {} if name == TWITTER else {"model_max_length": 512}
    PreTrainedTokenizerFast(tokenizer_object=words, **special, **limit).save_pretrained(folder)
    set_seed(11)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def _word_pieces() -> Tokenizer:
    trained = BertWordPieceTokenizer(lowercase=True)
    trained.train_from_iterator(_CORPUS, vocab_size=300, show_progress=False)
    found: Tokenizer = trained._tokenizer
    ids = found.get_vocab()
    found.post_processor = BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return found


def _byte_pairs() -> Tokenizer:
    trained = ByteLevelBPETokenizer()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(_CORPUS, vocab_size=350, special_tokens=tokens, show_progress=False)
    found: Tokenizer = trained._tokenizer
    found.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return found


_WORD_PIECE_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_BYTE_PAIR_TOKENS = {
    "bos_token": "<s>",
    "pad_token": "<pad>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "cls_token": "<s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
}
_CONFIGURATIONS: dict[str, Callable[..., PretrainedConfig]] = {
    SST2: lambda **more: DistilBertConfig(
        dim=32, n_layers=2, n_heads=2, hidden_dim=64, initializer_range=0.3, **more
    ),
    TWITTER: lambda **more: RobertaConfig(
        **_SMALL, num_hidden_layers=2, max_position_embeddings=514, pad_token_id=1, **more
    ),
    STARS: lambda **more: BertConfig(**_SMALL, num_hidden_layers=2, **more),
    EMOTIONS: lambda **more: RobertaConfig(
        **_SMALL,
        num_hidden_layers=1,
        max_position_embeddings=514,
        pad_token_id=1,
        problem_type="single_label_classification",
        **more,
    ),
}
