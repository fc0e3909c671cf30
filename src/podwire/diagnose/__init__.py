# SPDX-License-Identifier: Apache-2.0
"""The connectivity check: every pod calls hosts, pods and addresses outside, and each lost packet is traced to its hop.

`run.check(endpoints)` is the entry. `plan` turns endpoints into probes, `probe_methods` sends them from the pods'
namespaces (`namespaces`) to `servers`. Probes that fail run again while `capture` records packets; `drop_point` finds
the hop where a packet was dropped, `network_state` reads the routes, neighbours, devices and rules there, and the
`causes_*` modules explain the drop. `report`, `matrix` and `junit` print the result. A new cause is a function in a
`causes_*` file and an entry in `causes.FINDERS`.
"""
