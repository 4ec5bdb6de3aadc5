"""Flow: rows in from sources, tasks on what changed, messages out to sinks. All it knows is in the store."""

from mercat.flow.account import Account
from mercat.flow.deliver import Delivered, Patience, deliver
from mercat.flow.ingest import cursor_name, ingest
from mercat.flow.service import Feed, Follow, Round
from mercat.flow.tasks import Task, TaskRun, run_task, task_cursor
from mercat.flow.transforms import Language, Redact, Transform

__all__ = [
    "Account",
    "Delivered",
    "Feed",
    "Follow",
    "Language",
    "Patience",
    "Redact",
    "Round",
    "Task",
    "TaskRun",
    "Transform",
    "cursor_name",
    "deliver",
    "ingest",
    "run_task",
    "task_cursor",
]
