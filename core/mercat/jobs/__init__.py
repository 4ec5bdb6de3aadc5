"""What one does with a workspace: take in, index, train, evaluate, follow. Commands are thin over these."""

from mercat.jobs.learning import (
    UPDATE,
    audit_artifact,
    drift_of,
    estimate_recipe,
    evaluate_recipe,
    search_recipe,
    train_recipe,
    update_artifact,
)
from mercat.jobs.running import (
    feed_of,
    follow,
    ingest_source,
    refresh_all,
    reload_artifacts,
    reload_beside,
    run_tasks,
    sinks_of,
    waits_for,
    work_beside,
)
from mercat.jobs.switching import drop_deleted, move_index, serving_of, swap_encoder, switch, switch_back

__all__ = [
    "UPDATE",
    "audit_artifact",
    "drift_of",
    "drop_deleted",
    "estimate_recipe",
    "evaluate_recipe",
    "feed_of",
    "follow",
    "ingest_source",
    "move_index",
    "refresh_all",
    "reload_artifacts",
    "reload_beside",
    "run_tasks",
    "search_recipe",
    "serving_of",
    "sinks_of",
    "swap_encoder",
    "switch",
    "switch_back",
    "train_recipe",
    "update_artifact",
    "waits_for",
    "work_beside",
]
