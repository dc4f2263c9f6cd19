"""Changes a row of logits as its request asks, in place, before a token is drawn."""

from collections.abc import Sequence

import numpy as np
import torch

from contracts.engine import SamplingParams


def adjust(
    row: torch.Tensor, params: SamplingParams, prompt: Sequence[int], output: Sequence[int]
) -> None:
    """Bias and penalties, in place.

    Repetition penalty as in CTRL, Keskar et al. 2019 (arXiv 1909.05858), over prompt and
    output; presence and frequency penalties as in OpenAI's API, over the output.

    Args:
        row: logits, shape (vocabulary,), float32.
        params: what the request asks.
        prompt: token ids of the prompt.
        output: token ids generated so far.
    """
    if params.logit_bias:
        ids, bias = zip(*params.logit_bias, strict=True)
        row[list(ids)] += torch.tensor(bias, device=row.device)
    if params.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*prompt, *output}), device=row.device)
        chosen = row[seen]
        factor = torch.where(chosen > 0, 1 / params.repetition_penalty, params.repetition_penalty)
        row[seen] = chosen * factor
    if output and (params.presence_penalty or params.frequency_penalty):
        ids_of, counts = np.unique(np.asarray(output), return_counts=True)
        times = torch.from_numpy(counts).to(row)
        row[torch.from_numpy(ids_of)] -= params.presence_penalty + params.frequency_penalty * times


def adjusts(params: SamplingParams) -> bool:
    """Whether ``adjust`` would do anything."""
    return bool(
        params.logit_bias
        or params.repetition_penalty != 1.0
        or params.presence_penalty
        or params.frequency_penalty
    )


def keep(row: torch.Tensor, params: SamplingParams) -> None:
    """Set tempered logits that ``min_p``, ``top_k`` and ``top_p`` leave out to -inf."""
    if params.min_p > 0:
        keep_min_p(row, params.min_p)
    if 0 < params.top_k < row.shape[0]:
        keep_top_k(row, params.top_k)
    if params.top_p < 1.0:
        keep_nucleus(row, params.top_p)


def keep_min_p(row: torch.Tensor, min_p: float) -> None:
    """Keep tokens at least ``min_p`` times as likely as the likeliest.

    Nguyen et al. 2024 (arXiv 2407.01082).
    """
    row.masked_fill_(row < row.max() + np.log(min_p), -torch.inf)


def keep_top_k(row: torch.Tensor, k: int) -> None:
    """Keep the ``k`` largest logits; of equal ones, those with the smaller ids."""
    order = torch.argsort(row, descending=True, stable=True)
    row[order[k:]] = -torch.inf


def keep_nucleus(row: torch.Tensor, top_p: float) -> None:
    """Keep the smallest set of tokens whose probability reaches ``top_p``.

    Nucleus sampling, Holtzman et al. 2020 (arXiv 1904.09751); at least one stays.
    """
    order = torch.argsort(row, descending=True, stable=True)
    probabilities = torch.softmax(row[order].double(), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    # Not by indices of those left out: a GPU would be waited for, to learn how many they are.
    row[order] = row[order].masked_fill(before >= max(top_p, 1e-12), -torch.inf)
