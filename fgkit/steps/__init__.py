"""The steps of the notebooks; `fgkit.stages` has them all."""
