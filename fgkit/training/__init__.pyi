from .checkpoints import checkpoint_folder as checkpoint_folder
from .generation import generate as generate, load_for_generation as load_for_generation
from .monitor import LogEntry as LogEntry, TrainingMonitor as TrainingMonitor
from .options import TrainingOptions as TrainingOptions
from .plots import loss_figure as loss_figure, plot_loss as plot_loss
from .tuning import save as save, train as train
