"""Fine-tuning with a shared prompt prefix that is computed once, and generation for scoring.

The public names are listed in `__init__.pyi`; their modules are imported at first use. Some of them
import torch, transformers and trl at their top, because they cannot work without: `loss`,
`recompute`, `attention_blocks`, `tree_attention`, `tree_model`, `prefix_cache`, `generation`,
`callbacks`, `trainer` and `tuning`. Code that has to run without torch imports these, or a public
name that lives there, inside the function that uses it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
