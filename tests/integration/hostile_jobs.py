"""What no well-meaning client sends: bodies, header blocks, names and subjects."""

import json

from tests.asking import chat

# In every prompt here, so that a log that shows one can be found.
CANARY = "canary-7d1f"


def _request(**body: object) -> bytes:
    messages = [{"role": "user", "content": CANARY}]
    fields = {"messages": messages, "max_tokens": 4, **body}
    return json.dumps({"url": "/v1/chat/completions", "body": fields}).encode()


def _url(url: object, **body: object) -> bytes:
    return json.dumps({"url": url, "body": body}).encode()


def _many(requests: list[object]) -> bytes:
    return json.dumps({"requests": requests}).encode()


def _input(uri: str) -> bytes:
    where = {"uri": uri, "sha256": "0" * 64, "first": 0, "count": 1}
    return json.dumps({"input": where}).encode()


GOOD = _request()
# Each with the code of its error.
BAD_BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "invalid_json"),
    "no JSON": (b"hello", "invalid_json"),
    "cut off": (GOOD[:-9], "invalid_json"),
    "two values": (GOOD + GOOD, "invalid_json"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "invalid_json"),
    "UTF-16": (GOOD.decode().encode("utf-16"), "invalid_json"),
    "not UTF-8": (GOOD.replace(b"canary", b"\xff\xfe"), "invalid_json"),
    "NaN": (GOOD.replace(b"4", b"NaN"), "invalid_json"),
    "deep": (b'{"url":' + b"[" * 200_000, "invalid_json"),
    "deep inside": (_request(user=0).replace(b": 0", b": " + b"[" * 90_000), "invalid_json"),
    "null": (b"null", "invalid_request"),
    "a number": (b"7", "invalid_request"),
    "a list": (b"[]", "invalid_request"),
    "an empty object": (b"{}", "invalid_request"),
    "requests is a number": (b'{"requests": 5}', "invalid_request"),
    "requests is empty": (_many([]), "invalid_request"),
    "too many requests": (_many([0] * 1025), "invalid_request"),
    "input elsewhere": (b'{"input": {"uri": "file:///etc/passwd"}}', "invalid_input"),
    "input of another tenant": (_input("objects://payloads/victim/a.jsonl"), "foreign_input"),
    "input behind a climb": (_input("objects://payloads/evil/../victim/a"), "invalid_input"),
    "input on the net": (_input("http://169.254.169.254/evil/role"), "invalid_input"),
    "400 digits": (_request(max_tokens=int("9" * 400)), "invalid_request"),
    "400 digits for a float": (_request(temperature=int("9" * 400)), "invalid_request"),
    "wrong type": (_request(messages="hi"), "invalid_request"),
    "unknown field": (_request(temprature=0), "invalid_request"),
    "no tokens": (_request(max_tokens=0), "invalid_request"),
    "negative tokens": (_request(max_tokens=-1), "invalid_request"),
    "huge number of tokens": (_request(max_tokens=10**9), "invalid_request"),
    "more tokens than the context": (_request(max_tokens=100_000), "context_exceeded"),
    "more at least than at most": (_request(min_tokens=5), "invalid_request"),
    "prompt over the context": (json.dumps(chat(CANARY * 7000)).encode(), "context_exceeded"),
    "no messages": (_request(messages=[]), "invalid_request"),
    "an image": (
        _request(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]),
        "invalid_request",
    ),
    "a schema without one": (_request(response_format={"type": "json_schema"}), "invalid_request"),
    "many choices": (_request(n=10_000), "invalid_request"),
    "another model": (_request(model="m" * 5000), "model_mismatch"),
    "unknown url": (_url("/v1/images", input="x"), "unknown_url"),
    "a url that is a number": (_url(5, input="x"), "invalid_request"),
    "another method": (json.dumps({**chat("x"), "method": "GET"}).encode(), "invalid_method"),
    "token ids": (_url("/v1/completions", prompt=[1, 2, 3]), "unsupported_prompt"),
    "NUL in the custom id": (
        json.dumps({**chat("x"), "custom_id": "a\0b"}).encode(),
        "invalid_custom_id",
    ),
}

BAD_BLOCKS: dict[str, bytes] = {
    "four bytes": b"\r\n\r\n",
    "two bytes": b"\r\n",
    "no end": b"NATS/1.0",
    "wrong version": b"HTTP/1.1 200\r\n\r\n",
    "not UTF-8": b"NATS/1.0\r\nA: \xff\xfe\r\n\r\n",
    "no colon": b"NATS/1.0\r\nAAAA\r\n\r\n",
    "empty name": b"NATS/1.0\r\n: v\r\n\r\n",
    "line feeds": b"NATS/1.0\nA: b\n\n",
}
ODD_BLOCKS: dict[str, bytes] = {
    "empty": b"NATS/1.0\r\n\r\n",
    "status 100": b"NATS/1.0 100 FlowControl Request\r\n\r\n",
    "status 404": b"NATS/1.0 404 No Messages\r\n\r\n",
    "status 408": b"NATS/1.0 408 Request Timeout\r\n\r\n",
    "status 409": b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
    "status 503": b"NATS/1.0 503\r\n\r\n",
    "status is text": b"NATS/1.0 abc def\r\n\r\n",
    "the server's own names": b"NATS/1.0\r\nNats-Stream: evil\r\nNats-Sequence: 9\r\n\r\n",
    "the log's own names": b"NATS/1.0\r\nFleet-Record: claim\r\nFleet-Writer: me\r\n\r\n",
    "a broken trace": b"NATS/1.0\r\ntraceparent: 00-zz\r\n\r\n",
    "60 kB": b"NATS/1.0\r\nA: " + b"x" * 60_000 + b"\r\n\r\n",
    "a thousand": b"NATS/1.0\r\n" + b"".join(b"A%d: b\r\n" % n for n in range(1000)) + b"\r\n",
}
# The stream takes none of these.
REFUSED_BLOCKS: dict[str, bytes] = {
    "TTL": b"NATS/1.0\r\nNats-TTL: 1s\r\n\r\n",
    "rollup": b"NATS/1.0\r\nNats-Rollup: all\r\n\r\n",
    "expected sequence": b"NATS/1.0\r\nNats-Expected-Last-Sequence: 999999\r\n\r\n",
    "expected stream": b"NATS/1.0\r\nNats-Expected-Stream: other\r\n\r\n",
}

BAD_IDS: tuple[bytes, ...] = (
    b"a.b",
    b"../../etc/passwd",
    b"*",
    b">",
    b"$KV.claims.x",
    b"-dash-first",
    b"a b",
    b"a\0b",
    b"a\x1b[31mb",
    "é".encode(),
    b"x" * 65,
)
BAD_BATCHES: tuple[bytes, ...] = (b"a.b", b"../x", b"*", b"_", b"x" * 300)

# Model and tenant of a subject that some stream stores; TENANT is the test's own.
BAD_SUBJECTS: tuple[tuple[bytes, bytes], ...] = (
    (b"*", b"TENANT"),
    (b">", b"TENANT"),
    (b"UPPER", b"TENANT"),
    ("é".encode(), b"TENANT"),
    (b"\xff", b"TENANT"),
    (b">", b"\xff"),
    (b"\xff", b">"),
    (b"a\x01b", b"TENANT"),
    (b"a\x0bb", b"TENANT"),
    (b"smollm2", b"*"),
    (b"smollm2", b">"),
    (b"smollm2", b"UPPER"),
    (b"nobody", b"*"),
    (b"nobody", b"\xfe\xff"),
    (b"*", b"*"),
)
