from .facts import gather_report
from .markdown import describe_report, tabulate_questions
from .pages.page import report_path, write_report

__all__ = ["describe_report", "gather_report", "report_path", "tabulate_questions", "write_report"]
