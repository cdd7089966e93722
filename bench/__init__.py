"""Measure a real hall beside yardsticks taken in the same run: ``python -m bench``.

``hall`` starts and fills the hall, ``load`` makes the calls from a process of its own,
``yardsticks`` says what this machine can do without the hall, ``cases`` says what is
measured, and ``report`` prints it. Nothing here is shipped.
"""
