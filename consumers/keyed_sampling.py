"""Choose a token by noise that can be computed again: the same on any day, in any batch.

Adding Gumbel noise to scores and taking the largest draws from their softmax. Here the noise is a
hash of (seed, position in the answer, token id), so whoever continues an answer adds what its
first owner would have added. The hash is integer arithmetic and equal everywhere; the logarithms
behind it are equal on devices of one type and differ in the last bit between types.
"""

import math
from collections.abc import Sequence

import torch

from consumers.engine import Sampling

_MASK_64 = 2**64 - 1
# Below it vLLM takes a temperature for 0, and raises those up to the second: so do we.
GREEDY_BELOW = 1e-5
LEAST_TEMPERATURE = 0.01


def key_of(seed: int, position: int) -> int:
    """Mix a seed with a position in the answer, from 0, to 64 bits."""
    return _mixed(_mixed(seed & _MASK_64) + position)


def gumbel(token_ids: torch.Tensor, key: int) -> torch.Tensor:
    """Return a number for each token id (int32, any shape): of Gumbel's distribution over keys."""
    bits = token_ids * _signed(0x9E3779B1)
    bits.add_(_signed(key))
    _fold(bits, 16)
    bits.mul_(_signed(0x7FEB352D))
    _fold(bits, 15)
    bits.add_(_signed(key >> 32))
    bits.mul_(_signed(0x846CA68B))
    _fold(bits, 16)
    # What wins is large noise, which comes from small numbers: there float32 resolves all 31 bits.
    unit = bits.bitwise_and_(2**31 - 1).to(torch.float32).add_(0.5).mul_(-(2.0**-31))
    return unit.log1p_().neg_().log_().neg_()


def choose(logits: torch.Tensor, sampling: Sampling, key: int) -> torch.Tensor | None:
    """Return the chosen token id of one row of logits as a tensor of one, None for broken logits.

    Applies temperature, then min_p, top_k and top_p, in vLLM's order.
    """
    if sampling.temperature < GREEDY_BELOW:
        return logits.argmax(dim=-1, keepdim=True)
    scores = logits / max(sampling.temperature, LEAST_TEMPERATURE)
    filtered = _filter(scores, sampling)
    if not filtered:
        everything = torch.arange(len(scores), dtype=torch.int32, device=scores.device)
        return scores.add_(gumbel(everything, key)).argmax(dim=-1, keepdim=True)
    left = (scores > -math.inf).nonzero().squeeze(1)
    if not len(left):
        return None
    noisy = scores[left].add_(gumbel(left.to(torch.int32), key))
    return left[noisy.argmax(dim=-1, keepdim=True)]


class Tally:
    """Which tokens the prompt and the answer have: what penalties count.

    kept: how many of the last ids of `prompt` are tokens of the answer already. size: of the
    vocabulary.
    """

    def __init__(self, prompt: Sequence[int], kept: int, size: int, device: torch.device) -> None:
        ids = torch.tensor(prompt, dtype=torch.int64)
        self._seen = (torch.bincount(ids, minlength=size)[:size] > 0).to(device)
        answer = torch.bincount(ids[len(ids) - kept :], minlength=size)[:size]
        self._counts = answer.to(device, torch.float32)
        self._new = 0

    def penalise(self, logits: torch.Tensor, new: Sequence[int], sampling: Sampling) -> None:
        """Apply repetition, frequency and presence penalty to one row, in vLLM's order.

        new: all tokens of the answer behind the prompt, by now.
        """
        for token_id in new[self._new :]:
            self._seen[token_id] = True
            self._counts[token_id] += 1
        self._new = len(new)
        if (factor := sampling.repetition_penalty) != 1:
            punished = torch.where(logits > 0, logits / factor, logits * factor)
            logits.copy_(torch.where(self._seen, punished, logits))
        logits.sub_(self._counts, alpha=sampling.frequency_penalty)
        there = (self._counts > 0).to(logits.dtype)
        logits.sub_(there, alpha=sampling.presence_penalty)


def _filter(scores: torch.Tensor, sampling: Sampling) -> bool:
    """Put what may not be chosen at -inf, in place; say whether there is such a rule at all."""
    size = len(scores)
    if sampling.min_p > 0:
        scores.masked_fill_(scores < scores.max() + math.log(sampling.min_p), -math.inf)
    if top := 0 < sampling.top_k < size:
        scores.masked_fill_(scores < scores.topk(sampling.top_k).values[-1], -math.inf)
    if sampling.top_p < 1:
        _leave_nucleus(scores, sampling.top_p)
    return sampling.min_p > 0 or top or sampling.top_p < 1


def _leave_nucleus(scores: torch.Tensor, top_p: float) -> None:
    """Leave the likeliest tokens that together have a probability of `top_p`."""
    chances = scores.softmax(dim=-1)
    # Only those need sorting that can be in the nucleus. All below this bound together have less
    # than is outside, for there are no more than len(scores) of them.
    likely = chances[chances > (1 - top_p) / (2 * len(scores))]
    ranked = likely.sort(descending=True).values
    inside = ranked[ranked.cumsum(dim=-1) - ranked < top_p]
    if len(inside):
        scores.masked_fill_(chances < inside[-1], -math.inf)


def _fold(bits: torch.Tensor, by: int) -> None:
    # Shifts of signed numbers drag the sign along; it is masked out.
    bits.bitwise_xor_((bits >> by).bitwise_and_((1 << (32 - by)) - 1))


def _signed(number: int) -> int:
    """Read the low 32 bits as a signed number, which is what torch multiplies."""
    return ((number + 2**31) & (2**32 - 1)) - 2**31


def _mixed(number: int) -> int:
    """Spread every bit over all 64 (the finaliser of SplitMix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK_64
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK_64
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK_64
    return number ^ (number >> 31)
