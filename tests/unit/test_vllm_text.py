"""Requests become token ids, or a refusal that says what to do."""

from collections.abc import Sequence

import pytest

from consumers.engine import Rendered
from consumers.vllm_text import Renderer
from fleet.body import ChatBody, CompletionBody, EmbeddingBody, Message, TextPart
from fleet.errors import JobRejected
from fleet.job import Body, Item

CONTEXT = 20
BEGIN = 1


class NoToolsHere(Exception):
    """Stands for an error of the template library."""


class Letters:
    """A tokenizer whose ids are code points, and whose special token marks a beginning."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        return [BEGIN] * add_special_tokens + [ord(letter) for letter in text]

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        assert not tokenize
        if any(turn["role"] == "tool" for turn in conversation):
            raise NoToolsHere
        turns = "".join(f"{turn['role'][0]}:{turn['content']};" for turn in conversation)
        return turns + "a:" * add_generation_prompt


def render(*bodies: Body, embeds: bool = False) -> list[Rendered | JobRejected]:
    renderer = Renderer(
        Letters(),
        context_tokens=CONTEXT,
        vocabulary=128,
        embeds=embeds,
        template_error=NoToolsHere,
    )
    return renderer.render(
        [Item(index=n, custom_id=None, body=body) for n, body in enumerate(bodies)]
    )


def chat(text: str, **more: int) -> ChatBody:
    return ChatBody(messages=(Message("user", text),), **more)  # type: ignore[arg-type]


def code(outcome: Rendered | JobRejected) -> str:
    assert isinstance(outcome, JobRejected), outcome
    return outcome.code


def shown(outcome: Rendered | JobRejected) -> Sequence[str]:
    assert isinstance(outcome, Rendered), outcome
    return ["".join(chr(i) for i in prompt) for prompt in outcome.prompts]


def test_a_chat_goes_through_the_template_which_alone_writes_special_tokens() -> None:
    (done,) = render(chat("hi"))
    assert shown(done) == ["u:hi;a:"]


def test_a_developer_is_the_system_and_parts_are_one_text() -> None:
    parts = (TextPart("a"), TextPart("b"))
    (done,) = render(ChatBody(messages=(Message("developer", "x"), Message("user", parts))))
    assert shown(done) == ["s:x;u:ab;a:"]


def test_texts_of_a_completion_are_prompts_of_their_own_and_ids_are_taken_as_they_are() -> None:
    texts, ids = render(
        CompletionBody(prompt=("a", "b"), max_tokens=1),
        CompletionBody(prompt=(65, 66), max_tokens=1),
    )
    assert shown(texts) == ["\x01a", "\x01b"]
    assert shown(ids) == ["AB"]


def test_a_template_that_refuses_hurts_its_own_item_only() -> None:
    bad, good = render(ChatBody(messages=(Message("tool", "x"),)), chat("hi"))
    assert code(bad) == "chat_template"
    assert shown(good)


def test_prompt_and_answer_must_fit_together_and_the_refusal_has_the_numbers() -> None:
    fits, over, prompt_over = render(
        chat("hi", max_tokens=13), chat("hi", max_tokens=14), chat("h" * 40)
    )
    assert shown(fits)
    assert code(over) == code(prompt_over) == "context_exceeded"
    assert "prompt (7 tokens) and answer (14)" in str(over)
    assert "at most 13 tokens" in str(over)
    assert "shorten the prompt" in str(prompt_over)


@pytest.mark.parametrize("body", [CompletionBody(prompt=""), CompletionBody(prompt=("a", ""))])
def test_an_empty_prompt_is_refused(body: CompletionBody) -> None:
    assert code(render(body)[0]) == "empty_prompt"


def test_an_id_outside_the_vocabulary_is_refused() -> None:
    assert code(render(CompletionBody(prompt=(5, 128), max_tokens=1))[0]) == "unknown_token"


def test_a_model_that_embeds_does_not_chat_and_the_reverse() -> None:
    assert code(render(chat("hi"), embeds=True)[0]) == "wrong_endpoint"
    assert code(render(EmbeddingBody(input="hi"))[0]) == "wrong_endpoint"


def test_a_text_to_embed_may_be_as_long_as_the_model_reads() -> None:
    fits, over = render(
        EmbeddingBody(input="h" * 19), EmbeddingBody(input=("a", "h" * 20)), embeds=True
    )
    assert shown(fits)
    assert code(over) == "context_exceeded"
