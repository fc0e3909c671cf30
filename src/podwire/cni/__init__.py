# SPDX-License-Identifier: Apache-2.0
"""The CNI protocol, and nothing of podwire's own.

`request` validates the environment of a call, `document` and `fields` decode the JSON of a configuration, `result`
encodes the answer of ADD for every version and decodes prevResult, `errors` has the error codes, `versions` the
protocol's versions and verbs.
"""
