"""A recorded run stepped again through a fresh core: the same commands, or the first that differ.

It stands above the core and the journal and beside nothing: the live driver does not need it, and
a simulation may replay what it recorded. So it is a layer of its own, just above the journal.
"""
