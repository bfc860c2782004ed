"""Compare a model's answers with the expected ones: scores, confidence intervals, the gate.

The public names are listed in `__init__.pyi`; their modules are imported at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
