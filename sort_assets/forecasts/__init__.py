"""What sorting will cost, in time, memory and disk, by what it has cost in this lab.

`cost_model` learns from past runs of one step, `history` says which past runs count for a forecast, `totals` adds steps
and recordings up, and `disk` says when the disk will be full. numpy is imported inside functions: the code location
imports these modules.
"""
