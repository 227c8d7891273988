"""The door to vLLM: AsyncLLM behind the Engine protocol. Importing this module imports no vLLM.

vLLM computes in a child process, the core. It is started from a thread of its own, which lives as
long as the engine: the kernel ends the core together with the thread that started it.
"""

import asyncio
import copy
import dataclasses
import itertools
import math
import multiprocessing
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

from consumers.children import kill, kill_until_done, new_children
from consumers.engine import Rendered, Sampling, Step
from consumers.engine_settings import VllmSettings, check_model_path, environment
from consumers.hidden import hidden
from consumers.setup.libnuma import load_libnuma
from consumers.setup.models import cache_dir
from consumers.vllm_facts import end_token_ids, facts_of, fail_all, reason, refused, step_of
from consumers.vllm_params import llm_args, prompt_args, sampling_args, structured_args
from consumers.vllm_schema import check_schema
from consumers.vllm_text import Renderer
from fleet.broker.beside import Beside
from fleet.errors import EngineDead, JobRejected, UsageError
from fleet.job import Item

BEAT_S = 1.0
# How long one question to the core may stay open before the next one is asked.
ANSWER_S = 5.0
# vLLM asks its core to end, waits so long, then kills it; whatever is left then we kill.
CORE_END_S = 2.0
CLOSE_S = 6.0


class VllmEngine:
    """vLLM with one model. Made by `start`."""

    def __init__(
        self,
        llm: Any,
        *,
        settings: VllmSettings,
        version: str,
        thread: ThreadPoolExecutor,
        children: Sequence[BaseProcess],
    ) -> None:
        from jinja2 import TemplateError

        self._llm = llm
        self._thread = thread
        self._children = children
        self._hang_s = settings.hang_s
        self._numbers = itertools.count()
        self._tokenizer = llm.get_tokenizer()
        self._alive_at = time.monotonic()
        self.end_token_ids = end_token_ids(llm, self._tokenizer)
        self.facts = facts_of(llm, settings, version)
        self._renderer = Renderer(
            # A tokenizer of its own, since it runs in the thread while this one decodes.
            copy.deepcopy(self._tokenizer),
            context_tokens=self.facts.context_tokens,
            vocabulary=self.facts.vocabulary,
            embeds=self.facts.embeds,
            template_error=TemplateError,
        )

    @property
    def alive_at(self) -> float:
        """When the core last gave tokens or answered; minus infinity once it is dead."""
        gone = any(not child.is_alive() for child in self._children)
        return -math.inf if gone else self._alive_at

    async def render(self, items: Sequence[Item]) -> list[Rendered | JobRejected]:
        """Apply the chat template and tokenize, off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._renderer.render, items)

    async def generate(
        self, prompt_ids: Sequence[int], sampling: Sampling, *, request_id: str, priority: int,
        salt: str = "",
    ) -> AsyncGenerator[Step, None]:  # fmt: skip
        """Yield new tokens as they come; see the protocol."""
        with _translated("invalid_schema" if sampling.json_schema else "engine_refused"):
            outputs = self._llm.generate(
                prompt_args(prompt_ids, salt),
                _params(sampling, keyed=self.facts.keyed),
                self._unique(request_id),
                priority=priority,
            )
            async with aclosing(outputs):
                async for output in outputs:
                    self._alive_at = time.monotonic()
                    step = step_of(output.outputs[0], sampling.logprobs)
                    if step.token_ids or step.finish:
                        yield step

    async def embed(
        self, prompt_ids: Sequence[int], *, request_id: str, priority: int, salt: str = ""
    ) -> list[float]:
        """Return the embedding of one text."""
        from vllm import PoolingParams

        with _translated():
            outputs = self._llm.encode(
                prompt_args(prompt_ids, salt),
                PoolingParams(task="embed"),
                self._unique(request_id),
                priority=priority,
            )
            async with aclosing(outputs):
                async for output in outputs:
                    self._alive_at = time.monotonic()
                    if output.finished:
                        return [float(x) for x in output.outputs.data]
        raise EngineDead("the engine ended an embedding without an answer")

    def decode(self, token_ids: Sequence[int]) -> str:
        """Turn ids into text without special tokens."""
        text: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def token_text(self, token_id: int) -> str:
        """Show one token, special ones too."""
        text: str = self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False)
        return text

    async def watch(self) -> None:
        """Ask the core for a sign of life until it is gone or hangs, and then end what is left.

        The question goes through the loop that computes, so a core that is stopped or stuck does
        not answer, whether or not it has requests. Whoever waits for tokens gets EngineDead.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        with suppress(EngineDead):
            while time.monotonic() - self._alive_at <= self._hang_s:
                with _translated(), suppress(TimeoutError):
                    async with asyncio.timeout(ANSWER_S):
                        await self._llm.is_paused()
                        self._alive_at = time.monotonic()
                await asyncio.sleep(BEAT_S)
        self._alive_at = -math.inf
        kill(self._children)
        fail_all(self._llm, EngineDeadError())

    async def close(self) -> None:
        """End the core; kill what of it is left after CLOSE_S seconds."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        if llm.output_handler:
            # It would report the core's end, which we want, as a failure.
            llm.output_handler.cancel()
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await loop.run_in_executor(self._thread, llm.shutdown, CORE_END_S)
                # Its sockets close in a callback that is due now; their context it leaves open.
                await asyncio.sleep(0)
                await loop.run_in_executor(self._thread, llm.engine_core.resources.ctx.term)
        kill(self._children)
        self._thread.shutdown(wait=False)

    def _unique(self, request_id: str) -> str:
        # vLLM takes two live requests of one name without a word.
        return f"{request_id}~{next(self._numbers)}"


@asynccontextmanager
async def start(settings: VllmSettings) -> AsyncIterator[VllmEngine]:
    """Load the model and run the engine for as long as the body.

    Raises UsageError for settings or an installation that cannot work, and EngineDead when the
    core does not come up. One that dies while the body runs shows no life any more.
    """
    os.environ.update(environment(settings))
    before = multiprocessing.active_children()
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="vllm")
    loop = asyncio.get_running_loop()
    try:
        vllm = await loop.run_in_executor(thread, _import_vllm, settings)
        with hidden(os.environ):
            build = thread.submit(_build, vllm, settings, thread)
            try:
                engine = await asyncio.wrap_future(build)
            except asyncio.CancelledError:
                with suppress(TimeoutError):
                    async with asyncio.timeout(CLOSE_S):
                        await kill_until_done(build, before)
                raise
        try:
            async with Beside(engine.watch()):
                yield engine
        finally:
            await engine.close()
    finally:
        kill(new_children(before))
        thread.shutdown(wait=False)


def _build(vllm: Any, settings: VllmSettings, thread: ThreadPoolExecutor) -> VllmEngine:
    """Load the model and start the core. Takes seconds to minutes."""
    check_model_path(settings.model_path)
    known = {field.name: field.type for field in dataclasses.fields(vllm.AsyncEngineArgs)}
    before = multiprocessing.active_children()
    try:
        args = vllm.AsyncEngineArgs(**llm_args(settings, known))
        config = args.create_engine_config()
    except (ValueError, OSError, TypeError, LookupError, vllm.exceptions.VLLMError) as error:
        raise UsageError(
            f"vLLM cannot serve {settings.model_path} with these settings: {reason(error)}"
        ) from error
    try:
        llm = vllm.AsyncLLMEngine.from_vllm_config(config, disable_log_stats=args.disable_log_stats)
    except (RuntimeError, ValueError, OSError, vllm.exceptions.VLLMError) as error:
        raise EngineDead(
            f"the engine did not come up with {settings.model_path}: {reason(error)}. Its output "
            "above says why; if memory is short, lower max_model_len, max_num_seqs or "
            "kv_cache_memory_bytes"
        ) from error
    return VllmEngine(
        llm,
        settings=settings,
        version=vllm.__version__,
        thread=thread,
        children=new_children(before),
    )


def _import_vllm(settings: VllmSettings) -> Any:
    if settings.on_cpu:
        load_libnuma(cache_dir(os.environ))
    try:
        import vllm
        import vllm.exceptions
        from vllm.platforms import current_platform

        # vLLM keeps errors of its lazy imports, and with them every frame that asked; nobody who
        # holds an engine may be among those, or the engine is kept as well.
        _ = vllm.AsyncEngineArgs, vllm.AsyncLLMEngine
    except (ImportError, OSError, RuntimeError) as error:
        raise UsageError(
            f"vLLM does not load: {reason(error)}; `fleet setup` installs what it needs"
        ) from error
    if current_platform.is_cpu() != settings.on_cpu:
        built = "a CPU" if current_platform.is_cpu() else "a GPU"
        raise UsageError(
            f"the vLLM that is installed is built for {built}: run `fleet setup` on this machine "
            "for the right one, or choose the device it was built for"
        )
    return vllm


def _params(sampling: Sampling, *, keyed: bool) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    structured = None
    if sampling.json_schema is not None:
        check_schema(sampling.json_schema)
        structured = StructuredOutputsParams(**structured_args(sampling.json_schema))
    return SamplingParams(
        **sampling_args(sampling, keyed=keyed),
        structured_outputs=structured,
        output_kind=RequestOutputKind.DELTA,
    )


@contextmanager
def _translated(code: str = "engine_refused") -> Iterator[None]:
    """Turn vLLM's errors into ours; `code` is for those that are the request's fault."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    try:
        yield
    except EngineDeadError as error:
        raise EngineDead(
            "the engine core is gone: start the consumer again; its output above says why"
        ) from error
    except EngineGenerateError as error:
        # vLLM wraps what it did not foresee. A bad value is the request's fault all the same.
        cause = error.__cause__ or error
        if isinstance(cause, (ValueError, TypeError)):
            raise refused(cause, code=code) from error
        raise EngineDead(f"the engine failed: {reason(cause)}; start the consumer again") from error
    except (VLLMClientError, ValueError, TypeError) as error:
        raise refused(error, code=code) from error
