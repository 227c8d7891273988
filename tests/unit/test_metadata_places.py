"""Where the metadata services are."""

import pytest

from consumers.interruption.places import LINK_LOCAL, Places, places
from fleet.errors import UsageError
from fleet.settings import Cloud


def test_without_variables_all_are_at_the_link_local_address() -> None:
    assert places("auto", {}) == Places(aws=LINK_LOCAL, gcp=LINK_LOCAL, azure=LINK_LOCAL)


@pytest.mark.parametrize("cloud", ["aws", "gcp", "azure"])
def test_a_named_cloud_is_the_only_one(cloud: Cloud) -> None:
    asked = places(cloud, {})
    assert [n for n in ("aws", "gcp", "azure") if getattr(asked, n)] == [cloud]


def test_none_asks_nobody_and_looks_at_no_variable() -> None:
    env = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "nonsense"}
    assert places("none", env) == Places(aws=None, gcp=None, azure=None)


def test_aws_may_be_switched_off() -> None:
    assert places("auto", {"AWS_EC2_METADATA_DISABLED": "True"}).aws is None
    assert places("auto", {"AWS_EC2_METADATA_DISABLED": "false"}).aws == LINK_LOCAL


def test_aws_has_an_address_in_ipv6_and_one_that_goes_before() -> None:
    mode = {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}
    assert places("aws", mode).aws == "http://[fd00:ec2::254]"
    both = mode | {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1338/"}
    assert places("aws", both).aws == "http://127.0.0.1:1338"


def test_gcp_has_a_host_variable_without_a_scheme() -> None:
    assert places("gcp", {"GCE_METADATA_HOST": "metadata:8080"}).gcp == "http://metadata:8080"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://[::"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://host:99999"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "file:///etc/passwd"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv5"),
        ("GCE_METADATA_HOST", "http://x:y"),
        ("FLEET_AZURE_METADATA", "http://"),
    ],
)
def test_an_address_that_is_none_is_named(name: str, value: str) -> None:
    with pytest.raises(UsageError, match=name):
        places("auto", {name: value})
