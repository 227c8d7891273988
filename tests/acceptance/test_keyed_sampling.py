"""Noise that is keyed must still be noise: the draws follow the distribution that was asked for."""

import importlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import pytest

from consumers.engine import Sampling
from tests.tools import missing

pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default")]
DRAWS = 8000
# Chi-square over its degrees of freedom, which is 1 on average; at 7 degrees and more it is above
# this once in ten thousand times. Keys are fixed, so a test that passes passes for ever.
MOST = 4.2
KEY, NOISE = 0xFE2F108189F83DF6, [-0.0715547, 0.0515338, 2.0676880]
LOGITS = (2.0, 1.0, 1.0, 0.5, 0.0, -1.0, -2.0, -3.0)


@pytest.fixture(scope="module")
def torch() -> ModuleType:
    if find_spec("torch") is None:
        missing("torch is not installed: run `just setup`")
    return importlib.import_module("torch")


@pytest.fixture(scope="module")
def keyed(torch: ModuleType) -> ModuleType:
    from consumers import keyed_sampling  # noqa: PLC0415 - imports torch

    return keyed_sampling


def asked(**more: Any) -> Sampling:
    return Sampling(max_tokens=1, **more)


def softmax(logits: Sequence[float]) -> list[float]:
    weights = [math.exp(x) for x in logits]
    return [w / sum(weights) for w in weights]


def misfit(seen: Counter[Any], expected: dict[Any, float]) -> float:
    """Chi-square over its degrees of freedom."""
    total = sum(seen.values())
    assert set(seen) <= set(expected), "something was drawn that must not be"
    terms = ((seen[x] - total * p) ** 2 / (total * p) for x, p in expected.items())
    return sum(terms) / max(1, len(expected) - 1)


def draws(
    keyed: ModuleType, torch: ModuleType, sampling: Sampling, keys: Iterable[int]
) -> Counter[int]:
    row = torch.tensor(LOGITS)
    return Counter(int(keyed.choose(row, sampling, key)) for key in keys)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_softmax_along_positions(
    keyed: ModuleType, torch: ModuleType, temperature: float
) -> None:
    keys = [keyed.key_of(7, position) for position in range(DRAWS)]
    seen = draws(keyed, torch, asked(temperature=temperature), keys)
    expected = dict(enumerate(softmax([x / temperature for x in LOGITS])))
    assert misfit(seen, expected) < MOST


def test_draws_follow_the_softmax_along_seeds(keyed: ModuleType, torch: ModuleType) -> None:
    keys = [keyed.key_of(seed, 3) for seed in range(-DRAWS // 2, DRAWS // 2)]
    seen = draws(keyed, torch, asked(temperature=1), keys)
    assert misfit(seen, dict(enumerate(softmax(LOGITS)))) < MOST


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        ({"top_k": 3}, 3),
        ({"top_k": 2}, 3),  # the second and the third are equally likely
        ({"top_p": 0.75}, 3),
        ({"top_p": 1e-9}, 1),
        ({"min_p": math.exp(-2.1)}, 5),
        ({"top_k": 5, "top_p": 0.9, "min_p": 0.01}, 4),
    ],
)
def test_filters_leave_the_likeliest_and_draws_follow_what_is_left(
    keyed: ModuleType, torch: ModuleType, rule: dict[str, Any], left: int
) -> None:
    keys = [keyed.key_of(1, position) for position in range(DRAWS // 2)]
    seen = draws(keyed, torch, asked(temperature=1, **rule), keys)
    assert misfit(seen, dict(enumerate(softmax(LOGITS[:left])))) < MOST


def test_neighbouring_positions_have_nothing_to_do_with_each_other(
    keyed: ModuleType, torch: ModuleType
) -> None:
    row, sampling = torch.zeros(4), asked(temperature=1)
    drawn = [int(keyed.choose(row, sampling, keyed.key_of(9, at))) for at in range(DRAWS)]
    pairs = Counter(zip(drawn[::2], drawn[1::2], strict=True))
    assert misfit(pairs, {(a, b): 1 / 16 for a in range(4) for b in range(4)}) < MOST


def test_noise_has_gumbels_distribution_over_a_whole_vocabulary(
    keyed: ModuleType, torch: ModuleType
) -> None:
    ids = torch.arange(150_000, dtype=torch.int32)
    for position in range(4):
        noise = keyed.gumbel(ids, keyed.key_of(0, position))
        evenly = (-noise).exp().neg().exp()  # through its distribution function
        seen = Counter((evenly * 16).to(torch.int64).clamp(max=15).tolist())
        assert misfit(seen, dict.fromkeys(range(16), 1 / 16)) < MOST
        assert bool(torch.isfinite(noise).all())


def test_a_tokens_noise_is_the_same_alone_and_among_others(
    keyed: ModuleType, torch: ModuleType
) -> None:
    ids, key = torch.arange(50_000, dtype=torch.int32), keyed.key_of(5, 17)
    some = torch.tensor([0, 3, 77, 31_999, 49_999], dtype=torch.int32)
    assert keyed.gumbel(some, key).tolist() == keyed.gumbel(ids, key)[some.long()].tolist()


def test_the_noise_of_today_is_that_of_tomorrow(keyed: ModuleType, torch: ModuleType) -> None:
    """An answer begun by one version is ended by the next: changing this breaks such answers."""
    assert keyed.key_of(42, 7) == KEY
    noise = keyed.gumbel(torch.tensor([0, 1, 49_151], dtype=torch.int32), KEY)
    assert noise.tolist() == pytest.approx(NOISE, abs=1e-6)


def test_penalties_count_kept_and_new_tokens_of_the_answer_and_not_the_prompt(
    keyed: ModuleType, torch: ModuleType
) -> None:
    sampling = asked(frequency_penalty=0.5, presence_penalty=0.25, repetition_penalty=2.0)
    whole, cut = torch.ones(5), torch.ones(5)
    cpu = torch.device("cpu")
    keyed.Tally([4], 0, 5, cpu).penalise(whole, [1, 1, 2], sampling)
    later = keyed.Tally([4, 1, 1], 2, 5, cpu)
    later.penalise(torch.ones(5), [], sampling)
    later.penalise(cut, [2], sampling)
    assert cut.tolist() == whole.tolist() == [1.0, -0.75, -0.25, 1.0, 0.5]


@pytest.mark.parametrize("broken", [math.nan, -math.inf])
def test_logits_with_nothing_to_choose_from_do_not_end_the_engine(
    keyed: ModuleType, torch: ModuleType, broken: float
) -> None:
    row = torch.full((8,), broken)
    assert keyed.choose(row, asked(temperature=1, top_p=0.9, top_k=4, min_p=0.1), 1) is None
