"""What may go wrong with a peer; each becomes a row with its reason and never ends a run.

PeerFailed
├── NotInstallable   its environment cannot be made here
├── ServerFailed     it did not start, or stopped answering
└── AnswersDiffer    it does not say what the model says
"""


class PeerFailed(Exception):
    """A peer cannot be measured; the text says why."""


class NotInstallable(PeerFailed):
    """A peer's environment cannot be made here."""


class ServerFailed(PeerFailed):
    """A server did not start, or stopped answering."""


class AnswersDiffer(PeerFailed):
    """A server's answers are not the model's."""
