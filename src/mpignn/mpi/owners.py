"""Asking ranks for what they own, without RMA: a question is one message, its replies are messages too.

A question begins with the tag of its replies, a whole number of 8 bytes; what follows is up to its users, who are two:
`OwnerWay` reads rows of a published graph, `OwnerArray` reads and writes rows of the trainers.
A rank answers whenever it waits for anything, see `mpignn.duties`.  So two ranks that wait for each other answer
each other, and a rank that serves and trains serves while it waits for its own rows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from mpignn.duties import serve_while_waiting, stop_serving
from mpignn.mpi.library import MPI
from mpignn.mpi.sync import MpiGroup, wait_until

HEAD_BYTES = 8          # of a question, for the tag

Answer = Callable[[np.ndarray], Iterable[np.ndarray]]

_QUESTION = 0           # tag; replies have those above it
_REPLY_TAGS = 16_000    # MPI promises tags up to 32767; nobody has as many questions under way
_NAP_S = 100e-6


class Owners:
    """The ranks of a group, each of which may be asked for what it owns; on a communicator of its own."""

    def __init__(self, group: MpiGroup, answer: Answer | None, leaving: int, in_order: bool) -> None:
        """Start answering.  Collective over the group.

        Args:
            group: Who asks and answers.
            answer: What makes the replies to a question, given its bytes as (K,) uint8; each is made when it can leave.
                None: this rank owns nothing, and nobody asks it.
            leaving: Replies that may be on their way before the next one is made: to one question, or to one rank if
                ``in_order``.
            in_order: Whether the questions of a rank are answered one after the other, as it asked them; otherwise all
                at the same time.
        """
        group.barrier()         # in there a rank answers for the owners of before, in Dup it would not
        self._group, self._answer, self._most_leaving, self._in_order = group, answer, leaving, in_order
        self._comm = group.comm.Dup()
        self._serial = 0
        self._asked = count()
        self._lanes: dict[int, _Lane] = {}
        if answer is not None:
            serve_while_waiting(self._serve)

    def ask(self, owner: int, question: np.ndarray, replies: Iterable[np.ndarray]) -> list[MPI.Request]:
        """Send a question.  Not collective.

        Args:
            owner: Whom to ask.
            question: (K,) uint8, of which the first `HEAD_BYTES` are set here; must not be changed until it has left.
            replies: Contiguous memory for each reply.

        Returns:
            What to `wait_for`.
        """
        self._serial = self._serial % _REPLY_TAGS + 1
        question[:HEAD_BYTES].view(np.int64)[0] = self._serial
        # Receives first: replies that come unexpected would be copied once more.
        under_way = [self._comm.Irecv([reply, MPI.BYTE], owner, self._serial) for reply in replies]
        under_way.append(self._comm.Isend([question, MPI.BYTE], owner, _QUESTION))
        return under_way

    def free(self) -> None:
        """Answer no more.  Collective over the group."""
        self._group.barrier()       # answering: what was asked for and never waited for is answered, too
        if self._answer is not None:
            wait_until(lambda: not self._lanes, _NAP_S)
            stop_serving(self._serve)
        self._comm.Free()

    def _serve(self) -> None:
        """Take on new questions, and go on with the answers under way.  Never blocks."""
        while (message := self._comm.Improbe(status=_STATUS, tag=_QUESTION)) is not None:
            question, client = np.empty(_STATUS.Get_count(MPI.BYTE), np.uint8), _STATUS.source
            lane = self._lanes.setdefault(client if self._in_order else next(self._asked), _Lane(client))
            lane.questions.append((message.Irecv([question, MPI.BYTE]), question))
        if self._lanes:
            self._lanes = {number: lane for number, lane in self._lanes.items() if self._go_on(lane)}

    def _go_on(self, lane: "_Lane") -> bool:
        """Send what can be sent now; returns whether anything is left to do."""
        assert self._answer is not None, "only those who answer are asked"
        if lane.leaving:
            lane.leaving = [reply for reply in lane.leaving if not reply.Test()]
        while len(lane.leaving) < self._most_leaving:
            if lane.answer is None:
                if not lane.questions or not lane.questions[0][0].Test():
                    return bool(lane.questions or lane.leaving)
                _, question = lane.questions.popleft()
                lane.tag = int(question[:HEAD_BYTES].view(np.int64)[0])
                lane.answer = iter(self._answer(question))
            reply = next(lane.answer, None)
            if reply is None:
                lane.answer = None
            else:
                lane.leaving.append(self._comm.Isend([reply, MPI.BYTE], lane.client, lane.tag))
        return True


def wait_for(under_way: Sequence[MPI.Request]) -> None:
    """Return when questions have left and their replies have come.  Not collective."""
    wait_until(lambda: MPI.Request.Testall(under_way), _NAP_S)


_STATUS = MPI.Status()


@dataclass
class _Lane:
    """Questions that are answered one after the other.

    Attributes:
        client: Who asks.
        questions: What has arrived, or is arriving, and is not begun.
        answer: What makes the next replies to the question that is begun; None: there is none.
        tag: The one that these replies bear.
        leaving: Replies on their way.
    """

    client: int
    questions: deque[tuple[MPI.Request, np.ndarray]] = field(default_factory=deque)
    answer: Iterator[np.ndarray] | None = None
    tag: int = 0
    leaving: list[MPI.Request] = field(default_factory=list)
