"""The three functions of the example app, which the model learns to call.

Replace them by your own functions. fgkit makes a tool declaration from the name, type hints and
docstring of each public function, in this order. The first line of a docstring describes what the
function does, `Args:` what each argument means. fgkit never runs the bodies.

>>> change_app_title("Hello")
'Title set to Hello'
"""

from __future__ import annotations


def change_background_color(color: str) -> str:
    """Changes the app background color to specified color.

    Args:
        color: The color name (red, green, blue, yellow, purple, orange)
    """
    return f"Changed to {color}"


def change_app_title(title: str) -> str:
    """Changes the application title text in the AppBar.

    Args:
        title: The new title text to display
    """
    return f"Title set to {title}"


def show_alert(title: str, message: str) -> str:
    """Shows an alert dialog with a custom message and title.

    Args:
        title: The title of the alert dialog
        message: The message content of the alert dialog
    """
    return f"Alert shown: {title}"
