from .coercion import coerce as coerce
from .json_parsing import strict_json as strict_json
from .loading import (
    check_tools as check_tools,
    lint_tools as lint_tools,
    load_tools as load_tools,
    tools_from_json as tools_from_json,
    tools_hash as tools_hash,
)
from .report import ToolReport as ToolReport
from .rules import rules_table as rules_table
