"""What each CNI verb does: read the kernel, plan, apply, answer."""
