"""The tokenizer of a model directory, with its chat template: messages to ids and back."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clusters.artifact import ArtifactError
from contracts.conversation import Message
from serving.toolcalls import parse_message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
_MAX_STALLED = 4
"""Tokens that may add no whole character before they are shown as they are: UTF-8 has
at most four bytes to a character."""


class TokenizerError(ArtifactError):
    """A tokenizer is missing or broken, or has no chat template; says which."""


class TemplateRefused(TokenizerError):
    """The chat template does not take these messages; the text may be shown to a client."""


class ChatTokenizer:
    """Token ids of conversations and text. Build it with ``load``."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", where: str) -> None:
        self._tokenizer = tokenizer
        self._where = where
        ids = {tokenizer.eos_token_id}
        ids |= {tokenizer.get_vocab().get(token) for token in STOP_TOKENS}
        self.stop_ids: tuple[int, ...] = tuple(sorted(i for i in ids if isinstance(i, int)))
        """Ids after which an answer is over."""
        self.vocab_size: int = len(tokenizer)

    @property
    def plain(self) -> "PreTrainedTokenizerBase":
        """The tokenizer of transformers behind this one."""
        return self._tokenizer

    @classmethod
    def load(cls, model_dir: Path | str) -> "ChatTokenizer":
        """Load the tokenizer of an HF-layout directory; nothing is downloaded.

        Raises:
            TokenizerError: there is none, or it cannot be read.
        """
        from transformers import AutoTokenizer

        path = Path(model_dir)
        if not (path / "tokenizer.json").is_file():
            raise TokenizerError(f"{path}: no tokenizer.json in it")
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(path), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # the library raises anything, a bare Exception included
            raise TokenizerError(f"{path}: unreadable tokenizer: {error}") from error
        return cls(tokenizer, str(path))

    def render(
        self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()
    ) -> list[int]:
        """Token ids of a conversation, up to where the assistant writes.

        Control tokens that stand in messages are encoded as plain text: a user cannot
        close their own turn.

        Raises:
            TokenizerError: no chat template; TemplateRefused: it refuses these messages.
        """
        if not self._tokenizer.chat_template:
            raise TokenizerError(
                f"{self._where}: its tokenizer has no chat template; use plain completions, "
                "or save the tokenizer with one"
            )
        try:
            encoded: Any = self._tokenizer.apply_chat_template(
                [message.to_openai() for message in messages],
                tools=list(tools) or None,
                add_generation_prompt=True,
                return_dict=False,
                sanitize_control_tokens=True,
            )
        except Exception as error:  # templates raise their own errors through Jinja
            raise TemplateRefused(f"the chat template refused: {error}") from error
        return list(encoded)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text, no special tokens added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens spelled out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def token_bytes(self, token_id: int) -> bytes | None:
        """Bytes of one token, which may be part of a character; None where there are none."""
        if self._pieces is None or not 0 <= token_id < self.vocab_size:
            return None
        piece: bytes = self._pieces.decode_bytes([token_id])
        return piece

    @cached_property
    def _pieces(self) -> Any:
        """The vocabulary as bytes; None for a tokenizer whose pieces are not known as bytes."""
        import llguidance.hf

        try:
            tokenizer: Any = self._tokenizer
            return llguidance.hf.from_tokenizer(tokenizer, self.vocab_size)
        except (ValueError, TypeError, AttributeError):
            return None

    def detokenizer(self) -> "Detokenizer":
        """A decoder for ids that arrive one by one."""
        return Detokenizer(self)

    def parse(self, text_or_ids: str | Sequence[int]) -> Message:
        """The assistant's message: content, and tool calls where they are well-formed."""
        if isinstance(text_or_ids, str):
            text = text_or_ids
            for token in STOP_TOKENS:
                text = text.removesuffix(token)
            return parse_message(text)
        ids = list(text_or_ids)
        while ids and ids[-1] in self.stop_ids:
            ids.pop()
        return parse_message(self.decode(ids))


class Detokenizer:
    """Decodes ids as they arrive, never half a character."""

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self._tokenizer = tokenizer
        self._shown: list[int] = []
        """The last ids shown: a token's text may depend on the one before it."""
        self._held: list[int] = []
        self._settled = 0
        self._stalled = 0

    def feed(self, token_id: int) -> str:
        """Text that is whole now; empty while its last character is unfinished."""
        self._held.append(token_id)
        text = self._text()
        if not text.endswith("\ufffd"):
            return self._show(text)
        settled = len(text.rstrip("\ufffd"))
        self._stalled = 1 if settled > self._settled else self._stalled + 1
        self._settled = settled
        return "" if self._stalled < _MAX_STALLED else self._show(text)

    def finish(self) -> str:
        """What is still held back when no more ids come."""
        return self._show(self._text())

    def _text(self) -> str:
        before = self._tokenizer.decode(self._shown)
        return self._tokenizer.decode(self._shown + self._held)[len(before) :]

    def _show(self, text: str) -> str:
        if self._held:
            self._shown = self._held
        self._held, self._settled, self._stalled = [], 0, 0
        return text
