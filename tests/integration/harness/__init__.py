"""What the tests under tests/integration/ share: cases without code, how they are run, and services on loopback."""
