"""What node pools and scalers have to keep to: traps that others fell into."""

from typing import Final
from urllib.parse import urlsplit

from fleet.job import Tier
from fleet.pool.kubernetes import PATH, Targets
from fleet.subjects import durable, job_stream
from tests.deploy.cluster import Manifest, named, of_kind, pods, wants_gpu
from tests.deploy.pod_rules import Complaints, Rule, posture

GPU: Final = "nvidia.com/gpu"
NODE_POOL: Final = "karpenter.sh/nodepool"


def plugin_gets_there(manifests: list[Manifest]) -> Complaints:
    """NVIDIA's device plugin tolerates one taint and looks for one label."""
    for one in of_kind(manifests, "NodePool"):
        template = one["spec"]["template"]
        if [taint["key"] for taint in template["spec"].get("taints", ())] != [GPU]:
            yield f"NodePool {_name(one)}: the device plugin tolerates {GPU} and no other taint"
        if template["metadata"]["labels"].get(f"{GPU}.present") != "true":
            yield f"NodePool {_name(one)}: without {GPU}.present=true there is no device plugin"
    for name, _, template in pods(manifests):
        tolerated = [one["key"] for one in template["spec"].get("tolerations", ())]
        if wants_gpu(template) and tolerated != [GPU]:
            yield f"{name}: tolerates {tolerated} and not {GPU} alone"


def zones_to_choose_from(manifests: list[Manifest]) -> Complaints:
    """Three zones or more, and no least number of them: a pod's spread names one zone."""
    for one in of_kind(manifests, "NodePool"):
        zones = _requirement(one, "topology.kubernetes.io/zone")
        if len(set(zones.get("values", ()))) < 3:
            yield f"NodePool {_name(one)}: has fewer than three zones"
        if "minValues" in zones:
            yield f"NodePool {_name(one)}: minValues on zones fails with a spread over zones"


def left_in_peace(manifests: list[Manifest]) -> Complaints:
    """A node ends when it is empty or reclaimed, not for its age, a better price or a new image."""
    for one in of_kind(manifests, "NodePool"):
        if one["spec"]["disruption"]["consolidationPolicy"] != "WhenEmpty":
            yield f"NodePool {_name(one)}: moves pods that work for a better price"
        if one["spec"]["template"]["spec"].get("expireAfter") != "Never":
            yield f"NodePool {_name(one)}: ends nodes for their age"
        if _budget(one, "Drifted") not in {"0", "1"}:
            yield f"NodePool {_name(one)}: a new image takes several nodes that work"
        if _budget(one, "Empty") != "100%":
            yield f"NodePool {_name(one)}: empty nodes are paid for until their turn comes"
        if GPU not in one["spec"].get("limits", {}):
            yield f"NodePool {_name(one)}: has no limit of GPUs"


def on_their_own_ground(manifests: list[Manifest]) -> Complaints:
    """Real time never runs on what the market takes back; spot consumers run on nothing else."""
    pools = {_name(one): one for one in of_kind(manifests, "NodePool")}
    for name, _, template in pods(manifests):
        if not pools or not wants_gpu(template):
            continue
        pool = pools.get(template["spec"].get("nodeSelector", {}).get(NODE_POOL, ""))
        if pool is None:
            yield f"{name}: may run on any node"
            continue
        kinds = set(_requirement(pool, "karpenter.sh/capacity-type").get("values", ()))
        if kinds != ({"spot"} if posture(template) == "spot" else {"reserved", "on-demand"}):
            yield f"{name}: says {posture(template)} and runs on {', '.join(sorted(kinds))}"
        if (
            _seconds(pool["spec"]["template"]["spec"]["terminationGracePeriod"])
            < (template["spec"]["terminationGracePeriodSeconds"])
        ):
            yield f"{name}: its node is ended before its grace period is"


def hears_notices(manifests: list[Manifest]) -> Complaints:
    """A pod reaches the metadata service, with a token."""
    for one in of_kind(manifests, "EC2NodeClass"):
        options = one["spec"].get("metadataOptions", {})
        if options.get("httpPutResponseHopLimit") != 2:
            yield f"EC2NodeClass {_name(one)}: a hop limit of 1, its default, answers no pod"
        if options.get("httpTokens") != "required":
            yield f"EC2NodeClass {_name(one)}: metadata without a token"


def scaled_by_one_hand(manifests: list[Manifest]) -> Complaints:
    """What is scaled is there, and is not set back to a number of its own."""
    for one in of_kind(manifests, "ScaledObject"):
        target = one["spec"]["scaleTargetRef"]["name"]
        found = [each for each in of_kind(manifests, "Deployment") if _name(each) == target]
        if not found:
            yield f"ScaledObject {_name(one)}: there is no Deployment {target}"
        if any("replicas" in each["spec"] for each in found):
            yield f"Deployment {target}: its number is KEDA's, and each apply would set it back"
        if "fallback" in one["spec"]:
            # KEDA takes an active fallback for work, and wakes a pod where there is none.
            yield f"ScaledObject {_name(one)}: does not stay as it is when nobody knows the number"
        behavior = one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        if one["spec"].get("cooldownPeriod", 300) < (
            behavior["scaleDown"]["stabilizationWindowSeconds"]
            if one["spec"]["minReplicaCount"] == 0
            else 0
        ):
            yield f"ScaledObject {_name(one)}: goes to none sooner than it goes down"
        if one["spec"].get("idleReplicaCount") is not None:
            yield f"ScaledObject {_name(one)}: goes to its idle number while jobs run"


def asks_who_knows(manifests: list[Manifest]) -> Complaints:
    """Triggers name streams, durables, services and fields that are there."""
    fields = Targets.__struct_fields__
    for one in of_kind(manifests, "ScaledObject"):
        for trigger in one["spec"]["triggers"]:
            told, where = trigger["metadata"], f"ScaledObject {_name(one)}"
            model = _model(manifests)
            if trigger["type"] == "nats-jetstream":
                if not told["natsServerMonitoringEndpoint"].startswith("nats-headless."):
                    yield f"{where}: each server is asked by its own name: the headless service"
                if told["stream"] != job_stream(Tier.REALTIME):
                    yield f"{where}: there is no stream {told['stream']} of real time"
                if told["consumer"] != durable(Tier.REALTIME, model):
                    yield f"{where}: {told['consumer']} is no durable of {model}"
            else:
                url = urlsplit(told["url"])
                name = (url.hostname or "").partition(".")[0]
                ports = {
                    port["port"]
                    for service in of_kind(manifests, "Service")
                    if _name(service) == name
                    for port in service["spec"]["ports"]
                }
                if url.port not in ports:
                    yield f"{where}: {url.netloc} is no Service with such a port"
                if url.path != f"{PATH}{model}" or told["valueLocation"] not in fields:
                    yield f"{where}: the manager has no {told['valueLocation']} at {url.path}"
                if told["targetValue"] != "1":
                    yield f"{where}: the number would not be the number of pods"


def within_limits(manifests: list[Manifest]) -> Complaints:
    """The GPUs of a node pool are enough for all that may want them, and for no more.

    A rollout that starts a new pod before an old one goes wants one beyond the most.
    """
    wanted: dict[str, int] = {}
    for one in of_kind(manifests, "ScaledObject"):
        target = named(manifests, "Deployment", one["spec"]["scaleTargetRef"]["name"])
        pool = target["spec"]["template"]["spec"].get("nodeSelector", {}).get(NODE_POOL, "")
        surge = target["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        wanted[pool] = wanted.get(pool, 0) + one["spec"]["maxReplicaCount"] + surge
    for one in of_kind(manifests, "NodePool"):
        if int(one["spec"]["limits"].get(GPU, 0)) != wanted.get(_name(one)):
            yield f"NodePool {_name(one)}: its pods may be {wanted.get(_name(one))}"


def _name(one: Manifest) -> str:
    return str(one["metadata"]["name"])


def _model(manifests: list[Manifest]) -> str:
    pool = next(
        one for one in of_kind(manifests, "ConfigMap") if one["metadata"]["name"].startswith("pool")
    )
    return str(pool["data"]["MODEL"])


def _requirement(pool: Manifest, key: str) -> Manifest:
    found = pool["spec"]["template"]["spec"]["requirements"]
    return next((one for one in found if one["key"] == key), {})


def _budget(pool: Manifest, reason: str) -> str | None:
    """Return how many nodes may go at a time for a reason, of the one budget that names it."""
    budgets = pool["spec"]["disruption"].get("budgets", ())
    found = [one["nodes"] for one in budgets if one.get("reasons") == [reason]]
    return found[0] if len(found) == 1 else None


def _seconds(text: str) -> int:
    return int(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


RULES: Final[tuple[Rule, ...]] = (
    plugin_gets_there, zones_to_choose_from, left_in_peace, on_their_own_ground, hears_notices,
    scaled_by_one_hand, asks_who_knows, within_limits,
)  # fmt: skip
