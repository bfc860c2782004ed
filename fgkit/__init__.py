"""fgkit: teach FunctionGemma 270M your functions, and get a `.task` that is run and scored.

All names that scripts and notebooks need can be imported from here. For example:

    from fgkit import Call, completion, load_tools, parse, read_records, render

The public names are listed in `__init__.pyi`; their modules are imported at first use, and none of
these needs torch. The packages follow the path of the data: `prompts`, `tools`, `dataset`,
`data_report`, `models`, `training`, `export`, `bundles`, `runtime`, `evaluation`, `app`,
`workflow`, `hub`, `ui` and `cli` (docs/architecture.md).
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
