"""Make training examples for a fine-tuning run out of raw records.

python docs/examples/training_data.py docs/examples/data/tickets.jsonl train.jsonl validation.jsonl

The fleet's model writes the answer to each support ticket; what is unfit to learn from is left out.
"""

import argparse
import hashlib
import json
from collections import Counter
from pathlib import Path

from through_fleet import Line, answers, chat, finish_of, text_of

SYSTEM = "You answer customers of a bicycle shop: friendly, exact, at most four sentences."
# One example in ten is kept for validation. Which one is decided by its text, so that the next run,
# with more tickets, does not move an example from one side to the other.
VALIDATION_IN_256 = 26


def example(ticket: str, answer: str) -> Line:
    """Write an example in the form that chat models are fine-tuned with."""
    return {
        "messages": [
            {"role": "system", "content": SYSTEM},
            {"role": "user", "content": ticket},
            {"role": "assistant", "content": answer},
        ]
    }


def is_for_validation(ticket: str) -> bool:
    """Say on which side an example stands."""
    return hashlib.sha256(ticket.encode()).digest()[0] < VALIDATION_IN_256


def main() -> None:
    """Read lines with `id` and `text`, write examples."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("tickets", type=Path)
    flags.add_argument("train", type=Path)
    flags.add_argument("validation", type=Path)
    flags.add_argument("--model", default="smollm2")
    flags.add_argument("--max-tokens", type=int, default=200)
    flags.add_argument("--end", help="Stop at this text, where the model does not stop by itself.")
    flags.add_argument("--keep-cut", action="store_true", help="Keep answers that were cut off.")
    given = flags.parse_args()
    lines = map(json.loads, given.tickets.read_text().splitlines())
    tickets = {record["id"]: record["text"] for record in lines}
    options = {"stop": given.end} if given.end else {}
    requests = (
        chat(name, text, system=SYSTEM, seed=1, max_tokens=given.max_tokens, **options)
        for name, text in tickets.items()
    )
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    with given.train.open("w") as train, given.validation.open("w") as validation:
        for answer in answers(requests, model=given.model):
            ticket, text = tickets[answer["custom_id"]], text_of(answer).strip()
            if not text:
                counts["empty"] += 1
            elif finish_of(answer) == "length" and not given.keep_cut:
                counts["cut off"] += 1
            elif ticket in seen:
                counts["double"] += 1
            else:
                seen.add(ticket)
                side = "validation" if is_for_validation(ticket) else "train"
                counts[side] += 1
                file = validation if side == "validation" else train
                file.write(json.dumps(example(ticket, text)) + "\n")
    counts["failed"] = len(tickets) - counts.total()
    print(json.dumps({kind: count for kind, count in sorted(counts.items()) if count}))


if __name__ == "__main__":
    main()
