"""The table: every call, and all who may make it. Everybody else has to be refused."""

from collections.abc import Sequence
from typing import Final

from tests.integration.tenants.calls import (
    ALL_TENANTS,
    FLEET,
    MANAGER,
    NONSENSE,
    OPERATOR,
    SWEEP,
    SYSTEM,
    WATCHERS,
    WORKERS,
    Call,
    answered,
    ask,
    hear,
    pull,
    read,
    read_all,
    send,
    store,
)
from tests.tenants import EVERYBODY

# A purge takes any body; this one finds nothing.
_NOBODYS: Final = b'{"filter": "of.nobody"}'
_INFO: Final = (OPERATOR, MANAGER, SWEEP, *WATCHERS)
_SETTLING: Final = (OPERATOR, SWEEP, *WORKERS)

_JOBS: Final = (
    Call("publish a batch job, the tenant left out", store("jobs.batch.m"),
         ("acme", "beta", "narrow")),
    Call("publish a batch job of another model, the tenant left out", store("jobs.batch.other"),
         ("acme", "beta")),
    Call("publish a real-time job, the tenant left out", store("jobs.realtime.m"),
         ("acme", "beta")),
    Call("publish a job of acme by its long name", store("jobs.batch.m.acme"),
         (OPERATOR, SWEEP, "acme")),
    Call("publish a job of beta by its long name", store("jobs.background.m.beta"),
         (OPERATOR, SWEEP, "beta")),
    Call("hear jobs as they are published", hear("jobs.batch.*.*", "jobs.batch.m.acme"),
         (OPERATOR,)),
    Call("read acme's newest job", read("JOBS_BATCH", "jobs.batch.m.acme"),
         (OPERATOR, MANAGER, SWEEP)),
    Call("read acme's jobs", read_all("JOBS_BATCH", "jobs.batch.*.acme"),
         (OPERATOR, MANAGER, SWEEP, "acme")),
    Call("read everybody's jobs", read_all("JOBS_BATCH", "jobs.batch.*.*"),
         (OPERATOR, MANAGER, SWEEP)),
    Call("pull a batch job", pull("JOBS_BATCH", "batch_m"),
         (OPERATOR, *WORKERS)),
    Call("pull a background job", pull("JOBS_BACKGROUND", "background_m"),
         (OPERATOR, *WORKERS)),
    Call("pull a real-time job", pull("JOBS_REALTIME", "realtime_m"),
         (OPERATOR, "@on-demand")),
    Call("settle a batch job", send("$JS.ACK.JOBS_BATCH.batch_m.1.1.1.1.1", b"+NAK"),
         (OPERATOR, *WORKERS)),
    Call("settle a real-time job", send("$JS.ACK.JOBS_REALTIME.realtime_m.1.1.1.1.1", b"+NAK"),
         (OPERATOR, "@on-demand")),
    Call("delete a job", ask("STREAM.MSG.DELETE.JOBS_BATCH", NONSENSE), (OPERATOR, SWEEP)),
)  # fmt: skip
_RESULTS: Final = (
    Call("write a result of acme", store("results.acme._.made"), _SETTLING),
    Call("read acme's newest result", read("RESULTS", "results.acme._.job"),
         (*_SETTLING, "acme")),
    Call("read acme's results", read_all("RESULTS", "results.acme.>"), (*_SETTLING, "acme")),
    Call("read beta's newest result", read("RESULTS", "results.beta._.job"),
         (*_SETTLING, "beta")),
    Call("read beta's results", read_all("RESULTS", "results.beta._.*"), (*_SETTLING, "beta")),
    Call("read everybody's results", read_all("RESULTS", "results.>"), _SETTLING),
    Call("hear acme's results", hear("results.acme.>", "results.acme._.said"),
         (OPERATOR, "acme")),
    Call("hear everybody's results", hear("results.>", "results.acme._.said"), (OPERATOR,)),
    Call("tell tokens of acme's job", store("tell.acme._.made"), (OPERATOR, *WORKERS)),
    Call("read acme's tokens", read_all("TOKENS", "tokens.acme.>"),
         (OPERATOR, SWEEP, *WORKERS, "acme")),
    Call("hear acme's tokens", hear("tokens.acme.>", "tell.acme._.said"), (OPERATOR, "acme")),
    Call("write a dead letter", store("dead.batch.m.acme"), _SETTLING),
    Call("read dead letters", read_all("DEAD", "dead.>"), (OPERATOR, SWEEP)),
)  # fmt: skip
_STATE: Final = (
    Call("write a claim", store("$KV.claims.acme.made"), _SETTLING),
    Call("read acme's claim", read("KV_claims", "$KV.claims.acme.job"),
         (*_SETTLING, "acme")),
    Call("read everybody's claims", read_all("KV_claims", "$KV.claims.>"), _SETTLING),
    Call("say that a node lives", store("$KV.nodes.made"), (OPERATOR, *WORKERS)),
    Call("read the nodes", read_all("KV_nodes", "$KV.nodes.>"), (*FLEET, *WATCHERS)),
    Call("hear the nodes", hear("$KV.nodes.>", "$KV.nodes.said"),
         (OPERATOR, *WATCHERS)),
    Call("throw a switch", store("$KV.policy.paused.m"), (OPERATOR, MANAGER)),
    Call("read the switches", read_all("KV_policy", "$KV.policy.>"), (*FLEET, *WATCHERS)),
    Call("hear the switches", hear("$KV.policy.>", "$KV.policy.said"),
         (OPERATOR, *WATCHERS)),
    Call("write a batch of acme", store("$KV.batches.acme.made"), (OPERATOR, SWEEP, "acme")),
    Call("write a batch of beta", store("$KV.batches.beta.made"), (OPERATOR, SWEEP, "beta")),
    Call("read acme's batches", read_all("KV_batches", "$KV.batches.acme.>"),
         (*FLEET, *WATCHERS, "acme")),
    Call("read everybody's batches", read_all("KV_batches", "$KV.batches.>"),
         (*FLEET, *WATCHERS)),
    Call("hear of batches", hear("$KV.batches.>", "$KV.batches.acme.said"),
         (OPERATOR, MANAGER, *WORKERS, *WATCHERS)),
    Call("cancel a job of acme", store("$KV.cancels.acme.made"), (OPERATOR, "acme")),
    Call("cancel a job of beta", store("$KV.cancels.beta.made"), (OPERATOR, "beta")),
    Call("say what happened", store("events.node_started.made"),
         (OPERATOR, MANAGER, SWEEP, *WORKERS)),
    Call("read what happened", read_all("EVENTS", "events.>"),
         (OPERATOR, MANAGER, *WATCHERS)),
    Call("hear what happens", hear("events.>", "events.node_started.said"),
         (OPERATOR, MANAGER, *WATCHERS)),
    Call("hear who is cancelled", hear("$KV.cancels.>", "$KV.cancels.acme.said"),
         (OPERATOR, *WORKERS)),
    Call("store a part of a payload", store("$O.payloads.C.made"), _SETTLING),
    Call("remove a payload's parts", ask("STREAM.PURGE.OBJ_payloads", _NOBODYS), _SETTLING),
    Call("read a part of a payload", read_all("OBJ_payloads", "$O.payloads.C.>"),
         (OPERATOR, SWEEP, *WORKERS)),
    Call("tell a node to drain", send("control.node", b"{}"), (OPERATOR, MANAGER)),
    Call("take orders to a node", hear("control.*", "control.node"),
         (OPERATOR, MANAGER, *WORKERS)),
)  # fmt: skip
_BROKER: Final = (
    Call("ask for the account", ask("INFO"), _INFO),
    Call("name the streams", ask("STREAM.NAMES"), _INFO),
    Call("list the streams", ask("STREAM.LIST"), _INFO),
    Call("look at a queue", ask("STREAM.INFO.JOBS_BATCH"), (*_INFO, *WORKERS)),
    Call("look at the real-time queue", ask("STREAM.INFO.JOBS_REALTIME"),
         (*_INFO, "@on-demand")),
    Call("name the models that are served", ask("CONSUMER.NAMES.JOBS_BATCH"),
         (*_INFO, *ALL_TENANTS)),
    Call("list durables", ask("CONSUMER.LIST.JOBS_BATCH"), _INFO),
    Call("look at a durable", ask("CONSUMER.INFO.JOBS_BATCH.batch_m"), (*_INFO, *WORKERS)),
    Call("fetch any message by its number", ask("STREAM.MSG.GET.RESULTS", NONSENSE), (OPERATOR,)),
    Call("create a stream", ask("STREAM.CREATE.MADE", NONSENSE), (OPERATOR,)),
    Call("change a stream", ask("STREAM.UPDATE.JOBS_BATCH", NONSENSE), (OPERATOR,)),
    Call("purge a stream", ask("STREAM.PURGE.JOBS_BATCH", _NOBODYS), (OPERATOR,)),
    Call("delete a stream", ask("STREAM.DELETE.JOBS_BATCH", NONSENSE), (OPERATOR,)),
    Call("copy a stream away", ask("STREAM.SNAPSHOT.RESULTS", NONSENSE), (OPERATOR,)),
    Call("delete a result", ask("STREAM.MSG.DELETE.RESULTS", NONSENSE), (OPERATOR,)),
    Call("create a durable", ask("CONSUMER.CREATE.RESULTS.made", NONSENSE), (OPERATOR,)),
    Call("change a durable", ask("CONSUMER.CREATE.JOBS_BATCH.batch_m", NONSENSE), (OPERATOR,)),
    Call("delete a durable", ask("CONSUMER.DELETE.JOBS_BATCH.batch_m", NONSENSE), (OPERATOR,)),
    Call("pause a durable", ask("CONSUMER.PAUSE.JOBS_BATCH.batch_m", NONSENSE), (OPERATOR,)),
    Call("hear what others ask of JetStream", hear("$JS.API.>", "$JS.API.INFO"), (OPERATOR,)),
    Call("hear the answers to consumers", hear("_INBOX_spot.>", "_INBOX_spot.x"),
         (OPERATOR, "@spot")),
)  # fmt: skip
_SERVERS: Final = (
    Call("ask the servers how they are", answered("$SYS.REQ.SERVER.PING"), (SYSTEM,)),
)
TABLE: Final[Sequence[Call]] = (*_JOBS, *_RESULTS, *_STATE, *_BROKER, *_SERVERS)


def markdown() -> str:
    """Write the table for people, with its sums."""
    head = ["call", *(name.lstrip("@") for name in EVERYBODY)]
    rows = [
        [call.what, *("yes" if name in call.may else "" for name in EVERYBODY)] for call in TABLE
    ]
    sums = [sum(name in call.may for call in TABLE) for name in EVERYBODY]
    rows.append([f"allowed, of {len(TABLE)}", *map(str, sums)])
    rows.append(["refused", *(str(len(TABLE) - allowed) for allowed in sums)])
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
