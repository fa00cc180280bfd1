"""The replication lab: notebooks as jobs, campaigns over many cells, reports. Only here are workflow tools known."""
