"""Asking what Prometheus asks, of real processes."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client.parser import text_string_to_metric_families

from fleet.children import die_with_parent
from tests.fleets import QUICK, ROOT


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def samples(url: str) -> dict[str, float]:
    """Scrape: samples by name and labels, in a form that tests can write."""
    return {
        name + "".join(f"|{value}" for _, value in sorted(labels.items())): value
        for family in text_string_to_metric_families(get(url)[1])
        for name, labels, value, *_ in family.samples
    }


def families(url: str) -> set[str]:
    """Scrape: the names of all that is told, without samples too, and without `_total`."""
    told = text_string_to_metric_families(get(url)[1])
    return {family.name.removesuffix("_total") for family in told}


@contextmanager
def exporter(nats: str, *flags: str) -> Iterator[str]:
    """Run `fleet metrics`; yields the address of its numbers."""
    command = [sys.executable, "-m", "fleet", "metrics", "--listen", "127.0.0.1:0", "--every", "1"]
    with subprocess.Popen(
        [*command, "--nats", nats, *flags],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, **QUICK},
        preexec_fn=die_with_parent,
    ) as process:
        assert process.stderr
        url = process.stderr.readline().strip()
        try:
            assert url.startswith("http://127.0.0.1:"), url + process.stderr.read()
            yield url
        finally:
            process.terminate()
            rest = process.stderr.read()
    assert process.returncode == 0, rest


def until(url: str, wanted: Mapping[str, float], *, bound_s: float = 60.0) -> dict[str, float]:
    """Scrape until these samples have these values, all at once."""
    give_up = time.monotonic() + bound_s
    while not wanted.items() <= (found := samples(url)).items():
        seen = {name: found.get(name) for name in wanted}
        assert time.monotonic() < give_up, f"{seen} is not {wanted}"
        time.sleep(0.2)
    return found
