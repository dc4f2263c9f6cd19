"""Stages of the corpus room."""

from clusters.stage import Input, Stage
from corpus import build, config, tokenizer, tokens
from corpus.enrich import questions

STAGES = [
    Stage(
        name="corpus.build",
        config=config.BuildConfig,
        output="corpus",
        version=2,
        run=build.run,
        external=build.external,
        requires=build.requirements,
    ),
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
    Stage(
        name="corpus.questions",
        config=questions.QuestionsConfig,
        output="questions",
        run=questions.run,
        inputs={"corpus": Input(("corpus",))},
        needs_ray=False,
    ),
]
