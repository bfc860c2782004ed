from .calls import Call as Call
from .calls import parse as parse
from .dataset.records import Record as Record
from .dataset.records import read_records as read_records
from .errors import CallSyntaxError as CallSyntaxError
from .errors import CheckFailed as CheckFailed
from .errors import FgkitError as FgkitError
from .prompts.format import neutralise as neutralise
from .prompts.template import completion as completion
from .prompts.template import conversation as conversation
from .prompts.template import render as render
from .tools.coercion import coerce as coerce
from .tools.loading import load_tools as load_tools

__version__: str
