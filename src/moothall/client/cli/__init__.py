"""The command line: `moothall`.

Its nouns and verbs come from the declarations of the hall (`derive`, `fields`), so that a
function of one's own is a command without a line written for it. What concerns this
machine only stands in `servers`, `account`, `raw` and `entries`.
"""
