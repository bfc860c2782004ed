from .codegen import (
    make as make,
    make_for_run as make_for_run,
    notes as notes,
)
from .golden import vectors as vectors
from .model_source import (
    Source as Source,
    read_source as read_source,
)
