"""Bundles, the files that an app loads: create, read and check a `.task` or `.litertlm`.

The public names are listed in `__init__.pyi`; their modules are imported at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
