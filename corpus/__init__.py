"""How the offline base was taught to call functions: the rows, the training and the small file that
came of it.

Not part of the installed package: `README.md` beside this file says how to make everything again.
"""
