from .detection import (
    FORMATS as FORMATS,
    ParsedRow as ParsedRow,
    detect as detect,
    read_row as read_row,
)
