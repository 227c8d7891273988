"""Colours that everybody can tell apart, on dark and on light ground."""

from typing import Final

from textual.theme import Theme

# The palette of Okabe and Ito: eight colours that stay apart for every kind of colour vision.
# On light ground its bright ones are darkened until they reach a contrast of 4.5 to 1.
DARK: Final = Theme(
    name="overbook-dark",
    dark=True,
    primary="#56b4e9",
    secondary="#cc79a7",
    accent="#f0e442",
    success="#2fc79a",
    warning="#e69f00",
    error="#ff7f3f",
    foreground="#e6e6e6",
    background="#111315",
    surface="#1a1d1f",
    panel="#2c3033",
    variables={"block-cursor-text-style": "bold"},
)
LIGHT: Final = Theme(
    name="overbook-light",
    dark=False,
    primary="#0060a0",
    secondary="#8f3a6b",
    accent="#6b5f00",
    success="#00694c",
    warning="#8a5a00",
    error="#b03a00",
    foreground="#1a1a1a",
    background="#fafafa",
    surface="#f0f0f0",
    panel="#dcdfe2",
)
THEMES: Final = (DARK, LIGHT)
