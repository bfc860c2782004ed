from .findings import DataFinding as DataFinding
from .inspection import inspect as inspect
from .lengths import TokenLimits as TokenLimits
from .plots import plot as plot
from .report import (
    Report as Report,
    save as save,
)
from .rules import rules_table as rules_table
