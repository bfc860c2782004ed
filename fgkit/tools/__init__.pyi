from .coercion import coerce as coerce
from .loading import (
    check_tools as check_tools,
    lint_tools as lint_tools,
    load_tools as load_tools,
    strict_json as strict_json,
    tools_from_json as tools_from_json,
    tools_hash as tools_hash,
)
from .report import ToolReport as ToolReport
from .rules import (
    Finding as Finding,
    Rule as Rule,
    rules_table as rules_table,
)
