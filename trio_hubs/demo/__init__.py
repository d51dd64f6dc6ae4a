"""The roof's sample: a hub that counts and tells what it sees, and a page that calls it."""
