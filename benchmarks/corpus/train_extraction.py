"""Trains the block model of extraction on ``web/mixed_pages`` and writes ``model.json``.

python -m benchmarks.corpus.train_extraction

A block is main text where it stands in what trafilatura extracts from the page (a teacher's
label), and where an annotated snippet stands in it, which outweighs the teacher. The
five-fold figures that it prints are of pages the model has not seen. No other pages are read:
``web/article_extraction`` stays a test of this model.
"""

import json
import re

import numpy as np

from benchmarks.corpus.mixed_pages_data import Snippets, annotated, snippet_score
from corpus.extract.blocks import Walk
from corpus.extract.charset import decode
from corpus.extract.config import ExtractConfig
from corpus.extract.features import WIDTH, features
from corpus.extract.formulas import hold_formulas
from corpus.extract.model import FILE
from corpus.extract.tree import parse

HIDDEN = 24
EPOCHS = 30
NETWORKS = 1
FOLDS = 5
SNIPPET_WEIGHT = 6.0
SEED = 0
_WORD = re.compile(r"\W+")


def _plain(text: str) -> str:
    return _WORD.sub(" ", text.lower()).strip()


Example = tuple[np.ndarray, np.ndarray, np.ndarray, list[str], str]
"""Features, labels, weights and texts of a page's blocks, and the teacher's text."""


def _example(item: Snippets) -> Example:
    from trafilatura import extract

    page = decode(item.page)
    root = parse(page)
    hold_formulas(root)
    walk = Walk(root)
    try:
        teacher = extract(item.page, include_comments=False) or ""
    except ValueError:
        teacher = ""
    taught = _plain(teacher)
    wanted, unwanted = ([_plain(s) for s in group] for group in (item.wanted, item.unwanted))
    labels, weights = [], []
    for block in walk.blocks:
        text = _plain(block.text)
        label, weight = float(bool(text) and text in taught), min(len(block.text), 400) ** 0.5 / 5
        if any(snippet in text for snippet in wanted):
            label, weight = 1.0, weight + SNIPPET_WEIGHT
        elif any(snippet in text for snippet in unwanted):
            label, weight = 0.0, weight + SNIPPET_WEIGHT
        labels.append(label)
        weights.append(weight + 0.2)
    texts = [block.text for block in walk.blocks]
    return (
        features(walk),
        np.array(labels, np.float32),
        np.array(weights, np.float32),
        texts,
        teacher,
    )


def train(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Several networks side by side as one, whose logit is their mean.

    One alone changes its F1 by some .003 with its first weights.
    """
    nets = [_train_one(x, y, weight, SEED + i) for i in range(NETWORKS)]
    return {
        "first": np.concatenate([net["first"] for net in nets], 1),
        "first_bias": np.concatenate([net["first_bias"] for net in nets]),
        "second": np.concatenate([net["second"] for net in nets]) / NETWORKS,
        "second_bias": np.mean([net["second_bias"] for net in nets]),
    }


def _train_one(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Weights of one network, with the features' scaling folded in."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    mean, scale = x.mean(0), x.std(0) + 1e-6
    inputs, labels, weights = (torch.tensor(a) for a in ((x - mean) / scale, y, weight))
    network = torch.nn.Sequential(
        torch.nn.Linear(WIDTH, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
    )
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.02)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - epoch / EPOCHS) + 1e-4
        for rows in torch.randperm(len(x)).split(512):
            logits = network(inputs[rows])[:, 0]
            loss = binary_cross_entropy_with_logits(logits, labels[rows], reduction="none")
            optimizer.zero_grad()
            (loss * weights[rows]).mean().backward()
            optimizer.step()
    w1, b1, w2, b2 = (p.detach().numpy() for p in network.parameters())
    first = (w1 / scale).T
    return {"first": first, "first_bias": b1 - mean @ first, "second": w2[0], "second_bias": b2[0]}


def predict(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(x @ weights["first"] + weights["first_bias"], 0)
    return 1 / (1 + np.exp(-(hidden @ weights["second"] + weights["second_bias"])))


def held_out(examples: list[Example]) -> list[np.ndarray]:
    """Probabilities of each page's blocks by a network that has not seen the page."""
    fold = np.random.default_rng(SEED).integers(0, FOLDS, len(examples))
    found: list[np.ndarray] = [np.zeros(0)] * len(examples)
    for k in range(FOLDS):
        weights = _train_on([e for e, f in zip(examples, fold, strict=True) if f != k])
        for i in np.flatnonzero(fold == k):
            found[i] = predict(weights, examples[i][0])
    return found


def text_of(example: Example, p: np.ndarray, max_doubt: float) -> str:
    """What is kept of a page, or in doubt the teacher's text, as in ``extract_page``."""
    chars = np.array([len(text) for text in example[3]], np.float64)
    kept = "\n".join(text for text, score in zip(example[3], p, strict=True) if score >= 0.5)
    unsure = float((chars * np.minimum(p, 1 - p)).sum())
    doubt = unsure / max(float(chars[p >= 0.5].sum()), 1.0) if len(p) else 1.0
    doubtful = doubt > max_doubt or len(kept) < ExtractConfig().min_chars
    return example[4] if doubtful and max_doubt < 1 else kept


def main() -> None:
    items = annotated()
    examples = [_example(item) for item in items]
    found = held_out(examples)
    for max_doubt in (0.1, 0.15, 0.2, 0.25, 0.3, 1.0):
        pairs = zip(examples, found, strict=True)
        texts = [text_of(example, p, max_doubt) for example, p in pairs]
        print(f"held-out folds, max_doubt {max_doubt}:", json.dumps(snippet_score(texts, items)))
    weights = _train_on(examples)
    rounded = {name: np.round(np.float64(w), 5).tolist() for name, w in weights.items()}
    FILE.write_text(json.dumps(rounded) + "\n")
    print(f"{FILE}: {FILE.stat().st_size} bytes")


def _train_on(examples: list[Example]) -> dict[str, np.ndarray]:
    x, y, weight = (np.concatenate([example[i] for example in examples]) for i in range(3))
    return train(x, y, weight)


if __name__ == "__main__":
    main()
