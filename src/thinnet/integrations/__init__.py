"""Callbacks for training libraries. Import the one you need: it imports its library, thinnet does not."""
