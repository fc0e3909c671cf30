"""ADD templates (ADR 11).

Pods of one network differ in a few values only: addresses, names, MACs, indexes. From the second pod on, the agent
does not compute the messages to the kernel and the answer again: it fills these values into templates that were
derived from two sample pods. `AddTemplates` in `cache.py` is the only entry.
"""
