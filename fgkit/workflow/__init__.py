"""A complete run: the stages of the notebooks, their records, and the run folder.

The public names are listed in `__init__.pyi`; their modules are imported on first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
