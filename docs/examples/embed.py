"""Turn a corpus into vectors, and find what is closest to a question.

python docs/examples/embed.py docs/examples/data/corpus.jsonl vectors.jsonl --find "the moon"

The model has to be one that a consumer serves with `--task embed`.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

from through_fleet import Line, answers

# One request takes many texts: fewer lines, and the engine computes them together.
TEXTS_A_REQUEST = 64
SHOWN = 3

Vector = list[float]


def requests(texts: list[str]) -> Iterator[Line]:
    """Write the requests; the id of each is the number of its first text."""
    for first in range(0, len(texts), TEXTS_A_REQUEST):
        body = {"input": texts[first : first + TEXTS_A_REQUEST]}
        yield {"custom_id": str(first), "method": "POST", "url": "/v1/embeddings", "body": body}


def embed(texts: list[str], model: str) -> dict[int, Vector]:
    """Return a vector for each text, by its number; those of a failed request are missing."""
    return {
        int(answer["custom_id"]) + entry["index"]: entry["embedding"]
        for answer in answers(requests(texts), model=model)
        for entry in answer["response"]["body"]["data"]
    }


def closeness(one: Vector, other: Vector) -> float:
    """Return the cosine of the angle between two vectors."""
    dot = sum(x * y for x, y in zip(one, other, strict=True))
    return dot / (math.hypot(*one) * math.hypot(*other))


def main() -> int:
    """Read lines with `id` and `text`, write lines with `id` and `vector`; 1 if some have none."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("corpus", type=Path)
    flags.add_argument("output", type=Path)
    flags.add_argument("--model", default="smollm2")
    flags.add_argument("--find", metavar="TEXT", help="Show what is closest to this.")
    given = flags.parse_args()
    records = [json.loads(line) for line in given.corpus.read_text().splitlines()]
    vectors = embed([record["text"] for record in records], given.model)
    with given.output.open("w") as output:
        for number, vector in sorted(vectors.items()):
            output.write(json.dumps({"id": records[number]["id"], "vector": vector}) + "\n")
    print(f"{len(vectors)} of {len(records)} texts have a vector in {given.output}")
    if given.find:
        target = embed([given.find], given.model).get(0)
        if target is None:
            return 1  # why is on stderr
        ranked = sorted(vectors, key=lambda n: closeness(vectors[n], target), reverse=True)
        for number in ranked[:SHOWN]:
            record = records[number]
            print(f"{closeness(vectors[number], target):.3f}  {record['id']}: {record['text']}")
    return 0 if len(vectors) == len(records) else 1


if __name__ == "__main__":
    sys.exit(main())
