"""fgkit: teach FunctionGemma 270M your functions; get a `.task` that has been run, scored and compared."""

__version__ = "0.1.0"
