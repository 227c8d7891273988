"""Which blobs a tenant may name: its own, and by two forms only."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.blob import blob_key, parse_place, source_of
from fleet.errors import JobRejected

OURS = "objects://payloads/acme/a.jsonl"


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        (OURS, ("objects", "payloads", "", "acme", "a.jsonl")),
        ("s3://bucket/acme/a", ("s3", "bucket", "", "acme", "a")),
        ("s3://my.bucket/x/y/acme/a_b-c.1", ("s3", "my.bucket", "x/y", "acme", "a_b-c.1")),
    ],
)
def test_a_uri_is_taken_apart_and_put_together(uri: str, parts: tuple[str, ...]) -> None:
    place = parse_place(uri)
    assert (place.scheme, place.bucket, place.prefix, place.tenant, place.name) == parts
    assert place.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd", "file://acme/a", "http://acme/a/b", "https://host/acme/a",
        "http://169.254.169.254/latest/meta-data", "gs://b/acme/a", "ftp://h/acme/a", "acme/a",
        "/acme/a", "", "objects://", "objects://payloads", "objects://payloads/acme",
        "objects://payloads/acme/", "objects://payloads//a", "objects://payloads/acme/../x",
        "objects://payloads/../acme/a", "objects://payloads/x/acme/a", "objects://other/acme/a",
        "objects://payloads/acme/.hidden", "objects://payloads/acme/a%2fb", "s3://b/%2e%2e/a",
        "objects://payloads/acme/a?x=1", "objects://payloads/acme/a#x", "s3://b/acme/a?x",
        "s3://b/acme/a\x00", "s3://b/acme/a\n", "s3://b/acme/\u0430", "s3://b/ acme/a",
        "s3://u:p@b/../a", "S3://b/acme/../../a", "s3://b//acme/a", "s3://b/acme/" + "a" * 201,
        "s3:acme/a", "s3:///acme", "OBJECTS://payloads/acme/a", "s3://[::1/acme/a",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_two_forms(uri: str) -> None:
    with pytest.raises(JobRejected, match="objects://payloads/<tenant>/<name>") as caught:
        parse_place(uri)
    assert caught.value.code == "invalid_input"


@given(st.text(alphabet=string.ascii_lowercase + "./%\\:@?#~ é\x00", max_size=40))
def test_no_uri_that_is_taken_leaves_its_tenants_folder(text: str) -> None:
    for head in ("objects://payloads/", "s3://bucket/"):
        try:
            place = parse_place(head + text)
        except JobRejected:
            continue
        assert place.uri == head + text
        assert place.key == f"{place.tenant}/{place.name}"
        assert not {"", ".", ".."} & set(place.key.split("/"))
        assert not set(place.uri.removeprefix(head)) & set("%\\:@?#~ é\x00")


@given(st.text(max_size=30))
def test_a_key_has_two_parts_whatever_the_name(name: str) -> None:
    try:
        key = blob_key("acme", name)
    except JobRejected:
        return
    assert key.split("/") == ["acme", name]


def test_whose_it_is_counts_not_what_the_prefix_pretends() -> None:
    source = {"sha256": "0" * 64, "first": 0, "count": 1}
    assert source_of(source | {"uri": "s3://b/victim/evil/a"}, tenant="evil").count == 1
    with pytest.raises(JobRejected, match="not tenant evil's"):
        source_of(source | {"uri": "s3://b/evil/victim/a"}, tenant="evil")
