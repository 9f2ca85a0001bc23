"""Something that has a state, as checkpoints know it."""


class Holder:
    """Gives a state, and keeps the one that it is given back."""

    def __init__(self, state=None):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state
