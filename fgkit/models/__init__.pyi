from .answer_checks import check_answers as check_answers
from .base import (
    Base as Base,
    find_base as find_base,
    load as load,
    load_tokenizer as load_tokenizer,
)
from .folder import check_folder as check_folder
from .model_checks import check_model_folder as check_model_folder
from .spec import (
    SPECS as SPECS,
    KnownBase as KnownBase,
    ModelSpec as ModelSpec,
    Recipe as Recipe,
    register as register,
)
