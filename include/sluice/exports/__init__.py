"""The hourly export: one project's events of one UTC hour become objects of a customer's bucket.

`hour.export_hours` stages hours (uploads all parts, completes nothing), `hour.publish_hours` makes them
visible; architecture invariant 3 is `publishing.py`.
"""
