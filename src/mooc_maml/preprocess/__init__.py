"""From events to sessions to pairs."""
