"""Bridges to other libraries; each is imported on its own, and needs what it bridges to."""
