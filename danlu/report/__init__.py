"""What happened, and why: the offline report.html and the model card of a run.

result.json -> checked copy (schema) -> words, tables and figures -> one HTML file and one README.md.
"""

from .card import write_card
from .page import write_report
from .pictures import to_data_uri

__all__ = ["to_data_uri", "write_card", "write_report"]
