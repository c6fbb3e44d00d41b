"""KNOWS: records, rules, and the few doors to the outside."""
