"""Stands in for the network's data center: a gRPC server that answers health checks."""
