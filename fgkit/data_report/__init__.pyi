from .report import (
    Report as Report,
    inspect as inspect,
)
from .rules import (
    Finding as Finding,
    Rule as Rule,
    rules_table as rules_table,
)
