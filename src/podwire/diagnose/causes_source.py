"""Why a packet arrived with another source address than it should have: which host rewrote it, or failed to. Pure."""

from __future__ import annotations

from podwire.diagnose import nft_walk as firewall
from podwire.diagnose.case import Cause
from podwire.diagnose.endpoints import Endpoint
from podwire.diagnose.facts import Facts
from podwire.diagnose.plan import Outcome
from podwire.nft.names import TABLE_PREFIX


def explain_source(outcome: Outcome, source: Endpoint, facts: Facts | None) -> Cause:
    """The cause; `facts` are those of the host whose address was seen, or of the pod's own host."""
    seen, expected = outcome.seen, outcome.probe.expected
    if facts is None:
        words = f"{outcome.probe.target} sees {seen} instead of {expected}: somebody on the way rewrites it"
        return Cause("an unknown place", words, advice="look for NAT on the way", sure=False)
    rules = firewall.source_rewriters(facts.ruleset)
    if seen in source.sends_from:
        words = f"{facts.place} does not masquerade: {outcome.probe.target} sees the pod's own address {seen}"
        advice = f"start the podwire agent on {facts.place} with masquerade = true; see cluster_ranges and exceptions"
        return Cause(facts.place, words, (*facts.prefix, "nft", "list", "ruleset"), advice)
    foreign = [one for one in rules if not one.table.startswith(TABLE_PREFIX)]
    blamed = (foreign or rules)[:1]
    words = f"{facts.place} masquerades inside the cluster: {outcome.probe.target} sees {seen} instead of {expected}"
    if not blamed:
        return Cause(
            facts.place,
            words,
            (*facts.prefix, "conntrack", "-L"),
            "look for NAT on that node and before it",
            sure=False,
        )
    rule = blamed[0]
    advice = "except the cluster's ranges from that rule, or remove it"
    if rule.table.startswith(TABLE_PREFIX):
        advice = "give the whole of the cluster's ranges in cluster_ranges (network in the configuration)"
    words += f" ({rule.words})"
    return Cause(facts.place, words, (*facts.prefix, *rule.command), advice)
