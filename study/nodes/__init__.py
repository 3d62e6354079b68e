"""Machines: Ray session, resources, slots, probes, file transfer, feature extraction. Start at `ray_session.py`."""
