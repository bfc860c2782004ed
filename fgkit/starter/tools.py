"""The functions the model learns to call: replace these three by your own.

fgkit reads each function's name, type hints and docstring; the bodies are never run. The first
line of a docstring describes what the function does, `Args:` what each argument means. An argument
with a default may be left out of a call. Types: str, int, float, bool, Literal for a choice of
texts, list, TypedDict or dataclass for an object, `X | None`.
"""

from typing import Literal, TypedDict


class CartItem(TypedDict):
    """One line of the cart.

    Args:
        product: What to buy, as the user calls it, without article and number
        quantity: How many; 1 when the user names no number
    """

    product: str
    quantity: int


def add_to_cart(items: list[CartItem]) -> None:
    """Puts products into the shopping cart.

    Args:
        items: The products and how many of each
    """


def find_places(
    kind: Literal["cafe", "pharmacy", "supermarket"], max_km: float = 5.0, open_now: bool = False
) -> None:
    """Shows places near the user on the map.

    Args:
        kind: What sort of place
        max_km: How far away at most, in kilometres; left out when the user does not say
        open_now: Whether only places that are open now are shown
    """


def set_reminder(text: str, minutes: int) -> None:
    """Reminds the user after some minutes.

    Args:
        text: What to say then, in the user's words
        minutes: In how many minutes, such as 120 for two hours
    """
