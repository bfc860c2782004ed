from .manifest import (
    NOTEBOOKS as NOTEBOOKS,
    STEPS as STEPS,
)
from .parameters import read_parameters as read_parameters
from .run import (
    plan as plan,
)
