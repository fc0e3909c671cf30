"""The connectivity check: every pod against hosts, pods and the outside; and which hop loses what is lost.

`run.check(endpoints)` is all that other rooms need. Pure: endpoints, probes, packets, sightings, causes, report,
matrix, junit. Effects: places (namespaces), servers, prober, capture, facts, local.
"""
