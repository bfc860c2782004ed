from .format import (
    CONTROL_TOKENS as CONTROL_TOKENS,
    DEFAULT_SYSTEM_MSG as DEFAULT_SYSTEM_MSG,
    STOP_IDS as STOP_IDS,
    STOP_TOKENS as STOP_TOKENS,
    neutralise as neutralise,
)
from .messages import ROLES as ROLES
from .rendering import (
    answer as answer,
    completion as completion,
    render as render,
)
from .setup import PromptSetup as PromptSetup
from .style import PromptStyle as PromptStyle
from .styles import STYLES as STYLES
from .template import (
    chat_template as chat_template,
    conversation as conversation,
)
