"""A module for each kind of source, whose `FORMS` `mpignn.storage.sources` finds."""
