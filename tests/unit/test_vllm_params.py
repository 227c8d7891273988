"""Between our words and vLLM's, without vLLM."""

import os
from typing import NamedTuple

import msgspec
import pytest

from consumers import vllm_engine
from consumers.engine import Logprob, Sampling
from consumers.engine_settings import VllmSettings, check_model_path, engine_args, environment
from consumers.hidden import hidden
from consumers.vllm_params import (
    RECIPE,
    finish_of,
    llm_args,
    logprobs_of,
    prompt_args,
    sampling_args,
    structured_args,
)
from fleet.errors import EngineDead, JobRejected, UsageError

KNOWN = {
    "max_num_batched_tokens": int | None,
    "gpu_memory_utilization": float,
    "enable_prefix_caching": bool | None,
    "revision": str | None,
    "quantization": str | None,
    "block_size": int,
}


class Entry(NamedTuple):
    logprob: float
    rank: int | None


def settings(**more: object) -> VllmSettings:
    return VllmSettings(**{"model_path": "m", "served_model": "m", "device": "cpu", **more})  # type: ignore[arg-type]


def test_a_cpu_gets_the_width_at_which_answers_are_exact_and_a_cache_that_fits() -> None:
    args = llm_args(settings(), KNOWN)
    assert args["dtype"] == "float32"
    assert args["kv_cache_memory_bytes"] == 128 * 1024 * 1024
    assert args["block_size"] == 32
    assert args["enforce_eager"] is True


def test_a_gpu_is_left_to_vllm() -> None:
    args = llm_args(settings(device="cuda"), KNOWN)
    assert not args.keys() & {"dtype", "kv_cache_memory_bytes", "block_size", "enforce_eager"}
    assert "OMP_NUM_THREADS" not in environment(settings(device="cuda"), {})


def test_what_is_named_goes_before_what_is_usual() -> None:
    args = llm_args(settings(dtype="bfloat16", max_num_seqs=3, max_model_len=77), KNOWN)
    assert (args["dtype"], args["max_num_seqs"], args["max_model_len"]) == ("bfloat16", 3, 77)


def test_the_engine_serves_by_priority_and_dies_with_its_parent() -> None:
    args = llm_args(settings(), KNOWN)
    assert args["scheduling_policy"] == "priority"
    assert args["worker_extension_cls"] == "consumers.pdeath.DieWithParent"


def test_a_model_s_own_code_is_not_run() -> None:
    assert llm_args(settings(), KNOWN)["trust_remote_code"] is False


def test_an_embedding_model_gets_no_context_that_it_does_not_have() -> None:
    args = llm_args(settings(task="embed"), KNOWN)
    assert args["runner"] == "pooling"
    assert "max_model_len" not in args


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("gpu-memory-utilization=0.8", 0.8),
        ("max_num_batched_tokens=4096", 4096),
        ("--enable-prefix-caching=false", False),
        ("revision=12345", "12345"),
        ("quantization=fp8", "fp8"),
    ],
)
def test_an_argument_from_the_command_line_gets_the_type_that_vllm_wants(
    pair: str, value: object
) -> None:
    (name,) = given = engine_args([pair])
    assert llm_args(settings(engine_args=given), KNOWN)[name] == value


def test_an_argument_that_vllm_does_not_know_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"quantisation.*did you mean quantization"):
        llm_args(settings(engine_args={"quantisation": "fp8"}), KNOWN)


@pytest.mark.parametrize("pair", ["nothing", "=1", "a b=1", "model=x", "scheduling-policy=fcfs"])
def test_an_argument_that_is_none_or_not_the_users_is_refused(pair: str) -> None:
    with pytest.raises(UsageError, match="--engine-arg"):
        engine_args([pair])


def test_what_the_environment_says_is_left_alone() -> None:
    added = environment(settings(), {"OMP_NUM_THREADS": "8", "HF_HUB_OFFLINE": "0"})
    assert not added.keys() & {"OMP_NUM_THREADS", "HF_HUB_OFFLINE"}
    assert added["VLLM_WORKER_MULTIPROCESSING_METHOD"] == "spawn"


@pytest.mark.parametrize("path", ["/no/such/model", "./nor-this", "a/b/c"])
def test_a_path_that_is_no_directory_is_no_name_of_a_model_either(path: str) -> None:
    with pytest.raises(UsageError, match="no directory"):
        check_model_path(path)
    check_model_path("org/name")


def test_sampling_keeps_text_and_stop_strings_out_of_the_engine() -> None:
    args = sampling_args(Sampling(max_tokens=5, top_k=-1, logprobs=2))
    assert args["detokenize"] is False
    assert "stop" not in args
    assert args["top_k"] == 0
    assert args["logprobs"] == 2


@pytest.mark.parametrize(
    "asked",
    [
        Sampling(max_tokens=5, temperature=0.7, seed=3, top_p=0.9, repetition_penalty=1.2),
        Sampling(max_tokens=5, temperature=0, frequency_penalty=0.5, kept=2),
        Sampling(max_tokens=5, temperature=0, presence_penalty=-0.5),
    ],
)
def test_what_we_choose_ourselves_is_greedy_and_plain_to_vllm(asked: Sampling) -> None:
    args = sampling_args(asked, keyed=True)
    assert msgspec.convert(args.pop("extra_args")[RECIPE], Sampling) == asked
    assert args == sampling_args(Sampling(max_tokens=5, temperature=0))


@pytest.mark.parametrize(
    "asked",
    [
        Sampling(max_tokens=5, temperature=0),
        Sampling(max_tokens=5, temperature=0, seed=3, repetition_penalty=1.2),
        Sampling(max_tokens=5, temperature=1),
    ],
)
def test_what_we_have_no_part_in_reaches_vllm_as_it_is(asked: Sampling) -> None:
    assert sampling_args(asked, keyed=True) == sampling_args(asked)


def test_limits_and_log_probabilities_stay_with_vllm() -> None:
    asked = Sampling(max_tokens=9, min_tokens=4, seed=1, logprobs=2, ignore_eos=True)
    args = sampling_args(asked, keyed=True)
    assert (args["max_tokens"], args["min_tokens"], args["logprobs"]) == (9, 4, 2)
    assert args["ignore_eos"] is True


def test_noise_is_keyed_on_a_cpu_unless_tokens_are_guessed_ahead() -> None:
    name = "logits_processors"
    assert llm_args(settings(), KNOWN)[name] == ["consumers.vllm_noise:KeyedSampler"]
    guessing = settings(engine_args={"speculative_config": "{}"})
    known = KNOWN | {"speculative_config": dict}
    for other in (guessing, settings(device="cuda"), settings(task="embed")):
        assert name not in llm_args(other, known)


def test_any_object_and_a_schema_are_different_constraints() -> None:
    assert structured_args("{}") == {"json_object": True}
    assert structured_args('{"type": "integer"}') == {"json": '{"type": "integer"}'}


def test_an_abort_that_nobody_asked_for_is_a_dead_engine_and_an_error_is_the_requests() -> None:
    assert [finish_of(reason) for reason in (None, "stop", "length")] == [None, "stop", "length"]
    with pytest.raises(EngineDead):
        finish_of("abort")
    with pytest.raises(JobRejected):
        finish_of("error")


def test_the_chosen_token_comes_first_and_the_likeliest_follow_by_rank() -> None:
    position = {7: Entry(-3.0, 3), 1: Entry(-0.1, 1), 4: Entry(-1.0, 2)}
    assert logprobs_of([7], [position], 2) == (
        (Logprob(7, -3.0, 3), Logprob(1, -0.1, 1), Logprob(4, -1.0, 2)),
    )
    assert logprobs_of([7], [position], 0) == ((Logprob(7, -3.0, 3),),)


def test_vllm_counts_only_where_somebody_may_ask() -> None:
    for counts in (False, True):
        settings = VllmSettings(model_path="m", served_model="m", device="cpu", counts=counts)
        assert llm_args(settings, {})["disable_log_stats"] is not counts


def test_a_prompt_of_a_tenant_is_salted() -> None:
    assert prompt_args([1, 2], "acme")["cache_salt"] == "acme"
    assert "cache_salt" not in prompt_args([1, 2], "")


def test_the_engine_s_processes_inherit_no_keys() -> None:
    kept = {"HF_TOKEN": "h", "PATH": "/bin"}
    keys = {
        "AWS_SECRET_ACCESS_KEY": "a",
        "FLEET_NATS": "nats://u:p@h",
        "NATS_CREDS": "c",
        "OTEL_EXPORTER_OTLP_HEADERS": "o",
    }
    environ = {**kept, **keys}
    with hidden(environ):
        assert environ == kept
    assert environ == {**kept, **keys}


async def test_an_engine_is_built_from_the_first_moment_without_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[bool] = []

    def build(*_: object) -> None:
        found.append("NATS_CREDS" in os.environ)
        raise EngineDead("this one is only looked at")

    monkeypatch.setattr(os, "environ", {**os.environ, "NATS_CREDS": "c"})
    monkeypatch.setattr(vllm_engine, "_import_vllm", lambda _: None)
    monkeypatch.setattr(vllm_engine, "_build", build)
    with pytest.raises(EngineDead, match="only looked at"):
        async with vllm_engine.start(settings()):
            pass
    assert found == [False]
    assert os.environ["NATS_CREDS"] == "c"
