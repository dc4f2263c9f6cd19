"""Stages of the corpus room."""

from clusters.stage import Input, Stage
from corpus import tokenizer, tokens

STAGES = [
    Stage(
        name="corpus.tokenizer",
        config=tokenizer.TokenizerConfig,
        output="tokenizer",
        run=tokenizer.run,
        inputs={"corpus": Input(("corpus",))},
        needs_ray=False,
    ),
    Stage(
        name="corpus.tokens",
        config=tokens.TokensConfig,
        output="tokens",
        run=tokens.run,
        inputs={"corpus": Input(("corpus",)), "tokenizer": Input(("tokenizer",))},
        requires=tokens.requirements,
    ),
]
