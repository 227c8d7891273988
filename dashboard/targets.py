"""What an action at a row would be done to. Pure."""

from typing import TypeAlias

from dashboard.acting import OnBatch, OnJob, OnNode, OnQueue, Target
from dashboard.event_rows import EventRow
from dashboard.job_rows import BatchRow, JobRow
from dashboard.model import NodeRow
from dashboard.queue_rows import QueueRow
from dashboard.views.cost import CostRow

AnyRow: TypeAlias = NodeRow | QueueRow | JobRow | BatchRow | CostRow | EventRow


def target_of(row: AnyRow | None) -> Target | None:
    """Name what stands in a row; None where nothing can be done to it."""
    match row:
        case NodeRow():
            return OnNode(node=row.node)
        case QueueRow():
            return OnQueue(tier=row.tier, model=row.model)
        case JobRow():
            return OnJob(tenant=row.tenant, job=row.job, batch=row.batch)
        case BatchRow():
            return OnBatch(tenant=row.tenant, batch=row.batch)
        case EventRow(job=(tenant, job)):
            return OnJob(tenant=tenant, job=job)
        case _:
            return None
