"""What single jobs cost: a batch's cost, shared out by the engine time of its result lines."""

from collections.abc import Mapping, Sequence

import msgspec

from fleet.cost import NOBODY, Row, batch_name, row
from fleet.job import ResultLine


class JobWork(msgspec.Struct):
    """What the result lines of one job say of the work behind it.

    weight: engine time at its nodes' rates.
    """

    weight: float = 0.0
    items: int = 0
    output_tokens: int = 0


class JobWorks:
    """Collects result lines.

    rates: by node, what a second of it cost. A node whose rate is not known counts as the mean of
    the others, for what it did is shared out, too.
    """

    def __init__(self, rates: Mapping[str, float]) -> None:
        self._rates = rates
        self._mean = sum(rates.values()) / len(rates) if rates else 1.0
        self._seen: set[tuple[str, str | None, str, int]] = set()
        self.by_batch: dict[str, dict[str, JobWork]] = {}

    def take(self, tenant: str, batch: str | None, job: str, lines: Sequence[ResultLine]) -> None:
        """Take lines; of an item the first counts."""
        if not lines:
            return
        jobs = self.by_batch.setdefault(batch_name(tenant, batch), {})
        work = jobs.setdefault(job, JobWork())
        for line in lines:
            key = (tenant, batch, job, line.fleet.item)
            if key in self._seen:
                continue
            self._seen.add(key)
            rate = self._rates.get(line.fleet.node, self._mean)
            work.weight += max(0.0, line.fleet.engine_s) * rate
            work.items += 1
            work.output_tokens += (line.usage or {}).get("completion_tokens", 0)


def job_rows(batches: Sequence[Row], works: JobWorks) -> list[Row]:
    """Share each batch's row out to its jobs, so that these sum to it.

    A batch of which no line is kept any more stays one row.
    """
    return [job for batch in batches for job in _shared(batch, works.by_batch.get(batch.name, {}))]


def _shared(batch: Row, jobs: Mapping[str, JobWork]) -> list[Row]:
    weights = {job: work.weight for job, work in jobs.items()}
    if not any(weights.values()):
        weights = {job: float(work.items) for job, work in jobs.items()}
    total = sum(weights.values())
    if not total:
        name = batch.name if batch.name == NOBODY else f"{batch.name}/{NOBODY}"
        return [msgspec.structs.replace(batch, name=name)]
    return [
        _row(batch, job, jobs[job], share=weight / total)
        for job, weight in sorted(weights.items(), key=lambda one: (-one[1], one[0]))
    ]


def _row(batch: Row, job: str, work: JobWork, *, share: float) -> Row:
    return row(
        f"{batch.name}/{job}",
        hours=batch.hours * share,
        usd=batch.usd * share,
        direct_usd=batch.direct_usd * share,
        items=work.items,
        output_tokens=work.output_tokens,
        priced_tokens=work.output_tokens,
        on_demand_usd=None if batch.on_demand_usd is None else batch.on_demand_usd * share,
    )
