from .records import (
    KINDS as KINDS,
    NO_CALL as NO_CALL,
    Record as Record,
    inspect_records as inspect_records,
    read_records as read_records,
    request as request,
)
from .rendered import RenderedRecords as RenderedRecords, RenderedRows as RenderedRows
from .rows import (
    Rows as Rows,
    data_files as data_files,
    load_held_out as load_held_out,
    load_rows as load_rows,
)
from .splits import (
    Data as Data,
    held_out_data as held_out_data,
    load_data as load_data,
    split as split,
)
