from .widgets import (
    choose as choose,
    explore as explore,
    playground as playground,
    results as results,
)
