"""Between our words and vLLM's. Pure: vLLM itself is not imported here."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, get_args

import msgspec

from consumers.engine import FinishReason, Logprob, Sampling
from consumers.engine_settings import (
    CPU_BLOCK_TOKENS,
    CPU_CONTEXT_TOKENS,
    CPU_KV_CACHE_BYTES,
    CPU_SLOTS,
    VllmSettings,
)
from fleet.errors import EngineDead, JobRejected, UsageError

EngineArg: TypeAlias = Any
# The name under which a request tells our logits processor how its tokens are to be chosen.
RECIPE = "overbook"


class TokenLogprob(Protocol):
    """A log probability as vLLM gives it."""

    @property
    def logprob(self) -> float: ...
    @property
    def rank(self) -> int | None: ...


def llm_args(settings: VllmSettings, fields: Mapping[str, object]) -> dict[str, EngineArg]:
    """Return the keyword arguments of vLLM's engine.

    fields: the names that this version of vLLM knows, and their types. Raises UsageError.
    """
    args: dict[str, EngineArg] = {
        "model": settings.model_path,
        "served_model_name": settings.served_model,
        "runner": "pooling" if settings.embeds else "generate",
        "tensor_parallel_size": settings.tensor_parallel_size,
        "seed": settings.seed,
        "trust_remote_code": False,
        "scheduling_policy": "priority",
        "worker_extension_cls": "consumers.pdeath.DieWithParent",
        "disable_log_stats": not settings.counts,
    }
    if settings.on_cpu:
        args |= {
            "dtype": "float32",
            "max_num_seqs": CPU_SLOTS,
            # Without a size vLLM wants nearly all memory of the machine, and fails.
            "kv_cache_memory_bytes": CPU_KV_CACHE_BYTES,
            "block_size": CPU_BLOCK_TOKENS,
            # Compiling takes a minute at every start and gains little here.
            "enforce_eager": True,
        }
        if not settings.embeds:
            args["max_model_len"] = CPU_CONTEXT_TOKENS
            if "speculative_config" not in settings.engine_args:  # vLLM takes only one of the two
                args["logits_processors"] = ["consumers.vllm_noise:KeyedSampler"]
    if not settings.embeds:
        # With "auto" the first request would settle the backend for all that follow.
        args["structured_outputs_config"] = {"backend": "xgrammar"}
    named = {
        "dtype": settings.dtype,
        "max_model_len": settings.max_model_len,
        "max_num_seqs": settings.max_num_seqs,
        "kv_cache_memory_bytes": settings.kv_cache_memory_bytes,
    }
    args |= {name: value for name, value in named.items() if value is not None}
    return args | {name: _typed(name, text, fields) for name, text in settings.engine_args.items()}


def prompt_args(prompt_ids: Sequence[int], salt: str) -> dict[str, object]:
    """Return a prompt in vLLM's form. What is computed for one salt serves no other."""
    prompt: dict[str, object] = {"type": "token", "prompt_token_ids": list(prompt_ids)}
    # An empty one is refused.
    return prompt | ({"cache_salt": salt} if salt else {})


def sampling_args(sampling: Sampling, *, keyed: bool = False) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's SamplingParams, but for structured output.

    keyed: our logits processor is there. What it chooses is greedy and plain to vLLM, and what it
    has no part in reaches vLLM as it would without it.
    """
    if keyed and _needs_key(sampling):
        plain = Sampling(
            max_tokens=sampling.max_tokens,
            min_tokens=sampling.min_tokens,
            temperature=0,
            ignore_eos=sampling.ignore_eos,
            logprobs=sampling.logprobs,
        )
        return sampling_args(plain) | {"extra_args": {RECIPE: msgspec.to_builtins(sampling)}}
    return {
        "max_tokens": sampling.max_tokens,
        "min_tokens": sampling.min_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": max(0, sampling.top_k),
        "min_p": sampling.min_p,
        "seed": sampling.seed,
        "frequency_penalty": sampling.frequency_penalty,
        "presence_penalty": sampling.presence_penalty,
        "repetition_penalty": sampling.repetition_penalty,
        "ignore_eos": sampling.ignore_eos,
        "logprobs": sampling.logprobs,
        # Text is made and stop strings are matched by the runner.
        "detokenize": False,
    }


def structured_args(schema: str) -> dict[str, Any]:
    """Return the keyword arguments of vLLM's StructuredOutputsParams."""
    return {"json_object": True} if schema == "{}" else {"json": schema}


def finish_of(reason: str | None) -> FinishReason | None:
    """Translate vLLM's finish reason.

    Raises EngineDead for an abort, since our own aborts are never read to their end, and
    JobRejected for an error that vLLM keeps to the one request, such as a grammar that it cannot
    compile.
    """
    match reason:
        case None:
            return None
        case "stop" | "repetition":
            return "stop"
        case "length":
            return "length"
        case "abort":
            raise EngineDead("the engine aborted a request that nobody asked it to: it is ending")
        case _:
            raise JobRejected(
                f"the engine gave this request up ({reason!a}) and serves others on: "
                "simplify `response_format` if there is one",
                code="engine_refused",
            )


def logprobs_of(
    token_ids: Sequence[int], positions: Sequence[Mapping[int, TokenLogprob]] | None, count: int
) -> tuple[tuple[Logprob, ...], ...]:
    """Order each position: the chosen token first, then the `count` likeliest, by rank."""
    return tuple(
        (_logprob(chosen, entries[chosen]), *_likeliest(entries, count))
        for chosen, entries in zip(token_ids, positions or (), strict=True)
    )


def _needs_key(sampling: Sampling) -> bool:
    if sampling.temperature > 0:
        return sampling.seed is not None
    return sampling.frequency_penalty != 0 or sampling.presence_penalty != 0


def _likeliest(entries: Mapping[int, TokenLogprob], count: int) -> list[Logprob]:
    ranked = sorted(entries, key=lambda i: entries[i].rank or len(entries) + 1)
    return [_logprob(i, entries[i]) for i in ranked[:count]]


def _logprob(token_id: int, entry: TokenLogprob) -> Logprob:
    return Logprob(token_id, entry.logprob, entry.rank)


def _typed(name: str, text: str, fields: Mapping[str, object]) -> EngineArg:
    """Read a value as JSON, or as the text it is where that is no JSON or text is wanted."""
    if name not in fields:
        near = difflib.get_close_matches(name, fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "see vLLM's engine arguments"
        raise UsageError(f"--engine-arg {name}: this vLLM has no such argument; {hint}")
    wanted = fields[name]
    if wanted is str or set(get_args(wanted)) == {str, type(None)}:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
