"""What watches the servers: scrape jobs, rules and a dashboard, for both kinds of server.

All of them use TensorFlow Serving's names of metrics, and ours (`workbench_...`) beside them, which
are empty on TensorFlow Serving. `scraping` says where Prometheus finds the servers, `alert_rules`
what is recorded and what alerts, and `grafana` draws it.
"""

__all__ = ["scraping", "alert_rules", "grafana"]
