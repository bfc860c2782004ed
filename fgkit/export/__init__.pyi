from .conversion import (
    convert as convert,
    fitting_context as fitting_context,
)
from .quantization import (
    QUANTIZATIONS as QUANTIZATIONS,
    Quantization as Quantization,
)
from .tflite import signatures as signatures
