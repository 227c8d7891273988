"""What vLLM's objects say, in our words. vLLM itself is not imported here."""

from typing import Any

from consumers.engine import EngineFacts, Step
from consumers.engine_settings import VllmSettings
from consumers.vllm_params import finish_of, logprobs_of
from fleet.errors import JobRejected

MAX_REASON = 300


def facts_of(llm: Any, settings: VllmSettings, version: str) -> EngineFacts:
    model = llm.model_config
    dtype = str(model.dtype).removeprefix("torch.")
    return EngineFacts(
        name="vllm",
        version=version,
        model=settings.served_model,
        dtype=dtype,
        context_tokens=model.max_model_len,
        vocabulary=model.get_vocab_size(),
        slots=llm.vllm_config.scheduler_config.max_num_seqs,
        # Measured on CPUs; a GPU's kernels sum in an order that depends on the batch.
        exact=dtype == "float32" and model.quantization is None and settings.on_cpu,
        embeds=settings.embeds,
        keyed=bool(model.logits_processors),
    )


def end_token_ids(llm: Any, tokenizer: Any) -> frozenset[int]:
    """Collect the tokenizer's end token and those that the model's generation config adds."""
    config = llm.model_config.try_get_generation_config() or {}
    ids = config.get("eos_token_id")
    more = [ids] if isinstance(ids, int) else ids or []
    return frozenset(i for i in (tokenizer.eos_token_id, *more) if i is not None)


def step_of(output: Any, logprobs: int | None) -> Step:
    ids = tuple(output.token_ids)
    finish = finish_of(output.finish_reason)
    if logprobs is None:
        return Step(token_ids=ids, finish=finish)
    return Step(token_ids=ids, logprobs=logprobs_of(ids, output.logprobs, logprobs), finish=finish)


def refused(error: BaseException, *, code: str) -> JobRejected:
    return JobRejected(
        f"the engine refuses this request: {reason(error)}; change it and send it again",
        code=code,
    )


def reason(error: BaseException) -> str:
    """Put what a library says on one line, and cut it short: it may quote a whole request."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= MAX_REASON else text[:MAX_REASON] + "..."


def fail_all(llm: Any, error: Exception) -> None:
    """Let everybody who waits for a dead core know.

    vLLM tells those who wait for tokens when it hears of the end itself, and those who asked the
    core something, as it does before an engine's first request, never.
    """
    llm.output_processor.propagate_error(error)
    for answer in llm.engine_core.utility_results.values():
        if not answer.done():
            answer.set_exception(error)
