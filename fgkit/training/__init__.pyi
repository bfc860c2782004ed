from .generation import generate as generate
from .monitor import Watch as Watch
from .tuning import (
    checkpoint_folder as checkpoint_folder,
    curves as curves,
    plot_loss as plot_loss,
    save as save,
    train as train,
)
