"""Stages of the corpus room."""

from clusters.stage import Input, Stage
from corpus import build, config, tokenizer, tokens
from corpus.enrich import config as enrich_config
from corpus.enrich import questions
from corpus.enrich import stages as enrich
from corpus.select import config as select_config
from corpus.select import run as select

STAGES = [
    Stage(
        name="corpus.build",
        config=config.BuildConfig,
        output="corpus",
        version=3,
        run=build.run,
        inputs={"earlier": Input(("corpus",), many=True, optional=True)},
        external=build.external,
        requires=build.requirements,
    ),
    Stage(
        name="corpus.tokenizer",
        config=tokenizer.TokenizerConfig,
        output="tokenizer",
        version=2,
        run=tokenizer.run,
        inputs={
            "corpus": Input(("corpus",)),
            "selection": Input(("selection",), optional=True),
        },
        needs_ray=False,
    ),
    Stage(
        name="corpus.tokens",
        config=tokens.TokensConfig,
        output="tokens",
        version=3,
        run=tokens.run,
        inputs={
            "corpus": Input(("corpus",)),
            "tokenizer": Input(("tokenizer",)),
            "selection": Input(("selection",), optional=True),
        },
        requires=tokens.requirements,
    ),
    Stage(
        name="corpus.select",
        config=select_config.SelectConfig,
        output="selection",
        run=select.run,
        inputs={
            "corpus": Input(("corpus",)),
            "recalled": Input(("selection",), many=True, optional=True),
        },
        requires=select.requirements,
    ),
    Stage(
        name="corpus.recall",
        config=enrich_config.RecallConfig,
        output="selection",
        run=enrich.run_recall,
        inputs={"corpus": Input(("corpus",))},
        external=enrich_config.recall_inputs,
        requires=enrich.requirements,
    ),
    Stage(
        name="corpus.complete",
        config=enrich_config.CompleteConfig,
        output="selection",
        run=enrich.run_complete,
        inputs={"corpus": Input(("corpus",)), "pool": Input(("corpus",))},
        external=enrich_config.complete_inputs,
        requires=enrich.requirements,
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
