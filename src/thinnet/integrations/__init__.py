"""Small callbacks for training libraries. Import the one you need: each needs its library, thinnet does not."""
