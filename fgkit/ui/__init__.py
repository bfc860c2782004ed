"""What people see in a notebook: the panels, and the helpers for Colab.

The public names are listed in `__init__.pyi`; their modules are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
