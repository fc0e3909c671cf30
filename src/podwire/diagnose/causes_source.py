"""Explains a packet that arrived with a wrong source address: which host rewrote it, or did not masquerade it. Pure."""

from __future__ import annotations

from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.network_state import NetworkState
from podwire.diagnose.nft_verdict import source_nat_rules
from podwire.diagnose.packet_loss import Cause, cause_at
from podwire.diagnose.plan import Outcome
from podwire.nft.names import TABLE_PREFIX


def explain_source(outcome: Outcome, source: Endpoint, state: NetworkState | None) -> Cause:
    """The cause; `state` is that of the host whose address was seen, or of the pod's own host."""
    seen, expected, target = outcome.seen, outcome.probe.expected, outcome.probe.target
    if state is None:
        words = f"{target} sees {seen} instead of {expected}: an unknown host on the path rewrites it"
        return Cause("an unknown host", words, advice="look for NAT on the path", sure=False)
    if seen in source.sends_from:
        words = f"{state.endpoint} does not masquerade: {target} sees the pod's own address {seen}"
        advice = f"start the podwire agent on {state.endpoint} with masquerade = true"
        return cause_at(state, words, "nft list ruleset", f"{advice}; check cluster_cidrs and exceptions")
    rules = source_nat_rules(state.ruleset)
    foreign = [rule for rule in rules if not rule.table.startswith(TABLE_PREFIX)]
    words = f"{state.endpoint} masquerades inside the cluster: {target} sees {seen} instead of {expected}"
    if not rules:
        return cause_at(state, words, "conntrack -L", "look for NAT on that node and before it", sure=False)
    rule = (foreign or rules)[0]
    advice = "except the pod CIDRs of the cluster from that rule, or remove it"
    if not foreign:
        advice = "list all pod CIDRs of the cluster in cluster_cidrs (network in the plugin's configuration)"
    return cause_at(state, f"{words} ({rule.words})", rule.command, advice)
