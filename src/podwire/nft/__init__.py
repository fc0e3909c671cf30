# SPDX-License-Identifier: Apache-2.0
"""nftables: the tables and rules that podwire writes into the host's ruleset, and what it reads of the ruleset.

There is one table for each network (`masquerade`), one for host ports (`hostports`), and accept rules in the forward
chains of other programs that drop by default (`forward`): each a module without effects that computes nft(8) text and
compares it with a listing. `names` holds all names and comments. Loading libnftables takes longer than a whole ADD, so
`ruleset` reads by netlink, and `library` writes through libnftables. `apply.Firewall` joins them.
"""
