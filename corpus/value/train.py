"""The training process: ``python -m corpus.value.train EXAMPLES MODEL CONFIG_JSON``."""

import sys

from corpus.value.config import FastTextConfig


def main(examples: str, model: str, config_json: str) -> None:
    """Train with one thread and save the model."""
    import fasttext

    config = FastTextConfig.model_validate_json(config_json)
    trained = fasttext.train_supervised(
        input=examples,
        lr=config.learning_rate,
        dim=config.dim,
        epoch=config.epochs,
        wordNgrams=config.word_ngrams,
        bucket=config.buckets,
        minCount=config.min_count,
        loss="softmax",
        thread=1,
        verbose=0,
    )
    trained.save_model(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
