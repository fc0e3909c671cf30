# SPDX-License-Identifier: Apache-2.0
"""What is kept in its desired state, one module for each thing. To keep another thing: a module, and its entry here.

The order is that in which the loop asks them: addresses come before the routes that need them, and the CNI
configuration comes last, since from then on runtimes start pods.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from podwire.node.desired import DesiredState
from podwire.node.reconciler import Reconciler
from podwire.node.reconcilers.cni_config import CniConfigFile
from podwire.node.reconcilers.firewall import ForwardAccept, MasqueradeTables
from podwire.node.reconcilers.gateway import GatewayDevices
from podwire.node.reconcilers.host_ports import HostPorts
from podwire.node.reconcilers.orphans import Orphans
from podwire.node.reconcilers.peers import Peers
from podwire.node.reconcilers.sysctls import Sysctls

RECONCILERS: Sequence[Callable[[DesiredState], Reconciler]] = (
    GatewayDevices,
    Sysctls,
    MasqueradeTables,
    ForwardAccept,
    Peers,
    HostPorts,
    Orphans,
    CniConfigFile,
)
