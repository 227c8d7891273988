"""One engine, two ways to start it: as a consumer of ours, and as vLLM's own batch command."""

import os
from collections.abc import Sequence
from pathlib import Path

from consumers.setup.models import cache_dir, ensure_model

MODEL = "smollm2"
CONTEXT_TOKENS = 1024
KV_CACHE_BYTES = 512 * 1024 * 1024
SLOTS = 32
BLOCK_TOKENS = 32
DTYPE = "float32"
# What the consumer sets by itself on a CPU, so that both sides have it.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",
}


def model_path() -> Path:
    """Return the model's folder, made first if it is missing."""
    return ensure_model(MODEL, cache_dir(os.environ))


def consumer_flags() -> Sequence[str]:
    """Give the arguments of `python -m consumers`."""
    return (
        "--engine", "vllm", "--model-path", str(model_path()), "--slots", str(SLOTS),
        "--dtype", DTYPE, "--max-model-len", str(CONTEXT_TOKENS),
        "--kv-cache", str(KV_CACHE_BYTES), "--engine-arg", f"block_size={BLOCK_TOKENS}",
        "--engine-arg", "enforce_eager=true",
    )  # fmt: skip


def batch_flags() -> Sequence[str]:
    """Give the arguments of `python -m vllm.entrypoints.openai.run_batch`."""
    return (
        "--model", str(model_path()), "--served-model-name", MODEL, "--enforce-eager",
        "--max-num-seqs", str(SLOTS), "--dtype", DTYPE, "--max-model-len", str(CONTEXT_TOKENS),
        "--kv-cache-memory-bytes", str(KV_CACHE_BYTES), "--block-size", str(BLOCK_TOKENS),
        "--disable-log-stats",
    )  # fmt: skip
