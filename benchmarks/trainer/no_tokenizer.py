"""What stands in a tokenizer's place where a benchmark trains on random ids."""


class NoTokenizer:
    """Random ids need no special tokens."""

    bos_token_id = eos_token_id = pad_token_id = None
