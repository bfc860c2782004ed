"""The files an app loads, `.task` and `.litertlm`: written, read back, checked."""
