"""The nine functions of a smart home: the second example, with all types of arguments.

fgkit makes a tool declaration from each entry of `TOOLS`, in this order, and never runs the bodies.
The texts are short on purpose, because the model reads all of them before every request.

>>> set_heating(21.5, room="office")
'Heating at 21.5 (office)'
"""

from __future__ import annotations

from typing import Literal

Room = Literal["kitchen", "living room", "bedroom", "bathroom", "office"]


def switch_light(room: Room, on: bool) -> str:
    """Turns a light on or off.

    Args:
        room: Which room
        on: true for on
    """
    return f"Light {'on' if on else 'off'} ({room})"


def dim_light(room: Room, percent: int) -> str:
    """Sets a light's brightness.

    Args:
        room: Which room
        percent: 1 to 100
    """
    return f"Light at {percent}% ({room})"


def set_heating(celsius: float, room: Room | None = None) -> str:
    """Sets the temperature.

    Args:
        celsius: Degrees
        room: One room only
    """
    return f"Heating at {celsius} ({room or 'everywhere'})"


def set_timer(minutes: int, label: str | None = None) -> str:
    """Starts a timer.

    Args:
        minutes: How long
        label: Its name
    """
    return f"Timer {label or ''}: {minutes} minutes"


def set_alarm(time: str, days: list[str] | None = None) -> str:
    """Sets an alarm.

    Args:
        time: HH:MM
        days: Weekdays
    """
    return f"Alarm at {time} ({', '.join(days or ['once'])})"


def add_to_shopping_list(products: list[str]) -> str:
    """Adds to the shopping list.

    Args:
        products: What to buy
    """
    return f"Added {', '.join(products)}"


def send_message(to: str, text: str) -> str:
    """Sends a text message.

    Args:
        to: Who gets it
        text: Its words
    """
    return f"Sent to {to}"


def water_garden(zones: list[int], minutes: int) -> str:
    """Waters the garden.

    Args:
        zones: Zone numbers
        minutes: How long
    """
    return f"Watering {zones} for {minutes} minutes"


add_event = {
    "type": "function",
    "function": {
        "name": "add_event",
        "description": "Adds a calendar event.",
        "parameters": {
            "type": "object",
            "required": ["title", "when"],
            "properties": {
                "title": {"type": "string", "description": "Its name"},
                "when": {
                    "type": "object",
                    "description": "Start",
                    "required": ["day", "time"],
                    "properties": {
                        "day": {"type": "string", "description": "Weekday"},
                        "time": {"type": "string", "description": "HH:MM"},
                    },
                },
            },
        },
    },
}

TOOLS = [
    switch_light,
    dim_light,
    set_heating,
    set_timer,
    set_alarm,
    add_to_shopping_list,
    send_message,
    add_event,
    water_garden,
]
