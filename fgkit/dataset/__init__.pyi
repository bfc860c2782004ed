from .reading import (
    inspect_records as inspect_records,
    read_records as read_records,
    split_by_marker as split_by_marker,
)
from .records import (
    KINDS as KINDS,
    NO_CALL as NO_CALL,
    Record as Record,
    request as request,
)
from .rendered import RenderedRecords as RenderedRecords, RenderedRows as RenderedRows
from .rows import (
    RunData as RunData,
    data_files as data_files,
    load_held_out as load_held_out,
    read_run_data as read_run_data,
)
from .splits import (
    DataSplit as DataSplit,
    held_out_data as held_out_data,
    load_data as load_data,
    split as split,
)
