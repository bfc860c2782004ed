"""Publish a run on the Hugging Face Hub: choose its files, write its model card, upload.

The public names are listed in `__init__.pyi`; their modules are imported at first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
