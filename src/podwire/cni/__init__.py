"""The CNI protocol, pure: requests, configurations, results, errors."""
