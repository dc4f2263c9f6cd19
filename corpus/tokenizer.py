"""Trains the tokenizer: byte-level BPE on a bounded sample of train documents.

Core: ``train_tokenizer`` and ``save_tokenizer``. Shell: ``run``, the stage
``corpus.tokenizer``.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from clusters.config import StageConfig
from clusters.progress import Task
from clusters.stage import StageContext
from contracts.conversation import chat_template
from contracts.documents import TRAIN, VALIDATION
from corpus.errors import CorpusError
from corpus.pieces import Pattern, pieces
from corpus.sampling import Groups, TextSample, read_grouped, read_texts, sample_texts

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Tokenizer

    from corpus.selection import Selection

END_OF_TEXT = "<|endoftext|>"
MESSAGE_START = "<|im_start|>"
MESSAGE_END = "<|im_end|>"
TOOL_TOKENS = ("<tool_call>", "</tool_call>")
FOLDER = "tokenizer"
HELD_OUT_BYTES = 4 << 20
"""Validation text on which the compression is measured, shared evenly among the languages."""
HELD_OUT_BATCH = 64


class TokenizerConfig(StageConfig):
    """Which tokenizer to train, and on how much text."""

    vocab_size: int = Field(4096, ge=300, le=1 << 20)
    """Entries of the vocabulary, the 256 bytes and 5 special tokens included."""
    min_frequency: int = Field(2, ge=1)
    """Occurrences a pair needs before it is merged."""
    sample_bytes: int = Field(16 << 20, ge=1)
    """Train text to learn from, in bytes of UTF-8; documents are chosen by hash."""
    pattern: Pattern = "multilingual"
    """How text is cut before merging; see ``corpus/pieces.py``."""
    digits: int = Field(1, ge=1, le=9)
    """Longest run of digits that may be one token."""
    by: Literal["lang", "source", "domain"] = "lang"
    """What the sample is shared out by; domains are those of the input ``selection``."""
    shares: dict[str, float] | None = None
    """Weight of each language (source, domain) in the sample; those not named get no text.
    By default the domains' weights in the selection, or by ``smoothing``."""
    smoothing: float = Field(0.7, ge=0, le=1)
    """Without shares, each gets text in proportion to its bytes to this power: 1 as in the
    corpus, 0 all the same. Below 1 a small language is not starved (arXiv:1911.02116)."""
    max_context: int = Field(2048, ge=1)
    """``model_max_length`` that the tokenizer states, in tokens."""
    template: str = "chatml"
    """Chat template to attach, by its name in ``contracts/templates``."""

    @model_validator(mode="after")
    def _shares_are_positive(self) -> "TokenizerConfig":
        for name, share in (self.shares or {}).items():
            if not share > 0:
                raise ValueError(f"shares.{name}: {share} must be above 0; leave out the name")
        return self


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    min_frequency: int = 2,
    pattern: Pattern = "multilingual",
    digits: int = 1,
) -> "Tokenizer":
    """Learn a byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2, 2019).

    The result depends on the texts only, not on their order or the number of threads.
    Without normaliser: decoding gives back the exact text.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pieces(pattern, digits)), behavior="isolated"),
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
    chosen = _sample(context, parts)
    if not chosen.uids:
        raise CorpusError(
            f"{corpus.directory}: no train documents to learn a tokenizer from"
            + (f"; shares name {', '.join(config.shares)}" if config.shares else "")
        )
    with context.progress.task("learn the vocabulary", len(chosen.uids), "documents") as task:
        texts = _counted(read_texts(parts, chosen.uids), task)
        tokenizer = train_tokenizer(
            texts, config.vocab_size, config.min_frequency, config.pattern, config.digits
        )
    folder = context.out.path(f"{FOLDER}/tokenizer.json").parent
    save_tokenizer(tokenizer, folder, config.template, config.max_context)
    compression = measure(load_backend(folder), parts, context.seed)
    return {
        "in": {"documents": len(chosen.uids), "bytes": chosen.bytes},
        "out": {"vocabulary": tokenizer.get_vocab_size()},
        "sample": {name: vars(group) for name, group in chosen.groups.items()},
        "validation_bytes_per_token": compression.pop("", None),
        "languages": compression,
    }


def _sample(context: StageContext, parts: list[Path]) -> TextSample:
    """The documents to learn from: of a selection's, where there is one."""
    config: TokenizerConfig = context.config
    given = context.inputs.get("selection")
    if config.by == "domain" and not given:
        raise CorpusError("by: domain needs the input selection, which names the domains")
    groups, weights = None, config.shares
    if given:
        from corpus.selection import Selection

        selection = Selection.open(given[0])
        selection.check_of(context.input("corpus"))
        groups = _groups(selection, config.by)
        if config.by == "domain" and weights is None:
            weights = {name: weight for name, weight in selection.weights.items() if weight}
    return sample_texts(
        parts,
        TRAIN,
        config.sample_bytes,
        context.seed,
        by=config.by,
        weights=weights,
        smoothing=config.smoothing,
        groups=groups,
    )


def _groups(selection: "Selection", by: str) -> Groups:
    """Groups of chosen documents only; each part of the selection is read once."""
    open_part: list[tuple[Path, dict[int, str]]] = []

    def groups(part: Path, rows: "pa.Table") -> list[str | None]:
        if not open_part or open_part[0][0] != part:
            open_part[:] = [(part, selection.part(part.name))]
        domains = [open_part[0][1].get(uid) for uid in rows["uid"].to_pylist()]
        if by == "domain":
            return domains
        names = rows[by].to_pylist()
        return [n if d is not None else None for n, d in zip(names, domains, strict=True)]

    return groups


def measure(tokenizer: "Tokenizer", parts: list[Path], seed: int) -> dict[str, float]:
    """Mean UTF-8 bytes per token of held-out text, by language; of all under the name ``""``."""
    bytes_of: Counter[str] = Counter()
    tokens_of: Counter[str] = Counter()
    held_out = sample_texts(parts, VALIDATION, HELD_OUT_BYTES, seed, smoothing=0)
    for language, texts in read_grouped(parts, held_out.uids, "lang", HELD_OUT_BATCH):
        for text, encoding in zip(texts, tokenizer.encode_batch_fast(texts), strict=True):
            for name in (language, ""):
                bytes_of[name] += len(text.encode())
                tokens_of[name] += len(encoding)
    return {n: round(bytes_of[n] / tokens_of[n], 4) for n in sorted(bytes_of) if tokens_of[n]}


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
