from .manifest import (
    NOTEBOOKS as NOTEBOOKS,
    STEPS as STEPS,
)
from .run import (
    plan as plan,
    read_parameters as read_parameters,
)
