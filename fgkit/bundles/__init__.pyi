from .checks import (
    check_bundle as check_bundle,
    check_file as check_file,
)
from .create import (
    create_litertlm as create_litertlm,
    create_task as create_task,
)
from .profiles import (
    LITERTLM as LITERTLM,
    PROFILES as PROFILES,
    Profile as Profile,
    profile as profile,
)
from .read import (
    BundleInfo as BundleInfo,
    read_archive as read_archive,
    read_bundle as read_bundle,
    read_record as read_record,
    update_sidecar as update_sidecar,
)
