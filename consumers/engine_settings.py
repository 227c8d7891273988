"""How to start a vLLM engine: values only, so that reading them costs no import of vLLM."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec

from fleet.errors import UsageError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
Task: TypeAlias = Literal["generate", "embed"]
Positive: TypeAlias = Annotated[int, msgspec.Meta(ge=1)]

_MIB = 1024 * 1024
CPU_KV_CACHE_BYTES = 128 * _MIB
CPU_SLOTS = 16
CPU_CONTEXT_TOKENS = 2048
# The CPU attention kernel takes multiples of 32; its default of 128 never caches a short prompt.
CPU_BLOCK_TOKENS = 32
# What Overbook relies on being set its own way.
OURS = frozenset(
    {"model", "runner", "served_model_name", "scheduling_policy", "skip_tokenizer_init",
     "worker_extension_cls", "logits_processors"}
)  # fmt: skip


class VllmSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine.

    model_path: a directory with weights and tokenizer, or a name that vLLM knows to load.
    served_model: the alias that jobs name, a slug. device: `auto` takes a GPU if there is one.
    dtype, max_model_len (tokens of prompt and output), max_num_seqs (requests at a time) and
    kv_cache_memory_bytes: None leaves the choice to vLLM on a GPU, and on a CPU means float32,
    2048, 16 and 128 MiB. task: None lets the model directory decide. engine_args: further
    arguments of vLLM's engine, by name, as text. counts: whether vLLM counts for Prometheus, which
    costs a little of each step. hang_s: seconds without a sign of life after
    which the engine counts as dead.
    """

    model_path: str
    served_model: str
    device: Device = "auto"
    dtype: str | None = None
    max_model_len: Positive | None = None
    max_num_seqs: Positive | None = None
    kv_cache_memory_bytes: Positive | None = None
    tensor_parallel_size: Positive = 1
    task: Task | None = None
    seed: int = 0
    engine_args: dict[str, str] = {}
    counts: bool = False
    hang_s: Annotated[float, msgspec.Meta(gt=0)] = 60.0

    @property
    def on_cpu(self) -> bool:
        """Whether to run without a GPU."""
        return self.device == "cpu" or (self.device == "auto" and not has_gpu())

    @property
    def embeds(self) -> bool:
        """Whether the model embeds texts; such models say in `modules.json` how to pool."""
        if self.task is None:
            return (Path(self.model_path) / "modules.json").is_file()
        return self.task == "embed"


def has_gpu() -> bool:
    """Whether an NVIDIA GPU can be reached from here."""
    return Path("/dev/nvidia0").exists() or Path("/dev/dxg").exists()


def check_model_path(path: str) -> None:
    """Raise UsageError for what is meant as a directory and is none."""
    if not Path(path).is_dir() and (path.startswith((".", "/", "~")) or path.count("/") > 1):
        raise UsageError(f"{path} is no directory: name the one that holds the model's config.json")


def engine_args(pairs: Iterable[str]) -> dict[str, str]:
    """Take `key=value` flags apart; dashes in a key mean underscores. Raises UsageError."""
    args: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name = key.strip().lstrip("-").replace("-", "_")
        if not equals or not name.isidentifier():
            raise UsageError(f"--engine-arg {pair!a} is not of the form key=value")
        if name in OURS:
            raise UsageError(f"--engine-arg {name} is set by Overbook itself: leave it out")
        args[name] = value
    return args


def environment(settings: VllmSettings, env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what has to be added to the environment before vLLM is imported."""
    wanted = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # So that our plugin knows its own: pdeath.py.
        "OVERBOOK_ENGINE": "1",
        # A forked child would share our sockets, and locks that other threads happened to hold.
        "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
    }
    if settings.on_cpu:
        # No third process, and one thread: OpenMP's barriers spin, so two threads on a machine
        # that does anything else are slower than one.
        wanted |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "OMP_NUM_THREADS": "1"}
    return {name: value for name, value in wanted.items() if name not in env}
