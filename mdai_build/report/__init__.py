"""Tells what was built and found: on the terminal, as JSON and JUnit XML, as pictures. It decides nothing."""
