from .choice import choose as choose
from .cut_base import cut_vocabulary as cut_vocabulary
from .pieces import Pieces as Pieces
