from .conversion import (
    fitting_context as fitting_context,
    signatures as signatures,
)
from .quantization import (
    QUANTIZATIONS as QUANTIZATIONS,
    Quantization as Quantization,
)
