"""What every pod of ours has to keep to. Each rule yields its complaints."""

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, get_args

from fleet.settings import Settings
from fleet.tenancy.grants import inbox_prefix
from fleet.tenancy.register import Role
from tests.deploy.cluster import (
    Manifest,
    containers,
    environment,
    named,
    of_kind,
    pods,
    wants_gpu,
)

Complaints: TypeAlias = Iterator[str]
Rule: TypeAlias = Callable[[list[Manifest]], Complaints]
# A reclaim is told 120 s before; to notice it and to begin the drain takes some of them.
SPOT_GRACE_S: Final = 110
# Of several pods one leads, and it alone is ever ready.
LED: Final = frozenset({"manager"})
# Neighbours and the metadata service; EKS likes to give pods addresses of 100.64/10.
NEVER_OUT: Final = frozenset({
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
})  # fmt: skip
CLUSTER_WIDE: Final = frozenset({"EC2NodeClass", "Namespace", "NodePool", "PriorityClass"})
# Made by whoever installs: `fleet tenant` writes what is in them.
VOLUMES: Final = (
    ("configMap", "ConfigMap", "name"),
    ("secret", "Secret", "secretName"),
    ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
)
SECRETS: Final = frozenset(f"nats-{role}" for role in get_args(Role))


def locked_down(manifests: list[Manifest]) -> Complaints:
    """No root, no rights, no token of the cluster's, nothing of the node's."""
    for name, _, template in pods(manifests):
        spec = template["spec"]
        outer = spec.get("securityContext", {})
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: has a token of the cluster's"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: variables of every Service come in, FLEET_ ones among them"
        if not outer.get("runAsNonRoot") or not outer.get("runAsUser"):
            yield f"{name}: may run as root"
        if outer.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{name}: has no seccomp profile"
        yield from (
            f"{name}: {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)
        )
        if any("hostPath" in volume for volume in spec.get("volumes", ())):
            yield f"{name}: mounts a path of the node"


def confined(manifests: list[Manifest]) -> Complaints:
    """No container writes to its image or gains anything."""
    for name, _, template in pods(manifests):
        for one in containers(template):
            inner = one.get("securityContext", {})
            where = f"{name}/{one['name']}"
            if inner.get("allowPrivilegeEscalation") is not False or inner.get("privileged"):
                yield f"{where}: may gain privileges"
            if not inner.get("readOnlyRootFilesystem"):
                yield f"{where}: may write to its image"
            if inner.get("capabilities", {}).get("drop") != ["ALL"]:
                yield f"{where}: keeps capabilities"


def bounded(manifests: list[Manifest]) -> Complaints:
    """Memory has a limit, images have a version, volumes have a size."""
    for name, _, template in pods(manifests):
        for one in containers(template):
            resources = one.get("resources", {})
            if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get(
                "requests", {}
            ):
                yield f"{name}/{one['name']}: has no limit of memory, or asks for no processor"
            tag = one["image"].rpartition("/")[2].partition(":")[2]
            if tag in {"", "latest"}:
                yield f"{name}/{one['name']}: {one['image']} is another image each day"
        for volume in template["spec"].get("volumes", ()):
            if "emptyDir" in volume and not (volume["emptyDir"] or {}).get("sizeLimit"):
                yield f"{name}: {volume['name']} may fill the node"


def whole(manifests: list[Manifest]) -> Complaints:
    """What is named is there: configuration, secrets, claims, priorities."""
    there = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    there |= {("Secret", name) for name in SECRETS}
    for name, _, template in pods(manifests):
        for wanted in _named_in(template):
            if wanted not in there:
                yield f"{name}: there is no {' '.join(wanted)}"


def probed(manifests: list[Manifest]) -> Complaints:
    """Probes ask ports that are there."""
    for name, _, template in pods(manifests):
        for one in containers(template):
            ports = {port["name"] for port in one.get("ports", ())}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                for how in one.get(probe, {}).keys() & {"httpGet", "tcpSocket"}:
                    if (port := one[probe][how]["port"]) not in ports:
                        yield f"{name}/{one['name']}: {probe} asks port {port}, which is not there"


def _named_in(template: Manifest) -> Iterator[tuple[str, str]]:
    spec = template["spec"]
    if "priorityClassName" in spec:
        yield "PriorityClass", spec["priorityClassName"]
    for volume in spec.get("volumes", ()):
        for key, kind, field in VOLUMES:
            if key in volume:
                yield kind, volume[key][field]
    for one in containers(template):
        for source in one.get("envFrom", ()):
            yield "ConfigMap", source["configMapRef"]["name"]


def known_to_the_broker(manifests: list[Manifest]) -> Complaints:
    """Who logs in as somebody hears answers where that one may, and works as that one may."""
    for name, _, template in pods(manifests):
        for volume in template["spec"].get("volumes", ()):
            secret = volume.get("secret", {}).get("secretName", "")
            if not secret.startswith("nats-"):
                continue
            role, main = secret.removeprefix("nats-"), template["spec"]["containers"][0]
            if environment(manifests, main)["NATS_INBOX_PREFIX"] != inbox_prefix(role):
                yield f"{name}: logs in as {role} and hears answers as another"
            if wants_gpu(template) and posture(template) != role:
                yield f"{name}: works as {posture(template)} and logs in as {role}"


def placed(manifests: list[Manifest]) -> Complaints:
    """What is the cluster's has no namespace, and all else has one."""
    for one in manifests:
        has = "namespace" in one["metadata"]
        if has == (one["kind"] in CLUSTER_WIDE):
            where = f"{one['kind']} {one['metadata']['name']}"
            yield f"{where}: {'has a' if has else 'needs a'} namespace"


def engine_last(manifests: list[Manifest]) -> Complaints:
    """Beside a consumer there is nothing that would get its SIGTERM at the same time.

    The engine is the consumer's own child, so the drain has it until the end. Whatever else a pod
    needs has to outlive the drain: a native sidecar, which ends after the containers.
    """
    for name, _, template in pods(manifests):
        if wants_gpu(template) and len(template["spec"]["containers"]) != 1:
            yield f"{name}: what runs beside the consumer has to be a native sidecar"


def time_to_leave(manifests: list[Manifest]) -> Complaints:
    """The consumer knows how long it has, and Kubernetes gives it that; spot has no more."""
    for name, _, template in pods(manifests):
        if not wants_gpu(template):
            continue
        grace_s = template["spec"].get("terminationGracePeriodSeconds", 30)
        told = environment(manifests, template["spec"]["containers"][0])
        reserve_s = Settings.from_env(settings_in(told)).drain_reserve_s
        drain_s = float(told.get("FLEET_DRAIN_S", "inf"))
        if drain_s + reserve_s >= grace_s:
            yield f"{name}: drains for {drain_s:g} s and is killed after {grace_s} s"
        if posture(template) == "spot" and grace_s > SPOT_GRACE_S:
            yield f"{name}: a reclaim leaves less than {grace_s} s"


def disrupted_with_care(manifests: list[Manifest]) -> Complaints:
    """Whatever has several pods has a budget that neither blocks nor protects the sick."""
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for name, workload, template in pods(manifests):
        if workload["kind"] != "Deployment" or workload["spec"].get("replicas", 2) < 2:
            continue
        labels = template["metadata"]["labels"].items()
        if template["metadata"]["labels"]["app.kubernetes.io/name"] in LED:
            continue
        mine = [one for one in budgets if one["spec"]["selector"]["matchLabels"].items() <= labels]
        if len(mine) != 1:
            yield f"{name}: has {len(mine)} budgets"
        for one in mine:
            if one["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
                yield f"{name}: a sick pod keeps a node from being drained"
            if one["spec"].get("maxUnavailable") in {0, "0%", None}:
                yield f"{name}: no node under it can ever be drained"


def led(manifests: list[Manifest]) -> Complaints:
    """Where one pod leads and is ready alone, nothing waits for the others to be."""
    budgets = of_kind(manifests, "PodDisruptionBudget")
    for name, workload, template in pods(manifests):
        labels = template["metadata"]["labels"]
        if labels["app.kubernetes.io/name"] not in LED:
            continue
        if workload["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != "100%":
            yield f"{name}: a rollout waits for ever for a second one that is ready"
        if any(one["spec"]["selector"]["matchLabels"].items() <= labels.items() for one in budgets):
            yield f"{name}: a budget keeps the node of the one that leads for ever"


def ranked(manifests: list[Manifest]) -> Complaints:
    """Real time goes before batch, and batch pushes nobody aside."""
    realtime = named(manifests, "PriorityClass", "overbook-realtime")
    batch = named(manifests, "PriorityClass", "overbook-batch")
    if realtime["value"] <= batch["value"]:
        yield "batch goes before real time"
    if batch.get("preemptionPolicy") != "Never":
        yield "batch may push others aside"


def spread(manifests: list[Manifest]) -> Complaints:
    """Real time is in several zones, where there are any; a dry zone does not block batch."""
    zones = bool(of_kind(manifests, "NodePool"))
    for name, _, template in pods(manifests):
        if not wants_gpu(template):
            continue
        constraints = template["spec"].get("topologySpreadConstraints", [])
        if not zones:
            if any(one["whenUnsatisfiable"] == "DoNotSchedule" for one in constraints):
                yield f"{name}: never starts on a node that has no zone"
            continue
        realtime = template["spec"]["priorityClassName"] == "overbook-realtime"
        for one in constraints or [{}]:
            wanted = "DoNotSchedule" if realtime else "ScheduleAnyway"
            if one.get("whenUnsatisfiable") != wanted:
                yield f"{name}: is spread over zones by {one.get('whenUnsatisfiable')}"
            if realtime and one.get("matchLabelKeys") != ["pod-template-hash"]:
                yield f"{name}: pods of the version before count in the spread"


def shut(manifests: list[Manifest]) -> Complaints:
    """In each namespace everything is forbidden that no policy allows."""
    policies = of_kind(manifests, "NetworkPolicy")
    closed = {
        one["metadata"]["namespace"]
        for one in policies
        if one["spec"]["podSelector"] == {}
        and {"Ingress", "Egress"} <= {*one["spec"]["policyTypes"]}
    }
    for name, workload, _ in pods(manifests):
        if workload["metadata"]["namespace"] not in closed:
            yield f"{name}: its namespace is open"
    for one in policies:
        name = f"NetworkPolicy {one['metadata']['name']}"
        if {} in one["spec"].get("ingress", ()) or {} in one["spec"].get("egress", ()):
            yield f"{name}: allows everything"
        peers = [peer for rule in one["spec"].get("egress", ()) for peer in rule.get("to", ())]
        for peer in peers:
            block = peer.get("ipBlock", {})
            if block.get("cidr") == "0.0.0.0/0" and not {*block.get("except", ())} >= NEVER_OUT:
                yield f"{name}: reaches neighbours or the metadata service"
            if peer.get("namespaceSelector") == {}:
                yield f"{name}: whoever takes a label is reached in any namespace"


def posture(template: Manifest) -> str:
    """Return what kind of consumer a pod runs."""
    return str(template["spec"]["containers"][0]["args"][0])


def settings_in(told: dict[str, str]) -> dict[str, str]:
    """Choose what the product reads of an environment."""
    return {name: value for name, value in told.items() if name.startswith("FLEET_")}


RULES: Final[tuple[Rule, ...]] = (
    locked_down, confined, bounded, whole, probed, known_to_the_broker, placed, engine_last,
    time_to_leave, disrupted_with_care, led, ranked, spread, shut,
)  # fmt: skip
