"""One item through the engine: request in, result line out."""

import asyncio
import time
from collections.abc import Coroutine, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

from consumers.answer import Answer, completion_body, embedding_body, usage_json, usage_of
from consumers.continuation import choices, continuation, sampling
from consumers.engine import Engine, Rendered
from consumers.feed import Feed, Narrator, is_read
from consumers.identity import Identity
from consumers.meter import ShareClock, Totals
from consumers.retell import go_on
from consumers.work import ItemRun, Work
from fleet.claim import Saved
from fleet.errors import JobFailed, JobRejected
from fleet.job import (
    BadItem,
    EmbeddingBody,
    FleetInfo,
    GenerateBody,
    Item,
    Job,
    Response,
    ResultLine,
    Tier,
    Usage,
    WireError,
)
from fleet.subjects import shown

T = TypeVar("T")
# What the engine serves first when it has to choose; the gaps leave room for shades.
PRIORITY = {Tier.REALTIME: 0, Tier.BACKGROUND: 10, Tier.BATCH: 20}


class Server:
    """Serves items: renders, generates or embeds, and writes the result line of each."""

    def __init__(
        self, *, engine: Engine, me: Identity, clock: ShareClock, totals: Totals, feed: Feed
    ) -> None:
        self._engine = engine
        self._me = me
        self._clock = clock
        self._totals = totals
        self._feed = feed

    async def render(self, work: Work) -> dict[int, Rendered | JobRejected]:
        """Turn all open items of a job into token ids at once, and open its live stream.

        Raises BrokerUnreachable, LeaseLost.
        """
        if work.claim is None:
            work.telling = self._feed.begin(work.job, writer=work.writer)
        else:
            work.telling = await self._feed.take_over(work.job, writer=work.writer)
        wanted = [
            run.item
            for run in work.open
            if isinstance(run.item, Item) and not (run.saved and run.saved.done_ids)
        ]
        rendered = await self._engine.render(wanted)
        return {item.index: ids for item, ids in zip(wanted, rendered, strict=True)}

    async def serve(
        self, work: Work, run: ItemRun, rendered: Rendered | JobRejected | None, queue_s: float
    ) -> None:
        """Serve one item and book its line, an error line for what is the item's own fault.

        What may pass by itself is booked as a failure of this attempt. Raises EngineDead.
        """
        began, run.began = time.monotonic(), True
        run.share.begin(self._clock)
        try:
            response, usage = await self._answer(work, run, rendered)
            error = None
        except JobRejected as fault:
            response, usage = None, None
            error = WireError(code=fault.code, message=str(fault))
        except JobFailed as fault:
            work.fail(run, WireError(code=fault.code, message=str(fault)))
            return
        finally:
            run.share.end()
        work.finish(
            self.line(
                work,
                run,
                response=response,
                usage=usage,
                error=error,
                queue_s=queue_s,
                run_s=time.monotonic() - began,
            )
        )

    def line(
        self,
        work: Work,
        run: ItemRun,
        *,
        response: dict[str, Any] | None = None,
        usage: Usage | None = None,
        error: WireError | None = None,
        queue_s: float = 0.0,
        run_s: float = 0.0,
    ) -> ResultLine:
        """Write the line of an item: exactly one of `response` and `error`."""
        job, item, price = work.job, run.item, self._me.price_usd_per_hour
        engine_s = run.share.used_s
        return ResultLine(
            id=line_id(job, item),
            custom_id=item.custom_id,
            response=None
            if response is None
            else Response(status_code=200, request_id=line_id(job, item), body=response),
            error=error,
            usage=usage_json(usage) if usage else None,
            fleet=FleetInfo(
                job=job.id,
                item=item.index,
                items=len(job.items),
                node=self._me.node,
                capacity_type=self._me.capacity_type,
                zone=self._me.zone,
                attempts=work.attempts,
                interruptions=work.interruptions,
                queue_s=round(queue_s, 3),
                run_s=round(run_s, 3),
                engine_s=round(engine_s, 6),
                cost_usd=None if price is None else round(engine_s * price / 3600, 9),
                resumed=run.resumed,
            ),
        )

    async def _answer(
        self, work: Work, run: ItemRun, rendered: Rendered | JobRejected | None
    ) -> tuple[dict[str, Any], Usage]:
        item = run.item
        if isinstance(item, BadItem):
            raise JobRejected(item.error.message, code=item.error.code)
        if isinstance(rendered, JobRejected):
            raise rendered
        model = item.body.model
        if model is not None and model != work.job.model:
            raise JobRejected(
                f"`model` in the body is {shown(model)}, but the job was sent to {work.job.model}: "
                "make them equal or leave it out",
                code="model_mismatch",
            )
        if isinstance(item.body, EmbeddingBody):
            prompts = await self._prompts(item, rendered)
            return await self._embed(work.job, item, item.body, prompts)
        return await self._generate(work, run, item, item.body, rendered)

    async def _generate(
        self,
        work: Work,
        run: ItemRun,
        item: Item,
        body: GenerateBody,
        rendered: Rendered | None,
    ) -> tuple[dict[str, Any], Usage]:
        facts = self._engine.facts
        kind = continuation(body, exact=facts.exact, keyed=facts.keyed)
        run.keeps = kind != "restarted"
        kept = run.saved if run.saved and run.saved.done_ids and run.keeps else None
        prompts = (kept.prompt_ids,) if kept else await self._prompts(item, rendered)
        limits = [
            _limit(body, len(ids), facts.context_tokens, facts.default_tokens) for ids in prompts
        ]
        done_ids = kept.done_ids if kept else ()
        if work.telling and (said := work.telling.said(item.index, 0)):
            # Readers know more than the checkpoint. Without one the prompt was rendered once more.
            known = Saved(item.index, prompts[0] if run.keeps else (), done_ids)
            run.saved = go_on(known, said, work.job, self._engine, limit=limits[0])
            done_ids = run.saved.done_ids
        if run.saved:
            run.resumed = kind if run.keeps and run.saved.done_ids else "restarted"
        run.answers = [
            Answer(
                engine=self._engine,
                body=body,
                choice=choice,
                prompt_ids=prompts[choice // body.n],
                done_ids=done_ids,
                limit=limits[choice // body.n],
                watched=is_read(work.job, item),
            )
            for choice in range(choices(body))
        ]
        await together(self._write(work, item, body, answer) for answer in run.answers)
        usage = usage_of(run.answers, n=body.n)
        response = completion_body(
            body,
            run.answers,
            engine=self._engine,
            request_id=line_id(work.job, item),
            created=int(time.time()),
            usage=usage,
        )
        return response, usage

    async def _write(self, work: Work, item: Item, body: GenerateBody, answer: Answer) -> None:
        job, telling = work.job, work.telling
        told = Narrator(telling, item, answer) if telling and is_read(job, item) else None
        if answer.finish is None:
            name = f"{job.tenant}/{job.id}/{item.index}/{answer.choice}"
            params = sampling(
                body,
                limit=answer.limit,
                done=len(answer.ids),
                choice=answer.choice,
                name=name if self._engine.facts.keyed else None,
            )
            steps = self._engine.generate(
                (*answer.prompt_ids, *answer.ids),
                params,
                request_id=name,
                priority=PRIORITY[job.tier],
                salt=job.tenant,
            )
            async with aclosing(steps):
                async for step in steps:
                    answer.take(step)
                    self._totals.tokens_generated += len(step.token_ids)
                    if told:
                        await told.tell()
                    if answer.finish:
                        break
        if told:
            await told.tell(final=True)

    async def _embed(
        self, job: Job, item: Item, body: EmbeddingBody, prompts: tuple[tuple[int, ...], ...]
    ) -> tuple[dict[str, Any], Usage]:
        name, priority = f"{job.tenant}/{job.id}/{item.index}", PRIORITY[job.tier]
        vectors = await together(
            self._engine.embed(ids, request_id=f"{name}/{n}", priority=priority, salt=job.tenant)
            for n, ids in enumerate(prompts)
        )
        usage = Usage(prompt_tokens=sum(map(len, prompts)), completion_tokens=0)
        response = embedding_body(
            vectors,
            model=self._engine.facts.model,
            encoding=body.encoding_format,
            prompt_tokens=usage.prompt_tokens,
        )
        return response, usage

    async def _prompts(self, item: Item, rendered: Rendered | None) -> tuple[tuple[int, ...], ...]:
        """Return an item's prompts.

        It was not rendered if it has saved tokens, and yet a consumer of another version may have
        saved what this one does not go on from.
        """
        found = (await self._engine.render([item]))[0] if rendered is None else rendered
        if isinstance(found, JobRejected):
            raise found
        return found.prompts


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once; what one of them raises ends the others and leaves in no group."""
    each = list(work)
    if len(each) == 1:  # nearly always, and a task costs more than all else here
        return [await each[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in each]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


def line_id(job: Job, item: Item | BadItem) -> str:
    """Name a result line, the same for ever."""
    return f"{job.id}-{item.index}"


def _limit(body: GenerateBody, prompt: int, context: int, default: int | None) -> int:
    room = context - prompt
    wanted = body.limit if body.limit is not None else default
    return room if wanted is None else min(room, wanted)
