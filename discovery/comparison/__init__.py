"""A comparison: settings of the search as ordinary runs at equal budget over seeds, and what they show.

``plan`` says which runs there are, ``running`` executes those that are missing, ``curves`` reads them back from
storage, ``finals``, ``scaling`` and ``verdict`` say what follows, ``report``, ``pictures`` and ``page`` show it. What
is shown is a function of stored records: of the same runs it is the same again.
"""
