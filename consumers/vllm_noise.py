"""Loaded by name in vLLM's core: sampling and penalties that go on where an answer was cut.

vLLM's own seed says only where a generator began, and its penalties take kept tokens for prompt.
A request that names `RECIPE` in its extra arguments is greedy to vLLM; its row of logits arrives
here after grammars and `min_tokens` had their say and before vLLM's penalties, which it must leave
neutral, and leaves with one token to choose.
"""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from consumers.engine import Sampling
from consumers.keyed_sampling import Tally, choose, key_of
from consumers.vllm_params import RECIPE


class KeyedSampler(LogitsProcessor):  # type: ignore[misc]  # vLLM has no types here
    """One for all requests; those that it has no row for cost it nothing."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self._rows: dict[int, _Row] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Raise ValueError for what would otherwise fail in the core, and end it."""
        sampling = _recipe(sampling_params)
        if sampling and not (0 <= sampling.temperature < math.inf and 0 < sampling.top_p <= 1):
            raise ValueError(
                f"temperature ({sampling.temperature}) or top_p ({sampling.top_p}) is out of range"
            )

    def is_argmax_invariant(self) -> bool:
        """False: vLLM skips others for requests that are greedy to it."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow requests as they enter, leave and move in the batch."""
        process_dict_updates(self._rows, batch_update, _row)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Leave one token in each row that is ours. logits: requests by vocabulary, float32."""
        for index, row in self._rows.items():
            row.decide(logits[index])
        return logits


class _Row:
    """One request. new: its tokens so far, a list that vLLM appends to."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int], new: Sequence[int]) -> None:
        self._sampling = sampling
        self._prompt = prompt
        self._new = new
        self._tally: Tally | None = None

    def decide(self, logits: torch.Tensor) -> None:
        asked = self._sampling
        if asked.penalised:
            self._tally = self._tally or Tally(self._prompt, asked.kept, len(logits), logits.device)
            self._tally.penalise(logits, self._new, asked)
        key = key_of(asked.seed or 0, asked.kept + len(self._new))
        chosen = choose(logits, asked, key)
        if chosen is not None:
            logits.fill_(-math.inf).index_fill_(0, chosen, 0.0)


def _row(params: Any, prompt: list[int] | None, new: list[int]) -> _Row | None:
    sampling = _recipe(params)
    return _Row(sampling, prompt or (), new) if sampling else None


def _recipe(params: Any) -> Sampling | None:
    recipe = (params.extra_args or {}).get(RECIPE)
    return msgspec.convert(recipe, Sampling) if recipe else None
