"""Checks of the tests themselves, as a part of `make lint`.

A test that cannot fail is worse than none: it promises what nobody checks. `assertions` reads every file of tests/ as a
syntax tree and refuses the forms that such tests take; `filled` judges whether a loop over an expression runs at least
once; `asserting` is the list of the functions that assert on behalf of a test.
"""
