from .ask import (
    Answer as Answer,
    AskBundle as AskBundle,
    AskModel as AskModel,
)
from .session import Runtime as Runtime
