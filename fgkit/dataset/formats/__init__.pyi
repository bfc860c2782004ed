from .detection import (
    FORMATS as FORMATS,
    Row as Row,
    detect as detect,
    read_row as read_row,
)
