# SPDX-License-Identifier: Apache-2.0
"""This node as a part of a Kubernetes cluster.

An informer (`informer`) lists and watches one resource of the API server (`client`)
and caches the few fields of each object that are needed (`objects`). Its keys of changed objects go to
the settings source of the agent (`source`), which lets a table of nodes (`nodes`) turn each changed Node into a
typed peer or into problems; settings that all nodes share come from a file (`settings`). A reporter (`reporter`)
tells the API server that this node's network is up, and reports problems as Events.
"""
