"""What widgets say to the screen that they stand on. Newer news of a kind replaces older."""

from textual.message import Message


class NewsArrived(Message):
    """The source has something newer; what it is, the application keeps."""

    def can_replace(self, message: Message) -> bool:
        """Let the newest stand for all that were not looked at yet."""
        return isinstance(message, NewsArrived)


class RowOpened(Message):
    """Someone wants to know more about the row under the cursor."""


class CursorMoved(Message):
    """Another row is under the cursor, or none."""

    def can_replace(self, message: Message) -> bool:
        """Let the newest stand for all that were not looked at yet."""
        return isinstance(message, CursorMoved)


class FilterTyped(Message):
    """What stands in the field of the filter. done: whether Enter was pressed."""

    def __init__(self, text: str, *, done: bool) -> None:
        super().__init__()
        self.text = text
        self.done = done
