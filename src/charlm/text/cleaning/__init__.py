"""Cleaning: an ordered list of named rules. Each takes time linear in the length of the text.

A rule is a pattern of the RE2 engine (https://github.com/google/re2/wiki/Syntax), which never
backtracks, or a built-in function where no such pattern suffices. Rules that look at one document
run shard by shard (`clean_shard`); duplicates and splits need all documents (`clean`).
"""
