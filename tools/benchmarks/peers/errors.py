"""What goes wrong with a peer."""


class PeerError(Exception):
    """A peer cannot be measured; the text says what to do."""
