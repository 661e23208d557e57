"""The command that says what changed between two versions."""

from flows.console import out, print_json, print_table, show
from flows.place import current_home


def show_diff(model: str, before: str, after: str, as_json: bool) -> None:
    """Print the differences, the ones that decide the number first."""
    from tasks.comparing import compare_versions

    with current_home().open_registry() as registry:
        found = compare_versions(registry, model, before, after)
    if as_json:
        print_json(found)
        return
    part, reasons = found["step"], found["reasons"]
    out.print(
        f"{model} {found['before']} -> {found['after']}: {part} ({show('; '.join(reasons))})",
        markup=False,
    )
    print_table("Files", ["file", "role", "change"], found["files"])
    print_table("Packages", ["package", "before", "after"], found["packages"])
    print_table("Parameters", ["parameter", "before", "after"], found["params"])
    print_table(
        "Metrics, each on its own held-out days", ["metric", "before", "after"], found["metrics"]
    )
    print_table("Data", ["what", "before", "after"], found["data"])
