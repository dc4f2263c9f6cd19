"""Trains the tokenizer: byte-level BPE on a bounded sample of train documents.

Core: ``train_tokenizer`` and ``save_tokenizer``. Shell: ``run``, the stage
``corpus.tokenizer``.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from clusters.config import StageConfig
from clusters.progress import Task
from clusters.stage import StageContext
from contracts.conversation import chat_template
from contracts.documents import TRAIN, VALIDATION
from corpus.documents import read_texts, sample_documents
from corpus.errors import CorpusError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT = "<|endoftext|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
TOOL_TOKENS = ("<tool_call>", "</tool_call>")
FOLDER = "tokenizer"
HELD_OUT_BYTES = 1 << 20
"""Validation text on which the compression is measured."""

PIECES = (
    r"'(?i:[sdmt]|ll|ve|re)"  # English contractions
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # a word with one leading space or sign
    r"|\p{N}"  # digits one by one, so that a number has one spelling
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # punctuation
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"  # white space
)
"""How text is cut before merging; the pattern of the GPT-4 family, digits taken singly."""


class TokenizerConfig(StageConfig):
    """Which tokenizer to train, and on how much text."""

    vocab_size: int = Field(4096, ge=300, le=1 << 20)
    """Entries of the vocabulary, the 256 bytes and 5 special tokens included."""
    min_frequency: int = Field(2, ge=1)
    """Occurrences a pair needs before it is merged."""
    sample_bytes: int = Field(16 << 20, ge=1)
    """Train text to learn from, in bytes of UTF-8; documents are chosen by hash."""
    max_context: int = Field(2048, ge=1)
    """``model_max_length`` that the tokenizer states, in tokens."""
    template: str = "chatml"
    """Chat template to attach, by its name in ``contracts/templates``."""


def train_tokenizer(texts: Iterable[str], vocab_size: int, min_frequency: int = 2) -> "Tokenizer":
    """Learn a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2, 2019).

    The result depends on the texts only, not on their order or the number of threads.
    Without normaliser: decoding gives back the exact text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        special_tokens=[END_OF_TEXT, MESSAGE_START, MESSAGE_END, *TOOL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Tool calls are content: decoding without special tokens must still show them.
    return _mark_special(tokenizer, special={END_OF_TEXT, MESSAGE_START, MESSAGE_END})


def save_tokenizer(tokenizer: "Tokenizer", folder: Path, template: str, max_context: int) -> None:
    """Write ``folder`` so that ``AutoTokenizer.from_pretrained`` loads it.

    The end of a document, ``<|endoftext|>``, is ``eos_token`` and ``pad_token`` (padding
    is masked wherever it is used); there is no ``bos_token``. A chat turn ends with
    ``<|im_end|>``: ``generation_config.json`` names both as ends of generation.
    """
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[MESSAGE_START, MESSAGE_END],
        model_max_length=max_context,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = chat_template(template)
    wrapped.save_pretrained(folder)
    ends = [wrapped.convert_tokens_to_ids(token) for token in (MESSAGE_END, END_OF_TEXT)]
    stops = {"eos_token_id": ends, "pad_token_id": ends[1]}
    (folder / "generation_config.json").write_text(json.dumps(stops, indent=2) + "\n")


def load_backend(folder: Path) -> "Tokenizer":
    """The bare tokenizer for raw text: tokens like ``<|im_end|>`` spelled in it stay text."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    tokenizer = _mark_special(tokenizer, special)
    tokenizer.encode_special_tokens = True
    return tokenizer


def end_of_text_id(tokenizer: "Tokenizer") -> int:
    """Id of the token that ends a document.

    Raises:
        ValueError: the tokenizer has no such token.
    """
    found = tokenizer.token_to_id(END_OF_TEXT)
    if found is None:
        raise ValueError(f"the tokenizer has no token {END_OF_TEXT}; train one with it")
    return found


def run(context: StageContext) -> dict[str, Any]:
    """Stage ``corpus.tokenizer``: a corpus artifact to ``tokenizer/``."""
    config: TokenizerConfig = context.config
    corpus = context.input("corpus")
    parts = corpus.files("documents/")
    chosen = sample_documents(parts, TRAIN, config.sample_bytes, context.seed)
    if not chosen.uids:
        raise CorpusError(f"{corpus.directory}: no train documents to learn a tokenizer from")
    with context.progress.task("learn the vocabulary", len(chosen.uids), "documents") as task:
        texts = _counted(read_texts(parts, chosen.uids), task)
        tokenizer = train_tokenizer(texts, config.vocab_size, config.min_frequency)
    folder = context.out.path(f"{FOLDER}/tokenizer.json").parent
    save_tokenizer(tokenizer, folder, config.template, config.max_context)
    held_out = sample_documents(parts, VALIDATION, HELD_OUT_BYTES, context.seed)
    return {
        "in": {"documents": len(chosen.uids), "bytes": chosen.bytes},
        "out": {"vocabulary": tokenizer.get_vocab_size()},
        "validation_bytes_per_token": _bytes_per_token(
            load_backend(folder), read_texts(parts, held_out.uids)
        ),
    }


def _mark_special(tokenizer: "Tokenizer", special: set[str]) -> "Tokenizer":
    """The same tokenizer in which exactly these added tokens count as special."""
    from tokenizers import Tokenizer

    state = json.loads(tokenizer.to_str())
    for token in state["added_tokens"]:
        token["special"] = token["content"] in special
    return Tokenizer.from_str(json.dumps(state))


def _counted(texts: Iterable[str], task: Task) -> Iterator[str]:
    for text in texts:
        yield text
        task.advance()


def _bytes_per_token(tokenizer: "Tokenizer", texts: Iterable[str]) -> float | None:
    """Mean UTF-8 bytes per token, or None without text."""
    text_bytes = tokens = 0
    for text in texts:
        text_bytes += len(text.encode())
        tokens += len(tokenizer.encode(text).ids)
    return round(text_bytes / tokens, 4) if tokens else None
