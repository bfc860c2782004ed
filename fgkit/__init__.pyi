from .calls import Call as Call, parse as parse
from .dataset.reading import read_records as read_records
from .dataset.records import Record as Record
from .errors import (
    CallSyntaxError as CallSyntaxError,
    CheckFailed as CheckFailed,
    FgkitError as FgkitError,
)
from .prompts.format import neutralise as neutralise
from .prompts.rendering import (
    completion as completion,
    render as render,
)
from .prompts.template import conversation as conversation
from .tools.coercion import coerce as coerce
from .tools.loading import load_tools as load_tools

__version__: str
