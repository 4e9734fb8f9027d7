"""The lab: a real control plane, a real node and simulated ones, for the demo and the tests."""
