"""Requests to token ids, and back: chat templates, tokenizing, and the limits of the model."""

from collections.abc import Sequence
from typing import Protocol

from consumers.engine import Rendered
from fleet.errors import JobRejected
from fleet.job import ChatBody, CompletionBody, EmbeddingBody, GenerateBody, Item, Message

# What a chat template may raise for messages that it was not made for, beside its own errors.
TEMPLATE_ERRORS = (ValueError, TypeError, LookupError, AttributeError)


class Tokenizer(Protocol):
    """What is needed of a tokenizer of the transformers library."""

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...
    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool
    ) -> str: ...


class Renderer:
    """Renders requests for one model. Not for two threads at once: tokenizers do not like that.

    context_tokens: prompt and answer together, or the longest text of an embedding model.
    vocabulary: ids are below it. embeds: the model embeds and does nothing else. template_error:
    what the library of chat templates raises.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        context_tokens: int,
        vocabulary: int,
        embeds: bool,
        template_error: type[Exception],
    ) -> None:
        self._tokenizer = tokenizer
        self._context_tokens = context_tokens
        self._vocabulary = vocabulary
        self._embeds = embeds
        self._template_errors = (template_error, *TEMPLATE_ERRORS)

    def render(self, items: Sequence[Item]) -> list[Rendered | JobRejected]:
        """Render each item, or say why it cannot be."""
        return [self._render(item) for item in items]

    def _render(self, item: Item) -> Rendered | JobRejected:
        try:
            prompts = self._prompts(item)
            for prompt in prompts:
                self._check(prompt, item)
        except JobRejected as error:
            return error
        return Rendered(prompts)

    def _prompts(self, item: Item) -> tuple[tuple[int, ...], ...]:
        body = item.body
        if isinstance(body, EmbeddingBody) != self._embeds:
            can = "embeddings" if self._embeds else "chat and completions"
            raise JobRejected(
                f"this model answers {can} and not {item.url}: send it to a model that does",
                code="wrong_endpoint",
            )
        match body:
            case ChatBody():
                return (self._chat(body),)
            case CompletionBody(prompt_ids=ids) if ids is not None:
                return (ids,)
            case CompletionBody():
                return tuple(map(self._text, body.texts))
            case EmbeddingBody():
                return tuple(map(self._text, body.inputs))

    def _text(self, text: str) -> tuple[int, ...]:
        if not text:
            raise JobRejected("the prompt is empty: send some text", code="empty_prompt")
        return tuple(self._tokenizer.encode(text))

    def _chat(self, body: ChatBody) -> tuple[int, ...]:
        try:
            text = self._tokenizer.apply_chat_template(
                [_turn(message) for message in body.messages],
                tokenize=False,
                add_generation_prompt=True,
            )
        except self._template_errors as error:
            raise JobRejected(
                f"this model's chat template does not take these messages: {error}; change their "
                "roles or order, or use /v1/completions",
                code="chat_template",
            ) from error
        # The template writes the special tokens itself.
        return tuple(self._tokenizer.encode(text, add_special_tokens=False))

    def _check(self, prompt: Sequence[int], item: Item) -> None:
        if not prompt:
            raise JobRejected("the prompt is empty: send some text", code="empty_prompt")
        if max(prompt) >= self._vocabulary:
            raise JobRejected(
                f"token id {max(prompt)} is outside this model's vocabulary of {self._vocabulary}: "
                "use ids of its own tokenizer",
                code="unknown_token",
            )
        if isinstance(item.body, EmbeddingBody):
            check_length(len(prompt), self._context_tokens)
        else:
            check_room(len(prompt), item.body, self._context_tokens)


def check_room(prompt_tokens: int, body: GenerateBody, context_tokens: int) -> None:
    """Raise JobRejected unless prompt and answer fit the context together."""
    wanted = body.limit or 1
    if prompt_tokens + wanted <= context_tokens:
        return
    room = context_tokens - prompt_tokens
    remedy = (
        f"ask for at most {room} tokens or shorten the prompt"
        if room > 0
        else "shorten the prompt or use a model with a longer context"
    )
    raise JobRejected(
        f"prompt ({prompt_tokens} tokens) and answer ({wanted}) exceed the context of "
        f"{context_tokens}: {remedy}",
        code="context_exceeded",
    )


def check_length(tokens: int, longest: int) -> None:
    """Raise JobRejected for a text that is too long to embed."""
    if tokens > longest:
        raise JobRejected(
            f"the text has {tokens} tokens, and this model embeds up to {longest}: cut it into "
            "pieces",
            code="context_exceeded",
        )


def _turn(message: Message) -> dict[str, str]:
    """Write a message the way chat templates read it."""
    content = message.content
    turn = {
        # The newer name of the same thing, which few templates know.
        "role": "system" if message.role == "developer" else message.role,
        "content": content if isinstance(content, str) else "".join(p.text for p in content),
    }
    return turn if message.name is None else turn | {"name": message.name}
