from .gate import Verdict as Verdict
from .paired import (
    comparable as comparable,
    differences as differences,
)
from .score_model import (
    score_bundle as score_bundle,
    score_file as score_file,
    score_folder as score_folder,
)
from .scores import (
    METRICS as METRICS,
    completed as completed,
    measure as measure,
    read_score as read_score,
    score as score,
)
