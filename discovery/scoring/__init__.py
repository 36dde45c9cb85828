"""Running scorers in processes of their own.

The host process (:mod:`discovery.scoring.host`) loads the problem's plugin once and forks workers from that
pristine state; the client (:mod:`discovery.scoring.client`) asks a worker to score one candidate and serves its
requests to use the candidate's program, which go to a sandbox. No process here ever imports candidate code.
"""
