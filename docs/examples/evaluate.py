"""Run a model over questions with known answers, and say how many it gets right.

python docs/examples/evaluate.py docs/examples/data/questions.jsonl --at-least 0.8

The score goes to stdout as JSON, and the exit code is 1 below --at-least: a gate for a pipeline.
"""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from through_fleet import answers, chat, text_of

SYSTEM = "Answer with a single word or number."


def plain(text: str) -> str:
    """Leave out what makes no difference: case, spaces and a last full stop."""
    return " ".join(text.split()).rstrip(".").casefold()


def main() -> int:
    """Read lines with `id`, `topic`, `question` and `answer`."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("questions", type=Path)
    flags.add_argument("--model", default="smollm2")
    flags.add_argument("--at-least", type=float, default=0.0, metavar="SHARE")
    flags.add_argument("--wrong", type=Path, metavar="FILE", help="Where to write what was wrong.")
    given = flags.parse_args()
    lines = map(json.loads, given.questions.read_text().splitlines())
    asked = {record["id"]: record for record in lines}
    if not asked:
        flags.error(f"{given.questions} holds no questions")
    # Temperature 0, so that a second run gives the same score.
    requests = (
        chat(name, record["question"], system=SYSTEM, temperature=0, max_tokens=8)
        for name, record in asked.items()
    )
    said = {answer["custom_id"]: text_of(answer) for answer in answers(requests, model=given.model)}
    # A question without an answer counts as wrong: a score over what happened to work flatters.
    right = {name for name in said if plain(said[name]) == plain(asked[name]["answer"])}
    wrong = [{**asked[name], "said": said.get(name)} for name in asked if name not in right]
    if given.wrong:
        given.wrong.write_text("".join(json.dumps(record) + "\n" for record in wrong))
    topics = Counter(record["topic"] for record in asked.values())
    rights = Counter(asked[name]["topic"] for name in right)
    score = len(right) / len(asked)
    report = {
        "model": given.model,
        "questions": len(asked),
        "right": len(right),
        "unanswered": len(asked) - len(said),
        "score": round(score, 4),
        "topics": {topic: round(rights[topic] / topics[topic], 4) for topic in sorted(topics)},
    }
    print(json.dumps(report))
    return 0 if score >= given.at_least else 1


if __name__ == "__main__":
    sys.exit(main())
