"""The lab: nodes that are namespaces on one machine, each with its own container runtime, images and pods.

Nothing is remembered about a lab: what exists is read from the network namespaces' names, the control groups
and the folders under /run/podwire-lab, so taking it down also finishes what an interrupted start began.
"""
