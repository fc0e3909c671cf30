"""What podwire puts on a host outside of the kernel, and the removal of everything.

`files.py` installs the plugin under its names and the CNI configuration, whose content is in `cni_config.py`; every
file is written atomically. `removal.py` finds what podwire made in the kernel by names, aliases and tags, removes it,
and reads again to prove that nothing is left. The agent keeps no files of its own.
"""
