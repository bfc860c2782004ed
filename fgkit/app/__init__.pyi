from .codegen import (
    Source as Source,
    make as make,
    make_for_run as make_for_run,
    read_source as read_source,
)
from .golden import vectors as vectors
