# SPDX-License-Identifier: Apache-2.0
"""Checks of the tests themselves, as a part of `make lint`.

A test that cannot fail claims something that nothing checks. `assertions` reads every file of tests/ as a syntax tree
and refuses such tests. `rules` has the forms that they take, `functions` what is known of the functions of a file,
`nonempty` whether a loop over an expression runs at least once, and `asserting` the list of the functions that assert
for a test.
"""
