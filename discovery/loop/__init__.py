"""The closed loop: rounds of discover, audit, select, train and serve again, stored stage by stage.

Revision 0 is the model as it was given. Each revision is measured by runs on all problems at the same seeds and the
same budget; from those on the seen problems the next revision is trained. A revision that does not help on the held-out
problems ends the loop, and the one before it is the result. ``plan`` says what is done, ``folder`` where it is kept,
``stages`` what each stage leaves behind, ``rounds`` in which order, ``ports`` what the loop needs of the world,
``serving``, ``running``, ``learning`` and ``exporting`` what that is in earnest, ``verdict`` when it ends, ``report``
what came of it.
"""
