"""A test of the tests: each rule finds the error that it is there for."""

from pathlib import Path

import pytest

from tests.deploy import capacity_rules, pod_rules
from tests.deploy.cluster import overlay, parse
from tests.deploy.test_kubernetes import complaints_of_schemas

# What is right, what is planted for it, and what the rule then says.
Plant = tuple[pod_rules.Rule, str, str, str]

PODS: list[Plant] = [
    (pod_rules.locked_down, "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"),
    (pod_rules.locked_down, "automountServiceAccountToken: false", "hostNetwork: true", "token"),
    (pod_rules.locked_down, "enableServiceLinks: false", "hostPID: true", "hostPID"),
    (pod_rules.locked_down, "type: RuntimeDefault", "type: Unconfined", "no seccomp profile"),
    (pod_rules.locked_down, "emptyDir:\n          sizeLimit: 100Gi", "hostPath: {path: /m}",
     "mounts a path of the node"),
    (pod_rules.confined, "readOnlyRootFilesystem: true", "privileged: true", "may write"),
    (pod_rules.confined, "allowPrivilegeEscalation: false", "privileged: false", "privileges"),
    (pod_rules.confined, "- ALL", "- NET_RAW", "keeps capabilities"),
    (pod_rules.bounded, "memory: 14Gi", "nvidia.com/gpu-memory: 14Gi", "no limit of memory"),
    (pod_rules.bounded, "overbook-consumer:0.1.0", "overbook-consumer:latest", "another image"),
    (pod_rules.bounded, "sizeLimit: 20Gi", "medium: ''", "may fill the node"),
    (pod_rules.whole, "secretName: nats-spot", "secretName: nats-spots", "no Secret nats-spots"),
    (pod_rules.whole, "priorityClassName: overbook-realtime", "priorityClassName: high",
     "no PriorityClass high"),
    (pod_rules.probed, "path: /livez\n            port: metrics",
     "path: /livez\n            port: health", "port health, which is not there"),
    (pod_rules.known_to_the_broker, "value: _INBOX_spot", "value: _INBOX_on-demand",
     "hears answers as another"),
    (pod_rules.known_to_the_broker, "secretName: nats-spot", "secretName: nats-on-demand",
     "works as spot and logs in as on-demand"),
    (pod_rules.placed, "kind: NodePool\nmetadata:\n",
     "kind: NodePool\nmetadata:\n  namespace: overbook\n", "has a namespace"),
    (pod_rules.engine_last, "containers:\n      - args:\n        - spot",
     "containers:\n      - {name: engine, image: vllm}\n      - args:\n        - spot",
     "native sidecar"),
    (pod_rules.time_to_leave, "terminationGracePeriodSeconds: 110",
     "terminationGracePeriodSeconds: 90", "killed after 90 s"),
    (pod_rules.time_to_leave, "terminationGracePeriodSeconds: 110",
     "terminationGracePeriodSeconds: 300", "a reclaim leaves less than 300 s"),
    (pod_rules.disrupted_with_care, "maxUnavailable: 1\n  selector",
     "maxUnavailable: 0\n  selector", "can ever be drained"),
    (pod_rules.disrupted_with_care, "unhealthyPodEvictionPolicy: AlwaysAllow",
     "unhealthyPodEvictionPolicy: IfHealthyBudget", "a sick pod keeps"),
    (pod_rules.led, "maxUnavailable: 100%", "maxUnavailable: 1", "waits for ever"),
    (pod_rules.led, "app.kubernetes.io/name: realtime\n      overbook.dev/pool: first\n  unhealthy",
     "app.kubernetes.io/name: manager\n      overbook.dev/pool: first\n  unhealthy",
     "keeps the node of the one that leads"),
    (pod_rules.ranked, "value: 1000\n", "value: 1000000\n", "before real time"),
    (pod_rules.ranked, "preemptionPolicy: Never", "globalDefault: false", "push others aside"),
    (pod_rules.spread, "whenUnsatisfiable: ScheduleAnyway", "whenUnsatisfiable: DoNotSchedule",
     "is spread over zones by DoNotSchedule"),
    (pod_rules.spread, "- pod-template-hash", "- version", "count in the spread"),
    (pod_rules.shut, "podSelector: {}\n  policyTypes:\n  - Ingress\n",
     "podSelector: {}\n  policyTypes:\n", "is open"),
    (pod_rules.shut, "        - 100.64.0.0/10\n", "", "reaches neighbours"),
    (pod_rules.shut, "matchLabels:\n          kubernetes.io/metadata.name: kube-system", "{}",
     "in any namespace"),
    (pod_rules.shut, "  ingress:\n  - from:\n", "  ingress:\n  - {}\n  - from:\n", "everything"),
]  # fmt: skip

CAPACITY: list[Plant] = [
    (capacity_rules.plugin_gets_there, "key: nvidia.com/gpu\n        value: present",
     "key: ours", "no other taint"),
    (capacity_rules.plugin_gets_there, "nvidia.com/gpu.present:", "nvidia.com/gpu.here:",
     "there is no device plugin"),
    (capacity_rules.zones_to_choose_from, "        - us-east-2c\n", "", "fewer than three zones"),
    (capacity_rules.zones_to_choose_from, "- key: topology.kubernetes.io/zone\n",
     "- key: topology.kubernetes.io/zone\n        minValues: 3\n", "fails with a spread"),
    (capacity_rules.left_in_peace, "consolidationPolicy: WhenEmpty",
     "consolidationPolicy: WhenEmptyOrUnderutilized", "for a better price"),
    (capacity_rules.left_in_peace, "expireAfter: Never", "expireAfter: 720h", "for their age"),
    (capacity_rules.left_in_peace, '- nodes: "0"', '- nodes: "5"', "a new image takes"),
    (capacity_rules.left_in_peace, "- nodes: 100%\n", "- nodes: 10%\n", "until their turn"),
    (capacity_rules.on_their_own_ground, "karpenter.sh/nodepool: gpu-on-demand",
     "karpenter.sh/nodepool: gpu-spot", "says on-demand and runs on spot"),
    (capacity_rules.on_their_own_ground, "- reserved\n", "- spot\n", "runs on on-demand, spot"),
    (capacity_rules.on_their_own_ground, "terminationGracePeriod: 2m",
     "terminationGracePeriod: 1m", "before its grace period"),
    (capacity_rules.hears_notices, "httpPutResponseHopLimit: 2", "httpPutResponseHopLimit: 1",
     "answers no pod"),
    (capacity_rules.hears_notices, "httpTokens: required", "httpTokens: optional", "a token"),
    (capacity_rules.scaled_by_one_hand, "progressDeadlineSeconds: 3600\n",
     "progressDeadlineSeconds: 3600\n  replicas: 0\n", "each apply would set it back"),
    (capacity_rules.scaled_by_one_hand, "  minReplicaCount: 0\n",
     "  minReplicaCount: 0\n  fallback: {failureThreshold: 3, replicas: 0}\n",
     "does not stay as it is"),
    (capacity_rules.scaled_by_one_hand, "  cooldownPeriod: 600\n", "", "goes to none sooner"),
    (capacity_rules.scaled_by_one_hand, "scaleTargetRef:\n    name: batch-spot",
     "scaleTargetRef:\n    name: batch", "no Deployment batch"),
    (capacity_rules.asks_who_knows, "Endpoint: nats-headless", "Endpoint: nats",
     "the headless service"),
    (capacity_rules.asks_who_knows, "consumer: realtime_", "consumer: realtime-", "no durable"),
    (capacity_rules.asks_who_knows, "stream: JOBS_REALTIME", "stream: JOBS", "no stream JOBS"),
    (capacity_rules.asks_who_knows, "url: http://manager", "url: http://manger", "no Service"),
    (capacity_rules.asks_who_knows, "valueLocation: fallback", "valueLocation: on_demand",
     "the manager has no on_demand"),
    (capacity_rules.asks_who_knows, 'targetValue: "1"', 'targetValue: "2"', "number of pods"),
    (capacity_rules.within_limits, "maxReplicaCount: 20", "maxReplicaCount: 30", "may be 30"),
    (capacity_rules.within_limits, 'nvidia.com/gpu: "15"', 'nvidia.com/gpu: "14"', "may be 15"),
]  # fmt: skip

FIELDS = [
    ("terminationGracePeriodSeconds: 110", 'terminationGracePeriodSeconds: "110"'),
    ("topologyKey: topology", "topologykey: topology"),
    ("unhealthyPodEvictionPolicy:", "unhealthyPodPolicy:"),
    ("preemptionPolicy: Never", "preemption: Never"),
    ("policyTypes:", "types:"),
]


@pytest.mark.parametrize(
    ("rule", "right", "wrong", "complaint"),
    [*PODS, *CAPACITY],
    ids=[f"{rule.__name__}: {complaint}" for rule, _, _, complaint in [*PODS, *CAPACITY]],
)
def test_a_planted_error_is_found(
    rule: pod_rules.Rule, right: str, wrong: str, complaint: str
) -> None:
    text = overlay("aws")
    assert right in text, "there is nothing to plant it in"
    found = list(rule(parse(text.replace(right, wrong, 1))))
    assert any(complaint in one for one in found), found


def test_every_rule_has_an_error_planted_for_it() -> None:
    planted = {rule for rule, *_ in [*PODS, *CAPACITY]}
    assert planted == {*pod_rules.RULES, *capacity_rules.RULES}


def test_fields_that_kubernetes_does_not_know_are_found_each_by_itself(tmp_path: Path) -> None:
    text = overlay("aws")
    for right, wrong in FIELDS:
        assert right in text, right
        text = text.replace(right, wrong, 1)
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    found = "\n".join(complaints_of_schemas("1.37.0", path))
    for name in ("'110'", "'topologyKey'", "'unhealthyPodPolicy'", "'preemption'", "'types'"):
        assert name in found, found
