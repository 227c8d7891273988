"""Summarise a folder of texts, long ones piece by piece.

python docs/examples/summarise.py docs/examples/data/documents summaries.jsonl
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from through_fleet import Line, answers, chat, text_of

# A text that is longer is cut into pieces, and the summaries of its pieces are summarised.
PIECE_CHARACTERS = 6000
SYSTEM = "You summarise texts. Answer with three sentences and nothing else."


def pieces(text: str, most: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a text between paragraphs, into pieces of at most `most` characters."""
    piece = ""
    for paragraph in text.split("\n\n"):
        whole = paragraph
        while len(whole) > most:
            yield whole[:most]
            whole = whole[most:]
        if piece and len(piece) + len(whole) + 2 > most:
            yield piece
            piece = whole
        else:
            piece = f"{piece}\n\n{whole}" if piece else whole
    if piece.strip():
        yield piece


def ask(custom_id: str, text: str) -> Line:
    """Write the request for one summary."""
    return chat(custom_id, text, system=SYSTEM, temperature=0, max_tokens=160)


def summarise(texts: dict[str, str], model: str) -> dict[str, str]:
    """Summarise texts by name; one with a piece that failed is left out."""
    cut = {name: list(pieces(text)) for name, text in texts.items()}
    first = (
        ask(f"{name}#{number}", piece)
        for name, parts in cut.items()
        for number, piece in enumerate(parts)
    )
    found = defaultdict(list)
    for answer in answers(first, model=model):
        found[answer["custom_id"].rpartition("#")[0]].append(text_of(answer))
    whole = {name: parts for name, parts in found.items() if len(parts) == len(cut[name])}
    short = {name: parts[0] for name, parts in whole.items() if len(parts) == 1}
    long = (ask(name, "\n\n".join(parts)) for name, parts in whole.items() if len(parts) > 1)
    joined = {answer["custom_id"]: text_of(answer) for answer in answers(long, model=model)}
    return {name: text for name in texts if (text := short.get(name) or joined.get(name))}


def main() -> None:
    """Read *.txt, write a line for each."""
    flags = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    flags.add_argument("folder", type=Path)
    flags.add_argument("output", type=Path)
    flags.add_argument("--model", default="smollm2")
    given = flags.parse_args()
    texts = {file.stem: file.read_text() for file in sorted(given.folder.glob("*.txt"))}
    found = summarise(texts, given.model)
    with given.output.open("w") as output:
        for name, summary in found.items():
            output.write(json.dumps({"document": name, "summary": summary}) + "\n")
    print(f"{len(found)} of {len(texts)} documents are summarised in {given.output}")


if __name__ == "__main__":
    main()
