"""What people and machines see of an agent: log, Events, metrics, health and status.

Everything else of podwire may be told about here, but these modules import none of it that stands above them: what
they ask of the loop and of the settings' source is a Protocol beside the question. Numbers that the kernel has are
read when somebody asks; only what leaves no trace is counted. No reader can delay a CNI call.
"""
