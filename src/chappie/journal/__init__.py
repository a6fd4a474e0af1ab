"""What happened, on disk: the journal of every event, and the kept log of facts for good.

Every event is written here before the core believes it. Layout, under the state folder:
``journal/<epoch>-<number>.journal`` holds the events of one run in segments whose total is
bounded; ``kept.log`` holds the intents, fills and stops that are never dropped.
"""
