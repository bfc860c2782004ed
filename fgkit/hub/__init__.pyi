from .publication import (
    Publication as Publication,
    gather as gather,
)
from .upload import (
    offer as offer,
    publish as publish,
)
