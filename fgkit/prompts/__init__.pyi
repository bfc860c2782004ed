from .format import (
    CONTROL_TOKENS as CONTROL_TOKENS,
    DEFAULT_SYSTEM_MSG as DEFAULT_SYSTEM_MSG,
    STOP_IDS as STOP_IDS,
    STOP_TOKENS as STOP_TOKENS,
    neutralise as neutralise,
)
from .messages import ROLES as ROLES
from .template import (
    STYLES as STYLES,
    answer as answer,
    chat_template as chat_template,
    completion as completion,
    conversation as conversation,
    render as render,
)
