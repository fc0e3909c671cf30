"""nftables: the tables and rules that podwire writes into the host's ruleset, and what it reads of the ruleset.

podwire has one table for each network (masquerade), one for host ports, and accept rules in the forward chains of
other programs that drop by default. Each of the three is a module that computes nft(8) text and compares it with a
listing: `masquerade`, `hostports`, `forward`. They have no effects. `names` holds all names and comments.

Reading and writing take two ways, because loading libnftables takes longer than a whole ADD: `ruleset` reads by
netlink, `library` writes (and lists maps) through libnftables, in one transaction. `apply.Firewall` joins them: it
compares only if the ruleset's generation changed since it last found everything in place.
"""
