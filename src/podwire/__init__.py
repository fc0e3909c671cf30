# SPDX-License-Identifier: Apache-2.0
"""podwire: a Kubernetes pod network whose database is the kernel."""

__version__ = "0.2.0"
