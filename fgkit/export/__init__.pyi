from .conversion import (
    MAX_CONTEXT as MAX_CONTEXT,
    fitting_context as fitting_context,
    signatures as signatures,
)
from .quantization import (
    QUANTIZATIONS as QUANTIZATIONS,
    Quantization as Quantization,
)
